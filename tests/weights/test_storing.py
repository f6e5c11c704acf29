"""Store a run as pretrained weights: half precision, measurements, and the choice of weights."""

import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from typer.testing import CliRunner

import genzoo
from genzoo.cli.app import app
from genzoo.errors import RunError
from tests.weights.conftest import TABLE

QUICK = {"steps": 4, "batch_size": 16, "progress": False}


def test_parameters_are_stored_in_half_precision(saved, stored):
    trained = genzoo.load(saved)
    weights = load_file(stored / "model.safetensors")
    assert weights.keys() == trained.state_dict().keys()
    for name, value in trained.named_parameters():
        assert weights[name].dtype == torch.float16
        torch.testing.assert_close(weights[name].float(), value.half().float(), rtol=0, atol=0)
    for name, value in trained.named_buffers():
        assert name not in weights or weights[name].dtype == value.dtype
    assert {p.dtype for p in genzoo.load(stored).parameters()} == {torch.float32}


def test_a_weight_beyond_half_precision_keeps_its_own(saved, tmp_path):
    model = genzoo.load(saved)
    large, *_ = dict(model.named_parameters())
    with torch.no_grad():
        model.get_parameter(large).fill_(1e6)
    run = genzoo.save(model, tmp_path / "run", data="digits")
    entry = genzoo.weights.store(run, tmp_path / "large.digits", metrics=[])
    assert load_file(entry.folder / "model.safetensors")[large].dtype == torch.float32
    assert bool((entry.load().get_parameter(large) == 1e6).all())


def test_the_stored_weights_are_the_measured_ones(stored):
    report = json.loads((stored / "report" / "evaluation.json").read_text())
    (row,) = report["measurements"]
    x = genzoo.build("digits", "datasets").test["x"][:50]
    model = genzoo.load(stored)
    x = torch.as_tensor(x) / 16
    with torch.no_grad():
        errors = (model.reconstruct(x) - x).square().flatten(1).mean(1)
    assert row["value"] == pytest.approx(float(errors.mean()), rel=1e-5)
    assert "`reconstruction squared_error`" in (stored / "card.md").read_text()


def test_every_file_is_sealed(stored):
    hashes = json.loads((stored / "sha256.json").read_text())
    files = {path.relative_to(stored).as_posix(): path for path in stored.rglob("*.*")}
    del files["sha256.json"]
    assert hashes == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
    }
    assert {"model.safetensors", "recipe.toml", "card.md", "samples.png"} <= hashes.keys()


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        ({}, "model.safetensors"),
        ({"ema": 0.5}, "model-ema.safetensors"),
        ({"ema": 0.5, "monitor": "loss", "evaluate_every": 1}, "best.safetensors"),
    ],
)
def test_the_weights_are_those_that_sampling_uses(settings, file, tmp_path):
    run = genzoo.fit(TABLE, "digits", tmp_path / "run", **QUICK, **settings)
    entry = genzoo.weights.store(run.folder, tmp_path / "x.digits", metrics=[])
    expected = load_file(run.folder / file)
    actual = load_file(entry.folder / "model.safetensors")
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value.to(actual[name].dtype), rtol=0, atol=0)
    with safe_open(run.folder / file, "pt") as opened:
        round = json.loads(opened.metadata()["genzoo"])["round"]
    with safe_open(entry.folder / "model.safetensors", "pt") as opened:
        assert json.loads(opened.metadata()["genzoo"])["round"] == round
    assert f"step {round:,}" in entry.card


def test_paths_of_this_machine_are_removed(saved, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    text = (saved / "recipe.toml").read_text()
    secret = "/home/ana/secret/rings.py"
    text = text.replace(
        "needs = []", f'needs = ["models x from the file {secret} (--plugin {secret})"]'
    )
    (run / "recipe.toml").write_text(text)
    entry = genzoo.weights.store(run, tmp_path / "x.digits", metrics=[])
    for file in entry.folder.rglob("*.*"):
        content = file.read_bytes()
        assert b"secret" not in content, file
        assert str(tmp_path).encode() not in content, file
    assert "from the file rings.py" in entry.card


def test_an_entry_is_replaced_on_request_only(saved, stored, tmp_path):
    entry = genzoo.weights.store(saved, tmp_path / "x.digits", metrics=[])
    with pytest.raises(RunError, match="exists already; set overwrite"):
        genzoo.weights.store(saved, entry.folder, metrics=[])
    assert genzoo.weights.store(saved, entry.folder, metrics=[], overwrite=True).load()
    (tmp_path / "photos").mkdir()
    with pytest.raises(RunError, match="exists already; choose another"):
        genzoo.weights.store(saved, tmp_path / "photos", metrics=[], overwrite=True)
    # an entry is a run folder, and stored again it stays what it is
    again = genzoo.weights.store(stored, tmp_path / "again.digits", metrics=[])
    assert again.sha256 == genzoo.weights.Entry(stored).sha256


def test_a_failed_store_leaves_nothing(saved, tmp_path):
    with pytest.raises(genzoo.SettingError, match="frechte"):
        genzoo.weights.store(saved, tmp_path / "x.digits", metrics=["frechte"])
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_arrays_needs_its_data(tmp_path):
    data = torch.rand(40, 1, 8, 8)
    run = genzoo.fit(TABLE, data, tmp_path / "run", **QUICK)
    with pytest.raises(RunError, match="trained on arrays from Python"):
        genzoo.weights.store(run.folder, tmp_path / "x.arrays")
    entry = genzoo.weights.store(run.folder, tmp_path / "x.arrays", data, metrics=[])
    assert entry.load().sample(2).shape == (2, 1, 8, 8)


def test_a_run_has_a_card_that_an_evaluation_renews(tmp_path):
    run = genzoo.fit(TABLE, "digits", tmp_path / "run", **QUICK)
    card = run.folder / "card.md"
    assert "Not measured" in card.read_text()
    assert "- Steps: 4\n- Seed: 0\n" in card.read_text()
    assert hashlib.sha256((run.folder / "model.safetensors").read_bytes()).hexdigest() in (
        card.read_text()
    )
    result = CliRunner().invoke(app, ["evaluate", str(run.folder), "reconstruction", "-n", "20"])
    assert result.exit_code == 0, result.output
    assert "`reconstruction squared_error`" in card.read_text()
