"""Push to and load from a local stand-in of the Hugging Face Hub."""

import hashlib
import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import genzoo
from genzoo.cli.app import app
from genzoo.errors import RunError, SettingError
from genzoo.runs.hub import Address
from tests.weights.hub_server import Hub

package = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine, with an empty cache; nothing can reach the real one."""
    server = Hub()
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("HF_TOKEN", "hf_local")
    yield server
    server.close()


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_returns_from_the_hub(saved, hub):
    address = genzoo.push(saved, "ana/small-vae", license="mit")
    commit, files = hub.files("ana/small-vae")
    assert address == f"hf://ana/small-vae@{commit}"
    assert {"model.safetensors", "recipe.toml", "card.md", "README.md", "sha256.json"} <= {*files}
    assert not [name for name in files if name.endswith((".ckpt", ".pt", ".bin", ".pkl", ".py"))]
    for name, content in files.items():
        assert str(saved.parent).encode() not in content, name
    assert equal(genzoo.load(address), genzoo.load(saved))
    assert equal(genzoo.load("hf://ana/small-vae"), genzoo.load(saved))
    card = package.ModelCard(files["README.md"].decode())
    assert card.data.license == "mit"
    assert card.data.library_name == "genzoo"
    assert 'genzoo.load("hf://ana/small-vae")' in card.text


def test_pretrained_weights_are_pushed_as_they_are(registered, stored, hub):
    result = CliRunner().invoke(app, ["push", registered, "ana/zoo"])
    assert result.exit_code == 0, (result.output, result.exception)
    _, files = hub.files("ana/zoo")
    assert files["model.safetensors"] == (stored / "model.safetensors").read_bytes()
    card = package.ModelCard(files["README.md"].decode())
    (measured,) = card.data.eval_results
    report = json.loads(files["report/evaluation.json"])
    assert measured.metric_value == report["measurements"][0]["value"]
    (address,) = re.findall(r"^hf://\S+", result.output, re.MULTILINE)
    assert equal(genzoo.load(address), genzoo.load(registered))


def test_every_command_takes_an_address(saved, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    genzoo.push(saved, "ana/small-vae")
    for arguments in (
        ("sample", "hf://ana/small-vae", "-n", "4", "-o", "a.png"),
        ("evaluate", "hf://ana/small-vae", "reconstruction", "-n", "20", "-o", "report"),
    ):
        result = CliRunner().invoke(app, [*arguments])
        assert result.exit_code == 0, (arguments, result.output, result.exception)


def test_a_revision_pins_the_weights(saved, hub):
    first = genzoo.push(saved, "ana/small-vae")
    before = genzoo.load(first)
    other = genzoo.load(saved)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    run = genzoo.save(other, saved.parent / "other", data="digits", overwrite=True)
    second = genzoo.push(run, "ana/small-vae")
    assert first != second
    assert equal(genzoo.load(first), before)
    assert equal(genzoo.load("hf://ana/small-vae"), other)


def test_the_cache_serves_without_a_connection(saved, hub, monkeypatch):
    address = genzoo.push(saved, "ana/small-vae")
    model = genzoo.load(address)
    hub.close()
    assert equal(genzoo.load(address), model)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert equal(genzoo.load(address), model)
    with pytest.raises(RunError, match=r"hf://ana/nowhere cannot be downloaded"):
        genzoo.load("hf://ana/nowhere")


def test_a_copy_of_the_repository_loads_from_a_folder(saved, hub, tmp_path):
    genzoo.push(saved, "ana/small-vae")
    _, files = hub.files("ana/small-vae")
    for name, content in files.items():
        path = tmp_path / "copy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert equal(genzoo.load(tmp_path / "copy"), genzoo.load(saved))


def _other_weights(files, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(files["model.safetensors"])
    save_file({name: value + 1 for name, value in load_file(path).items()}, path)
    return {"model.safetensors": path.read_bytes()}


def _other_hash(files, tmp_path):
    hashes = json.loads(files["sha256.json"])
    hashes["model.safetensors"] = 64 * "0"
    return {"sha256.json": json.dumps(hashes).encode()}


@pytest.mark.parametrize("change", [_other_weights, _other_hash])
def test_tampered_files_are_refused(change, saved, hub, tmp_path):
    address = genzoo.push(saved, "ana/small-vae")
    _, files = hub.files("ana/small-vae")
    commit = hub.add("ana/small-vae", change(files, tmp_path))
    with pytest.raises(RunError, match=r"model\.safetensors has the SHA-256"):
        genzoo.load(f"hf://ana/small-vae@{commit}")
    assert genzoo.load(address)


def test_nothing_else_is_downloaded_or_executed(saved, hub, tmp_path, monkeypatch):
    genzoo.push(saved, "ana/small-vae")
    marker = tmp_path / "executed"
    code = f"open({str(marker)!r}, 'w')".encode()
    hub.add(
        "ana/small-vae",
        {"model.py": code, "genzoo_evil.py": code, "pytorch_model.bin": b"cos\nsystem\n"},
    )
    genzoo.load("hf://ana/small-vae")
    assert not marker.exists()
    names = {path.name for path in (tmp_path / "cache").rglob("*")}
    assert not names & {"model.py", "genzoo_evil.py", "pytorch_model.bin"}


def test_a_plugin_is_named_and_not_installed(saved, hub):
    genzoo.push(saved, "ana/small-vae")
    _, files = hub.files("ana/small-vae")
    recipe = files["recipe.toml"].decode().replace('name = "vae"', 'name = "ring"')
    recipe = recipe.replace("needs = []", "needs = [\"models 'ring' from genzoo-ring 1.2\"]")
    hashes = json.loads(files["sha256.json"])
    hashes["recipe.toml"] = hashlib.sha256(recipe.encode()).hexdigest()
    hub.add(
        "ana/ring",
        {**files, "recipe.toml": recipe.encode(), "sha256.json": json.dumps(hashes).encode()},
    )
    with pytest.raises(SettingError, match=r"pip install genzoo-ring==1\.2"):
        genzoo.load("hf://ana/ring")


def test_errors_name_the_address(saved, hub):
    with pytest.raises(RunError, match=r"hf://ana/nowhere cannot be downloaded"):
        genzoo.load("hf://ana/nowhere")
    hub.add("ana/empty", {"README.md": b"Nothing."})
    with pytest.raises(RunError, match=r"hf://ana/empty holds no run of genzoo"):
        genzoo.load("hf://ana/empty")
    genzoo.push(saved, "ana/small-vae")
    with pytest.raises(RunError, match="cannot be downloaded"):
        genzoo.load("hf://ana/small-vae@nowhere")
    for text in (
        "hf://ana",
        "hf://ana/a/b",
        "hf://../a",
        "hf://ana/a@",
        "hf://ana/..",
        "hf:///etc",
    ):
        with pytest.raises(SettingError, match="is not an address"):
            genzoo.load(text)
    with pytest.raises(SettingError, match="leave out the revision"):
        genzoo.push(saved, "ana/x@main")
    with pytest.raises(RunError, match="nowhere is not a run folder"):
        genzoo.push("nowhere", "ana/x")
    assert str(Address.parse("ana/x")) == "hf://ana/x"
