"""Complete runs: exact resume, a run without its text, and commands."""

import json
import sys
import tomllib

import pytest
import torch

import genzoo
from genzoo.cli.app import main

SMALL = {"width": 4, "depth": 1}
MODEL = {"name": "char-wgan-gp", "generator": SMALL, "critic": SMALL, "critic_steps": 2}
ROWS = [f'{a}{b}\t"{c}\\\x1b' for a in "aé" for b in "xyz€" for c in "12345"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(ROWS), encoding="utf-8")
    return path


def train(text, out, **settings):
    data = {"name": "lines", "path": str(text), "length": 8, "test_fraction": 0.25}
    return genzoo.fit(
        MODEL,
        data,
        out,
        steps=9,
        batch_size=4,
        checkpoint_every=4,
        keep_checkpoints=9,
        log_every=1,
        sample_every=9,
        **settings,
    )


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(text, tmp_path):
    whole = train(text, tmp_path / "whole")
    train(text, tmp_path / "cut")
    for late in (
        *(tmp_path / "cut" / "checkpoints").glob("step-00000[89].ckpt"),
        tmp_path / "cut" / "model.safetensors",
    ):
        late.unlink()
    assert [p.name for p in (tmp_path / "cut" / "checkpoints").iterdir()] == ["step-000004.ckpt"]
    again = train(text, tmp_path / "cut", resume=True)
    expected, actual = whole.model.state_dict(), again.model.state_dict()
    assert expected.keys() == actual.keys()
    assert [key for key in expected if not torch.equal(expected[key], actual[key])] == []


@pytest.mark.slow
def test_a_run_samples_without_its_text_file(text, tmp_path):
    """The recipe contains the vocabulary, including characters that TOML must escape."""
    run = train(text, tmp_path / "run")
    text.unlink()
    recipe = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8"))
    assert set(recipe["model"]["vocabulary"]) == set("".join(ROWS)) | {"␀", "�"}
    model = genzoo.load(tmp_path / "run")
    assert model.vocabulary == run.model.vocabulary
    lines = model.text(model.sample(50))
    assert len(lines) == 50
    assert set("".join(lines)) <= set(recipe["model"]["vocabulary"])
    torch.manual_seed(1)
    expected = run.model.text(run.model.sample(9))
    torch.manual_seed(1)
    assert model.text(model.sample(9)) == expected


@pytest.mark.slow
def test_samples_are_saved_as_text(text, tmp_path):
    train(text, tmp_path / "run")
    kept = (tmp_path / "run" / "samples" / "step-000009.txt").read_text(encoding="utf-8")
    assert kept.endswith("\n")
    assert set(kept) - {"\n"} <= set(genzoo.load(tmp_path / "run").vocabulary)


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["genzoo", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code or 0


@pytest.mark.slow
def test_the_commands_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(
        "\n".join(f"[b]{i:03}é" for i in range(60)), encoding="utf-8"
    )
    (tmp_path / "recipe.toml").write_text(
        '[model]\nname = "char-wgan-gp"\ncritic_steps = 1\n'
        "generator = { width = 4, depth = 1 }\ncritic = { width = 4, depth = 1 }\n"
        '[data]\nname = "lines"\npath = "text.txt"\nlength = 8\ntest_fraction = 0.25\n'
        "[train]\nsteps = 2\nbatch_size = 4\n"
    )
    assert call(monkeypatch, "train", "recipe.toml", "--out", "run") == 0
    capsys.readouterr()
    assert call(monkeypatch, "sample", "run", "-n", 5) == 0
    printed = capsys.readouterr().out
    assert call(monkeypatch, "sample", "run", "-n", 5, "-o", "five.txt") == 0
    written = (tmp_path / "five.txt").read_text(encoding="utf-8")
    assert written.count("\n") == 5
    assert printed == written
    assert call(monkeypatch, "evaluate", "run") == 0
    evaluation = json.loads((tmp_path / "run" / "report" / "evaluation.json").read_text())
    rows = [row for row in evaluation["measurements"] if row["metric"] == "ngram-js"]
    assert sorted(row["quantity"] for row in rows) == sorted(
        f"js_{n}{suffix}" for n in range(1, 5) for suffix in ("", "_shuffled")
    )
    for row in rows:
        assert 0 <= row["value"] <= 1
        assert (row["floor"] is None) == row["quantity"].endswith("shuffled")
