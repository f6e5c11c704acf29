"""Complete runs: exact resume, content of an export, commands, and the metric."""

import sys

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
def test_a_resumed_run_equals_an_uninterrupted_one(name, tmp_path):
    """Generators, critics, pools, and iteration counts equal those of an uninterrupted run."""
    whole = train(name, tmp_path / "whole")
    train(name, tmp_path / "cut")
    for late in (
        *(tmp_path / "cut" / "checkpoints").glob("step-000[0-9]0[89].ckpt"),
        tmp_path / "cut" / "model.safetensors",
    ):
        late.unlink()
    assert [p.name for p in (tmp_path / "cut" / "checkpoints").iterdir()] == ["step-000004.ckpt"]
    again = train(name, tmp_path / "cut", resume=True)
    expected, actual = whole.model.state_dict(), again.model.state_dict()
    assert expected.keys() == actual.keys()
    assert [key for key in expected if not torch.equal(expected[key], actual[key])] == []
    if name == "cyclegan":
        for pool in ("pool_x", "pool_y"):
            assert int(actual[f"{pool}.filled"]) == 5
            assert actual[f"{pool}.images"].any()
    if name == "discogan":
        assert int(actual["iterations"]) == 6  # two thirds of 9 rounds


def test_an_export_excludes_the_pools_and_load_restores_both_generators(tmp_path):
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


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["genzoo", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code or 0


def test_the_commands_work(tmp_path, monkeypatch, capsys):
    train("pix2pix", tmp_path / "p2p")
    train("cyclegan", tmp_path / "cycle")
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "sample", "p2p", "-n", 5, "-o", "five.png") == 0
    width, height = Image.open("five.png").size
    # three rows of two triples: input, output, and truth, below their titles
    tile = width // 6
    assert 0 < height - 3 * tile < tile
    assert call(monkeypatch, "sample", "p2p", "-n", 5, "--columns", 4) == 2
    assert (
        "input, output, truth are side by side; choose a multiple of 3" in capsys.readouterr().err
    )
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
    # the truth of mapped images is known
    assert Image.open("known.png").size == (
        width,
        height,
    )
    capsys.readouterr()
    # two.png would be overwritten
    assert call(monkeypatch, "translate", "cycle", "images", "-o", "images") == 2
    assert "would be overwritten" in capsys.readouterr().err
    Image.new("L", (8, 8), 0).save("images/one.png")
    assert call(monkeypatch, "translate", "cycle", "images", "-o", "more") == 2
    assert "would both become" in capsys.readouterr().err
    assert call(monkeypatch, "translate", "p2p", "images", "--reverse") == 2
    assert "Pix2Pix translates in one direction only" in capsys.readouterr().err
    assert call(monkeypatch, "evaluate", "cycle", "translation", "frechet") == 0
    assert "absolute_error (identity)" in capsys.readouterr().out


def test_the_metric_equals_the_error_from_numpy(tmp_path):
    data = build(DATA["cyclegan"], "datasets")
    model = build(MODELS["cyclegan"], shape=(1, 8, 8)).eval()
    x, t = (data.prepare(data.test[name]) for name in ("x", "truth"))
    evaluation = genzoo.evaluate(model, data, "translation", batch_size=100)
    values = {row.quantity: row.value for row in evaluation}
    with torch.no_grad():
        gap = (model.translate(x) - t).double().numpy()
    identity = (x - t).double().numpy()
    assert values == pytest.approx(
        {
            "absolute_error": np.abs(gap).mean(),
            "squared_error": (gap**2).mean(),
            "absolute_error (identity)": np.abs(identity).mean(),
            "squared_error (identity)": (identity**2).mean(),
        }
    )


@pytest.mark.parametrize(("given", "output"), [(3, 1), (1, 3), (2, 3)])
def test_identity_between_different_numbers_of_channels(given, output):
    x, t = torch.rand(4, given, 8, 8), torch.rand(4, output, 8, 8)
    model = build(MODELS["pix2pix"], shape=t.shape[1:], given_shape=x.shape[1:])
    model.translate = lambda x: t
    pairs = {"x": x, "y": t}
    data = genzoo.Dataset(pairs, {**pairs, "truth": t})
    evaluation = genzoo.evaluate(model, data, "translation")
    values = {row.quantity: row.value for row in evaluation}
    assert values["absolute_error"] == 0
    oracle = {(3, 1): x.mean(1, keepdim=True), (1, 3): x}.get((given, output))
    if oracle is None:
        assert "absolute_error (identity)" not in values
    else:
        assert values["absolute_error (identity)"] == pytest.approx(
            (oracle - t).abs().mean().item(), rel=1e-5
        )


def test_unusual_channel_numbers_train_and_are_shown(tmp_path):
    data = genzoo.Dataset({"x": torch.rand(8, 4, 8, 8), "y": torch.rand(8, 3, 8, 8)})
    run = genzoo.fit(MODELS["pix2pix"], data, tmp_path / "run", steps=1, batch_size=4)
    assert run.model.given_shape == (4, 8, 8)


def test_given_images_must_have_the_right_shape():
    data = genzoo.Dataset({"x": torch.rand(8, 1, 8, 8), "y": torch.rand(8, 3, 8, 8)})
    model = build(MODELS["pix2pix"], shape=(3, 8, 8))
    with pytest.raises(
        SettingError, match=r"Pix2Pix has given_shape \(3, 8, 8\), but the data have \(1, 8, 8\)"
    ):
        genzoo.fit(model, data, steps=1, batch_size=4)
