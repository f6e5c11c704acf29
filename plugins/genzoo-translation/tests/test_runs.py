"""Complete runs: exact resume, content of an export, commands, and the metric."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import genzoo
from genzoo import build
from genzoo.cli.app import main
from genzoo.errors import SettingError

pytestmark = pytest.mark.slow

RESNET, PATCH = {"name": "resnet", "width": 2, "blocks": 1}, {"name": "patch", "width": 2}
NET = {"name": "conv", "channels": (2, 4), "norm": "batch"}
BOTTLENECK, PYRAMID = (
    {"name": "bottleneck", "encoder": NET, "decoder": NET},
    {"name": "pyramid", "width": 2},
)
MODELS = {
    "pix2pix": {"name": "pix2pix", "translator": {"name": "unet", "width": 2}, "critic": PATCH},
    "cyclegan": {"name": "cyclegan", "translator": RESNET, "critic": PATCH, "pool": 5},
    "discogan": {
        "name": "discogan",
        "variant": "code",
        "translator": BOTTLENECK,
        "critic": PYRAMID,
    },
}
MAPPED = {"name": "mapped", "of": "digits"}
DATA = {"pix2pix": {"name": "edges", "of": "digits"}, "cyclegan": MAPPED, "discogan": MAPPED}


def train(name, out, **settings):
    return genzoo.fit(
        MODELS[name],
        DATA[name],
        out,
        steps=9,
        batch_size=4,
        checkpoint_every=4,
        keep_checkpoints=9,
        log_every=1,
        **settings,
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_run_that_was_cut_ends_as_if_it_had_not_been(name, tmp_path):
    """Generators, critics, pools, and the iteration count equal those of a run without a stop."""
    whole = train(name, tmp_path / "whole")
    train(name, tmp_path / "cut")
    for late in (
        *(tmp_path / "cut" / "checkpoints").glob("step-000[0-9]0[89].ckpt"),
        tmp_path / "cut" / "model.safetensors",
    ):
        late.unlink()
    assert [p.name for p in (tmp_path / "cut" / "checkpoints").iterdir()] == ["step-000004.ckpt"]
    again = train(name, tmp_path / "cut", resume=True)
    expected, found = whole.model.state_dict(), again.model.state_dict()
    assert expected.keys() == found.keys()
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    if name == "cyclegan":
        for pool in ("pool_x", "pool_y"):
            assert int(found[f"{pool}.filled"]) == 5
            assert found[f"{pool}.images"].any()
    if name == "discogan":
        assert int(found["iterations"]) == 6  # of 9 rounds two in three


def test_an_export_leaves_the_pools_out_and_a_load_gives_both_generators(tmp_path):
    run = train("cyclegan", tmp_path / "run")
    with safe_open(tmp_path / "run" / "model.safetensors", framework="pt") as file:
        keys = set(file.keys())
    assert not any(key.startswith("pool") for key in keys)
    assert {key.split(".")[0] for key in keys} == {"to_x", "to_y", "critic_x", "critic_y"}
    model, x = genzoo.load(tmp_path / "run"), torch.rand(2, 1, 8, 8)
    for reverse in (False, True):
        expected = run.model.translate(x, reverse=reverse)
        assert torch.equal(model.translate(x, reverse=reverse), expected)


def test_microbatches_are_not_counted_as_iterations(tmp_path):
    assert int(train("discogan", None, microbatches=2).model.iterations) == 6
    train("discogan", tmp_path / "run")
    with safe_open(tmp_path / "run" / "model.safetensors", framework="pt") as file:
        assert "iterations" not in set(file.keys())


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["genzoo", *map(str, words)])
    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code or 0


def test_the_commands(tmp_path, monkeypatch, capsys):
    train("pix2pix", tmp_path / "p2p")
    train("cyclegan", tmp_path / "cycle")
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "sample", "p2p", "-n", 5, "-o", "five.png") == 0
    width, height = Image.open("five.png").size
    assert width / height == 2  # three rows of two triples: input, output, truth
    (tmp_path / "images" / "more").mkdir(parents=True)
    Image.new("RGB", (20, 20), "red").save("images/one.jpg")
    Image.new("L", (8, 8), 90).save("images/more/two.png")
    assert call(monkeypatch, "translate", "cycle", "images", "-o", "out") == 0
    assert Image.open("out/one.png").size == Image.open("out/more/two.png").size == (8, 8)
    model = genzoo.load("cycle")
    assert (
        call(monkeypatch, "translate", "cycle", "images/more/two.png", "-o", "back", "--reverse")
        == 0
    )
    expected = model.translate(torch.full((1, 1, 8, 8), 90 / 255), reverse=True)
    assert (
        np.abs(np.asarray(Image.open("back/two.png")) / 255 - expected[0, 0].detach().numpy()).max()
        <= 0.51 / 255
    )
    assert call(monkeypatch, "sample", "cycle", "-n", 5, "-o", "known.png") == 0
    assert Image.open("known.png").size == (
        width,
        height,
    )  # of mapped images the truth is known as well
    capsys.readouterr()
    assert (
        call(monkeypatch, "translate", "cycle", "images", "-o", "images") == 2
    )  # two.png would be lost
    assert "would be overwritten" in capsys.readouterr().err
    Image.new("L", (8, 8), 0).save("images/one.png")
    assert call(monkeypatch, "translate", "cycle", "images", "-o", "more") == 2
    assert "would both become" in capsys.readouterr().err
    assert call(monkeypatch, "translate", "p2p", "images", "--reverse") == 2
    assert "Pix2Pix translates in one direction only" in capsys.readouterr().err
    assert call(monkeypatch, "evaluate", "cycle", "translation", "frechet") == 0
    assert "absolute_error (identity)" in capsys.readouterr().out


def test_the_metric_is_the_error_that_numpy_finds(tmp_path):
    data = build(DATA["cyclegan"], "datasets")
    model = build(MODELS["cyclegan"], shape=(1, 8, 8)).eval()
    x, t = (data.prepare(data.test[name]) for name in ("x", "truth"))
    batches = [
        {"x": x[i : i + 100], "y": 1 - t[i : i + 100], "truth": t[i : i + 100]}
        for i in range(0, len(x), 100)
    ]
    found = build("translation", "metrics")(model, batches)
    with torch.no_grad():
        gap = (model.translate(x) - t).double().numpy()
    identity = (x - t).double().numpy()
    assert found == pytest.approx(
        {
            "absolute_error": np.abs(gap).mean(),
            "squared_error": (gap**2).mean(),
            "absolute_error (identity)": np.abs(identity).mean(),
            "squared_error (identity)": (identity**2).mean(),
        }
    )


@pytest.mark.parametrize(("given", "made"), [(3, 1), (1, 3), (2, 3)])
def test_identity_between_other_channels(given, made):
    x, t = torch.rand(4, given, 8, 8), torch.rand(4, made, 8, 8)
    model = SimpleNamespace(translate=lambda x: t, unpack=lambda batch: (None, batch["x"]))
    found = build("translation", "metrics")(model, [{"x": x, "truth": t}])
    assert found["absolute_error"] == 0
    oracle = {(3, 1): x.mean(1, keepdim=True), (1, 3): x}.get((given, made))
    if oracle is None:
        assert "absolute_error (identity)" not in found
    else:
        assert found["absolute_error (identity)"] == pytest.approx(
            (oracle - t).abs().mean().item(), rel=1e-5
        )


def test_channels_that_no_picture_has_train_and_are_shown(tmp_path):
    data = genzoo.Dataset({"x": torch.rand(8, 4, 8, 8), "y": torch.rand(8, 3, 8, 8)})
    run = genzoo.fit(MODELS["pix2pix"], data, tmp_path / "run", steps=1, batch_size=4)
    assert run.model.given_shape == (4, 8, 8)


def test_what_is_given_must_have_its_shape():
    data = genzoo.Dataset({"x": torch.rand(8, 1, 8, 8), "y": torch.rand(8, 3, 8, 8)})
    model = build(MODELS["pix2pix"], shape=(3, 8, 8))
    with pytest.raises(
        SettingError, match=r"Pix2Pix has given_shape \(3, 8, 8\), the data have \(1, 8, 8\)"
    ):
        genzoo.fit(model, data, steps=1, batch_size=4)
