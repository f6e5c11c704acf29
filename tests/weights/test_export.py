"""Exported files compute what the model computes, run by onnxruntime and torch alone."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import genzoo
from genzoo.weights import programs
from genzoo.weights.export import model_and_recipe
from genzoo.weights.parts import describe_part, parts

NARROW = {"name": "mlp", "hidden": (8,)}
AUTOENCODER = {"encoder": NARROW, "decoder": NARROW, "latent_dim": 3}
TINY = (1, 2, 2)


def described(session):
    return json.loads(session.get_modelmeta().custom_metadata_map["genzoo"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "part"),
    [
        ("vae", {"classes": 3, **AUTOENCODER}, None),
        ("wae-mmd", {"prior": "mog", **AUTOENCODER}, "encode"),
        ("gan", {"classes": 3, "generator": NARROW, "critic": NARROW}, None),
        ("wgan-gp", {"generator": NARROW, "critic": NARROW}, "score"),
        ("nade", {"hidden": 8, "classes": 3}, None),
        ("pixel-rnn", {"layer": "row-lstm", "hidden": 2, "depth": 1, "kernel": 3}, None),
    ],
)
def test_onnxruntime_computes_the_public_method(name, settings, part, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = genzoo.load(name, shape=TINY, **settings).eval()
    path = genzoo.export(model, tmp_path / "model.onnx", part=part)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    facts = described(session)
    assert facts["model"] == name
    part = facts["part"]
    assert part == parts(model)[0] or part in ("encode", "score")
    method = model.decode if part == "sample" else getattr(model, part)
    assert [node.name for node in session.get_inputs()] == list(facts["inputs"])
    assert [node.name for node in session.get_outputs()] == list(facts["outputs"])
    assert session.get_inputs()[0].shape == [
        "batch",
        *next(iter(facts["inputs"].values()))["shape"][1:],
    ]
    for n in (1, 2, 6):
        x, given = model.unpack(model.example(n))
        if "z" in facts["inputs"]:
            x = 3 * torch.randn(n, model.latent_dim)
        inputs = [x] if given is None else [x, given]
        arrays = {key: value.numpy() for key, value in zip(facts["inputs"], inputs, strict=True)}
        (actual,) = session.run(None, arrays)
        expected = method(*inputs).detach().numpy()
        np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=1e-5)
        (limits,) = [output["range"] for output in facts["outputs"].values()]
        if limits == [0, 1]:
            assert ((actual >= 0) & (actual <= 1)).all()
    content = path.read_bytes()
    assert b".py" not in content  # neither source files nor folders of this machine
    assert re.search(rb"genzoo::", content) is None


@pytest.mark.slow
def test_torch_programs_run_without_genzoo(tmp_path):
    """Another process, which cannot import genzoo, loads the files and gets the same numbers."""
    cases = {}
    for name, settings, part in (
        ("eonade", {"hidden": (4,), "orderings": 2}, "log_prob"),
        ("dcgan", {"channels": (4,), "shape": (1, 8, 8)}, "sample"),
        ("discogan", {"translator": {"width": 4}, "shape": (1, 16, 16)}, "translate"),
    ):
        model = genzoo.load(name, **{"shape": TINY, **settings}).eval()
        path = genzoo.export(model, tmp_path / f"{name}.pt2", to="torch-export")
        files = {"genzoo.json": ""}
        torch.export.load(path, extra_files=files)
        assert json.loads(files["genzoo.json"])["part"] == part
        x, given = model.unpack(model.example(5))
        if part == "sample":
            x = torch.randn(5, model.latent_dim)
        x = x if part != "translate" or given is None else given
        method = model.decode if part == "sample" else getattr(model, part)
        cases[str(path)] = x, method(x).detach()
    torch.save(cases, tmp_path / "cases.pt")
    script = (
        "import sys, torch; sys.modules['genzoo'] = None\n"
        f"for path, (x, expected) in torch.load({str(tmp_path / 'cases.pt')!r}).items():\n"
        "    result = torch.export.load(path).module()(x)\n"
        "    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_program_holds_only_the_weights_of_its_part(tmp_path):
    model = genzoo.load("gan", shape=TINY, generator=NARROW, critic=NARROW)
    path = genzoo.export(model, tmp_path / "g.pt2", to="torch-export", part="sample")
    held = torch.export.load(path).state_dict
    assert {name.split(".")[1] for name in held} == {"generator"}
    assert model.critic is not None
    assert model.training


def test_the_facts_say_how_to_draw_latent_vectors(tmp_path):
    model = genzoo.load("wae-mmd", shape=(4,), **AUTOENCODER)
    model.fit_sampler(torch.rand(20, 4), {"name": "mog", "components": 2})

    path = genzoo.export(model, tmp_path / "d.pt2", "torch-export", "sample")
    files = {"genzoo.json": ""}
    torch.export.load(path, extra_files=files)
    facts = json.loads(files["genzoo.json"])
    assert facts["inputs"] == {"z": {"shape": ["batch", 3], "dtype": "float32", "range": None}}
    assert facts["outputs"] == {"x": {"shape": ["batch", 4], "dtype": "float32", "range": None}}
    assert (facts["z"]["fitted"], facts["z"]["distribution"]["name"]) == (True, "mog")
    np.testing.assert_allclose(facts["z"]["tensors"]["means"], model.sampler.means, rtol=1e-6)
    model.has_fitted_sampler.fill_(0)
    z = describe_part(model, "decode", {}, torch.zeros(1, 4))["z"]
    assert (z["fitted"], z["distribution"]["name"]) == (False, "normal")


def test_latent_vectors_need_no_prior():
    class WithoutPrior(Noisy):
        latent_distribution = genzoo.build({"name": "normal", "dim": 2}, "priors")

    z = describe_part(WithoutPrior(), "decode", {}, torch.zeros(1, 2))["z"]
    assert (z["fitted"], z["distribution"]["name"]) == (False, "normal")


def test_the_facts_name_the_recipe_of_the_run(tmp_path):
    x = torch.rand(8, 4)
    run = genzoo.fit("wae-mmd", x, tmp_path / "run", steps=1, batch_size=4, device="cpu")
    loaded = genzoo.load(tmp_path / "run")
    packed = genzoo.pack(run, tmp_path / "run.zip")
    opened = genzoo.Run.open(packed)
    sources = (run, tmp_path / "run", loaded, packed, opened)
    assert len({model_and_recipe(source)[1] for source in sources}) == 1
    with torch.no_grad():
        loaded.decoder.net[0].weight += 1
    # no longer the weights of that run
    assert model_and_recipe(loaded)[1] != model_and_recipe(run)[1]


@pytest.mark.parametrize(
    ("path", "settings", "message"),
    [
        ("d.onnx", {"to": "onnxx"}, "Did you mean 'onnx'"),
        ("d.pt", {"to": "torch-export"}, r"ends in \.pt2"),
        ("d.pt2", {"to": "onnx"}, r"ends in \.onnx"),
        (
            "d.pt2",
            {"to": "torch-export", "part": "log_prob"},
            "'wae-mmd' has no part \"log_prob\".*decode, encode, sample",
        ),
        ("d.pt2", {"to": "torch-export", "part": "decoder"}, "Did you mean 'decode'"),
    ],
)
def test_bad_arguments_are_refused(path, settings, message, tmp_path):
    with pytest.raises(genzoo.SettingError, match=message):
        genzoo.export(genzoo.load("wae-mmd", shape=(4,)), tmp_path / path, **settings)
    assert list(tmp_path.iterdir()) == []


class Noisy(genzoo.Model):
    def __init__(self, shape=(2,)):
        super().__init__()
        self.shape, self.latent_dim, self.scale = shape, 2, nn.Parameter(torch.ones(()))

    def decode(self, z):
        return self.scale * z + torch.randn_like(z)


class Untraceable(Noisy):
    def decode(self, z):
        return z if z.sum().item() > 0 else -z


def test_a_program_that_differs_from_the_model_is_not_kept(tmp_path):
    path = tmp_path / "d.pt2"
    path.write_bytes(b"before")
    with pytest.raises(genzoo.RunError, match=r"d\.pt2: sample of 'Noisy'.*differs.*random"):
        genzoo.export(Noisy(), path, to="torch-export")
    with pytest.raises(genzoo.SettingError, match=r"'sample' of 'Untraceable' cannot be exported"):
        genzoo.export(Untraceable(), path, to="torch-export")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("d.pt2", b"before")]


def test_onnx_needs_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "find_spec", lambda name: None if name == "onnxscript" else 1)
    with pytest.raises(genzoo.GenzooError, match=r"onnxscript; .*genzoo\[onnx\]"):
        genzoo.export(genzoo.load("wae-mmd", shape=(4,)), tmp_path / "d.onnx")


def test_the_command_exports_a_run(genzoo_, tmp_path):
    genzoo.save(genzoo.load("wae-mmd", shape=(4,), **AUTOENCODER), tmp_path / "run")
    path = tmp_path / "d.pt2"
    code, text = genzoo_("export", tmp_path / "run", "--to", "torch-export", "-o", path)
    assert (code, "decode of wae-mmd" in text) == (0, True)
    assert path.exists()
    code, text = genzoo_("export", tmp_path / "run", "--part", "score", "-o", tmp_path / "d.onnx")
    assert (code, "'wae-mmd' has no part" in text) == (2, True)
