"""Tests of saving a model that was trained elsewhere or changed after training."""

import tomllib
from dataclasses import replace

import pytest
import torch

import genzoo
from genzoo import Dataset
from genzoo.data.sklearn_digits import digits
from genzoo.errors import RunError, SettingError
from genzoo.runs.folder import RunFolder

SMALL = {"name": "mlp", "hidden": (4,)}
TABLE = {"name": "wae-mmd", "latent_dim": 2, "encoder": SMALL, "decoder": SMALL}


def model():
    return genzoo.build(TABLE, shape=(1, 8, 8))


def test_a_saved_model_is_loaded_and_its_recipe_records_the_save(tmp_path):
    saved = model()
    assert genzoo.save(saved, tmp_path / "kept", "digits") == tmp_path / "kept"
    loaded = genzoo.load(tmp_path / "kept")
    assert all(
        torch.equal(value, loaded.state_dict()[name]) for name, value in saved.state_dict().items()
    )
    table = tomllib.loads((tmp_path / "kept" / "recipe.toml").read_text())
    assert "saved" in table["run"]
    assert "started" not in table["run"]
    assert len(table["run"]["weights"]["sha256"]) == 64
    assert RunFolder(tmp_path / "kept").dataset().name == "digits"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_class_names_are_kept_by_a_run_and_by_copies_of_it(tmp_path):
    data = Dataset({"x": torch.eye(8), "y": torch.arange(8) % 2})
    named = replace(data, metadata={"class_names": ("cat", "dog")})
    genzoo.fit("independent", data, tmp_path / "unnamed", batch_size=4, progress=False)
    assert RunFolder(tmp_path / "unnamed").class_names() == ()
    genzoo.fit("independent", named, tmp_path / "run", batch_size=4, progress=False)
    genzoo.save(genzoo.load(tmp_path / "run"), tmp_path / "kept")
    genzoo.save(genzoo.load(tmp_path / "unnamed"), tmp_path / "given", named)
    for name in ("run", "kept", "given"):
        assert RunFolder(tmp_path / name).class_names() == ("cat", "dog")


@pytest.mark.slow
def test_a_mixture_fitted_after_training_is_kept_with_the_data_of_the_run(tmp_path):
    genzoo.fit(TABLE, "digits", tmp_path / "run", steps=2, batch_size=8, progress=False)
    trained, data = genzoo.load(tmp_path / "run"), digits()
    with torch.no_grad():
        codes = trained.encode(data.prepare(torch.from_numpy(data.train["x"])))
    trained.prior = genzoo.build({"name": "mog", "components": 3}, "priors", dim=2).fit(codes)
    loaded = genzoo.load(genzoo.save(trained, tmp_path / "kept"))
    assert torch.equal(loaded.prior.means, trained.prior.means)
    assert RunFolder(tmp_path / "kept").recipe()["data"]["name"] == "digits"


@pytest.mark.slow
def test_a_save_without_data_refuses_only_commands_that_need_data(tmp_path):
    genzoo.save(model(), tmp_path / "kept")
    genzoo.load(tmp_path / "kept").sample(2)
    with pytest.raises(RunError, match=r"kept does not name the data.*data="):
        RunFolder(tmp_path / "kept").dataset()


@pytest.mark.slow
def test_save_overwrites_a_run_only_on_request_and_completely(tmp_path):
    genzoo.fit(TABLE, "digits", tmp_path / "run", steps=2, batch_size=8, ema=0.5, progress=False)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="already holds a run"):
        genzoo.save(model(), tmp_path / "run")
    assert all(path.read_bytes() == content for path, content in before.items())
    (tmp_path / "run" / "notes.txt").write_text("mine")
    saved = model()
    genzoo.save(saved, tmp_path / "run", overwrite=True)
    kept = sorted(
        path.name
        for path in (tmp_path / "run").rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )
    assert kept == ["model.safetensors", "notes.txt", "recipe.toml"]
    assert torch.equal(
        genzoo.load(tmp_path / "run").encoder.net[1].weight, saved.encoder.net[1].weight
    )


@pytest.mark.slow
def test_a_failed_save_loses_nothing(tmp_path, monkeypatch):
    genzoo.save(model(), tmp_path / "kept")
    before = {path: path.read_bytes() for path in (tmp_path / "kept").iterdir() if path.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(RunError, match="No space left"):
        genzoo.save(model(), tmp_path / "kept", overwrite=True)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_model_that_cannot_be_restored_is_refused(tmp_path):
    class Mine(type(model())):
        pass

    with pytest.raises(SettingError, match="Mine is not registered"):
        genzoo.save(Mine(shape=(1, 8, 8)), tmp_path / "kept")
    changed = model()
    changed.prior = torch.nn.Identity()
    with pytest.raises(SettingError, match="prior is an Identity"):
        genzoo.save(changed, tmp_path / "kept")
    with pytest.raises(SettingError, match="not a Linear"):
        genzoo.save(torch.nn.Linear(1, 1), tmp_path / "kept")
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_saved_model_cannot_be_resumed_but_can_start_a_run(tmp_path):
    genzoo.save(model(), tmp_path / "kept", "digits")
    quick = {"steps": 1, "batch_size": 8, "progress": False}
    with pytest.raises(RunError, match=r"saved with genzoo\.save.*--from"):
        genzoo.fit(TABLE, "digits", tmp_path / "kept", resume=True, **quick)
    genzoo.fit(TABLE, "digits", tmp_path / "run", init_from=tmp_path / "kept", **quick)
    assert (
        tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())["run"]["weights"]["run"]
        == "kept"
    )


def test_a_folder_locked_by_a_run_is_refused(tmp_path):
    from genzoo.runs.lock import FolderLock

    genzoo.save(genzoo.load("independent", shape=(4,)).fit(torch.eye(4)), tmp_path / "floor")
    lock = FolderLock(tmp_path / "floor").acquire()
    with pytest.raises(RunError, match="floor is in use by another run of this process"):
        genzoo.save(genzoo.load("independent", shape=(4,)), tmp_path / "floor", overwrite=True)
    lock.release()
    genzoo.save(
        genzoo.load("independent", shape=(4,)), tmp_path / "floor", torch.eye(4), overwrite=True
    )
    assert "[run.data.train]" in (tmp_path / "floor" / "recipe.toml").read_text()
