"""Pretrained weights: load them by name, and refuse those that were changed."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import genzoo
from genzoo.cli.app import app
from genzoo.errors import PluginError, RunError, SettingError
from genzoo.runs.seal import seal
from genzoo.weights import Entry


def cli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_a_name_loads_the_trained_model(registered, stored):
    model = genzoo.load(registered)
    weights = load_file(stored / "model.safetensors")
    assert not model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[name].to(value.dtype), rtol=0, atol=0)
    entry = genzoo.weights.get(registered)
    assert torch.equal(next(iter(entry.load().parameters())), next(iter(model.parameters())))
    content = (stored / "model.safetensors").read_bytes()
    assert entry.sha256 == hashlib.sha256(content).hexdigest()
    assert 'genzoo.load("small-vae.digits")' in entry.card


def test_names_are_listed(registered):
    assert registered in genzoo.weights.available("*.digits")
    assert registered not in genzoo.weights.available("*.fashion-mnist")
    assert registered in genzoo.available("weights")
    assert registered in cli("list", "weights").output


def test_listing_reads_no_file(monkeypatch, tmp_path):
    names = genzoo.weights.available()
    monkeypatch.setattr(
        genzoo.weights.get.__self__, "_registered", dict(genzoo.weights.get.__self__._registered)
    )
    genzoo.weights.register("nowhere", Entry(tmp_path / "nowhere"))
    assert genzoo.weights.available() == sorted([*names, "nowhere"])
    with pytest.raises(RunError, match=r"nowhere is not a folder of pretrained weights"):
        genzoo.weights.get("nowhere").load()
    with pytest.raises(RunError, match="nowhere"):
        genzoo.load("nowhere")


def test_a_misspelled_name_suggests_the_nearest(registered):
    message = r"No weights named 'smal-vae\.digits'\. Did you mean 'small-vae\.digits'"
    for function in (genzoo.load, genzoo.evaluate):
        with pytest.raises(SettingError, match=message):
            function("smal-vae.digits")
    with pytest.raises(SettingError, match=r"No model named 'vea'\. Did you mean 'vae'"):
        genzoo.load("vea")


def test_settings_and_checkpoints_do_not_apply(registered):
    with pytest.raises(SettingError, match="settings are fixed; leave out latent_dim"):
        genzoo.load(registered, latent_dim=3)
    with pytest.raises(RunError, match="one checkpoint"):
        genzoo.load(registered, checkpoint="best")


def test_a_name_wins_over_a_folder(registered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / registered).mkdir()
    assert genzoo.load(registered).sample(2).shape == (2, 1, 8, 8)
    with pytest.raises(RunError, match=r"no recipe\.toml"):
        genzoo.load(f"./{registered}")


def test_the_conformance_suite_checks_an_entry(registered, tmp_path, stored):
    genzoo.check(registered)
    genzoo.check(Entry(stored))
    folder = changed(stored, tmp_path, _append("recipe.toml"))
    with pytest.raises(AssertionError, match=r"recipe\.toml has the SHA-256"):
        genzoo.check(Entry(folder))


def test_every_command_takes_a_name(registered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("sample", registered, "-n", 4, "-o", "a.png"),
        ("reconstruct", registered, "-n", 2, "-o", "b.png"),
        ("interpolate", registered, "-n", 2, "-o", "c.png"),
        ("evaluate", registered, "reconstruction", "-n", 20),
        ("compare", registered, registered, "--metric", "reconstruction", "-n", 20),
        ("outliers", registered, "digits", "-n", 20, "-o", "d.csv"),
    ):
        result = cli(*arguments)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a.png", "b.png", "c.png", "d.csv", f"{registered}-report"}


def test_training_begins_with_pretrained_weights(registered, tmp_path):
    result = cli("train", "--from", registered, "--steps", 1, "--out", tmp_path / "run")
    assert result.exit_code == 0, (result.output, result.exception)
    facts = genzoo.runs.RunFolder(tmp_path / "run").facts()
    assert facts["weights"]["run"] == registered


def changed(stored, tmp_path, change):
    folder = tmp_path / "small-vae.digits"
    shutil.copytree(stored, folder)
    change(folder)
    return folder


def _other_weights(folder):
    file = folder / "model.safetensors"
    weights = load_file(file)
    save_file({name: value + 1 for name, value in weights.items()}, file)


def _without(name):
    return lambda folder: (folder / name).unlink()


def _append(name):
    def change(folder):
        with (folder / name).open("a") as file:
            file.write("\n# more\n")

    return change


def _seal(table):
    return lambda folder: (folder / "sha256.json").write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_weights, r"model\.safetensors has the SHA-256 [0-9a-f]{12}\.\.\., but"),
        (_append("recipe.toml"), r"recipe\.toml has the SHA-256"),
        (_append("card.md"), r"card\.md has the SHA-256"),
        (_without("model.safetensors"), r"model\.safetensors is missing"),
        (_without("recipe.toml"), r"recipe\.toml is missing"),
        (_without("card.md"), r"card\.md is missing"),
        (_seal({"../../x": "00"}), r"'\.\./\.\./x', which is outside the folder"),
        (_seal({"/etc/passwd": "00"}), "outside the folder"),
        (_seal({}), r"does not list model\.safetensors"),
        (_seal([1]), "does not map files to hashes"),
        (lambda folder: (folder / "sha256.json").write_text("{"), "cannot be read"),
    ],
)
def test_a_changed_folder_is_refused_by_name_and_by_path(change, message, stored, tmp_path):
    folder = changed(stored, tmp_path, change)
    with pytest.raises(RunError, match=message):
        Entry(folder).load()
    with pytest.raises(RunError, match=message):
        genzoo.load(folder)


def _without_card(folder):
    (folder / "card.md").unlink()
    seal(folder)


def test_an_entry_has_a_card_and_hashes(stored, tmp_path):
    folder = changed(stored, tmp_path, _without_card)
    with pytest.raises(RunError, match=r"does not list card\.md"):
        Entry(folder).load()
    folder = changed(stored, tmp_path / "other", _without("sha256.json"))
    with pytest.raises(RunError, match=r"has no sha256\.json"):
        Entry(folder).load()


def test_stored_weights_are_not_written_to(stored, tmp_path):
    folder = changed(stored, tmp_path, lambda folder: None)
    options = {"steps": 1, "progress": False}
    with pytest.raises(RunError, match="cannot be resumed; begin another run"):
        genzoo.fit("vae", "digits", folder, resume=True, **options)
    with pytest.raises(RunError, match="already holds a run"):
        genzoo.fit("vae", "digits", folder, **options)
    assert Entry(folder).load()


def test_something_else_than_an_entry_is_refused(monkeypatch):
    names = genzoo.weights.get.__self__
    monkeypatch.setattr(names, "_registered", dict(names._registered))
    genzoo.weights.register("mine", lambda: "a folder")
    with pytest.raises(PluginError, match=r"'mine'.*genzoo\.weights\.Entry"):
        genzoo.load("mine")


def test_a_plugin_registers_weights_by_entry_points(install, stored):
    install(
        "genzoo-more",
        "0.3",
        {"small-vae.more": "genzoo_more:small_vae"},
        kind="weights",
        genzoo_more=f"from genzoo.weights import Entry\nsmall_vae = Entry({str(stored)!r})",
    )
    assert "small-vae.more" in genzoo.weights.available()
    assert genzoo.load("small-vae.more").sample(2).shape == (2, 1, 8, 8)
    assert genzoo.load("genzoo-more:small-vae.more").sample(2).shape == (2, 1, 8, 8)
    with pytest.raises(SettingError, match=r"Did you mean 'small-vae\.more'"):
        genzoo.load("small-vae.mor")


def test_a_blocked_plugin_is_named(install, monkeypatch):
    install("genzoo-more", "0.3", {"small-vae.more": "genzoo_more:x"}, kind="weights")
    monkeypatch.setenv("GENZOO_PLUGINS", "off")
    with pytest.raises(PluginError, match=r"genzoo-more 0\.3.*is forbidden by GENZOO_PLUGINS"):
        genzoo.load("small-vae.more")


def test_listing_imports_neither_torch_nor_numpy():
    script = (
        "import sys, genzoo; genzoo.weights.available(); "
        "print(sorted({'torch', 'numpy', 'safetensors'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
