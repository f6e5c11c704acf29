"""Tests of the recorded origin of a run's weights, and of runs that begin from another run."""

import tomllib

import pytest
import torch
from typer.testing import CliRunner

import genzoo
from genzoo.cli.app import app
from genzoo.data.digest import of_tensors
from genzoo.errors import RunError, SettingError
from genzoo.runs.weights import origin

TABLE = {
    "name": "vae",
    "latent_dim": 2,
    "encoder": {"name": "mlp", "hidden": (4,)},
    "decoder": {"name": "mlp", "hidden": (4,)},
}
QUICK = {"steps": 2, "batch_size": 8, "progress": False}


def facts(folder):
    return tomllib.loads((folder / "recipe.toml").read_text())["run"]


@pytest.mark.slow
def test_weights_are_recorded_as_fresh_only_if_that_is_certain(tmp_path):
    genzoo.fit(TABLE, "digits", tmp_path / "a", **QUICK)
    assert facts(tmp_path / "a")["weights"] == "fresh"
    instance = genzoo.build(TABLE, shape=(1, 8, 8))
    expected = of_tensors({name: value.clone() for name, value in instance.state_dict().items()})
    genzoo.fit(instance, "digits", tmp_path / "b", **QUICK)
    assert facts(tmp_path / "b")["weights"] == {"sha256": expected}


@pytest.mark.slow
def test_the_origin_is_recorded_while_the_weights_are_unchanged(tmp_path):
    genzoo.fit(TABLE, "digits", tmp_path / "base", **QUICK)
    for name, factor in (("same", 1.0), ("other", 2.0)):
        model = genzoo.load(tmp_path / "base")
        with torch.no_grad():
            model.encoder.net[1].weight.mul_(factor)
        genzoo.fit(model, "digits", tmp_path / name, **QUICK)
    assert facts(tmp_path / "same")["weights"]["run"] == "base"
    assert "run" not in facts(tmp_path / "other")["weights"]


@pytest.mark.slow
def test_a_resume_keeps_the_origin_of_the_run(tmp_path):
    model = genzoo.build(TABLE, shape=(1, 8, 8))
    genzoo.fit(model, "digits", tmp_path / "run", **QUICK)
    began = facts(tmp_path / "run")["weights"]
    genzoo.fit(
        genzoo.build(TABLE, shape=(1, 8, 8)),
        "digits",
        tmp_path / "run",
        **{**QUICK, "steps": 3},
        resume=True,
    )
    assert facts(tmp_path / "run")["weights"] == began


@pytest.mark.slow
@pytest.mark.parametrize("ema", [None, 0.5])
def test_a_run_starts_with_the_weights_that_load_returns(tmp_path, ema):
    genzoo.fit(TABLE, "digits", tmp_path / "base", ema=ema, **QUICK)
    base = genzoo.load(tmp_path / "base")
    run = genzoo.fit(
        {**TABLE, "beta": 2.0}, "digits", tmp_path / "next", init_from=tmp_path / "base", **QUICK,
        players={"autoencoder": {"name": "SGD", "lr": 1e-30}},
    )  # fmt: skip
    for name, value in base.named_parameters():
        assert torch.equal(dict(run.model.named_parameters())[name], value)
    recorded_origin = facts(tmp_path / "next")["weights"]
    assert recorded_origin == {
        "sha256": of_tensors(base.state_dict()),
        "run": "base",
        "which": "last" if ema is None else "averaged",
    }
    assert str(tmp_path) not in (tmp_path / "next" / "recipe.toml").read_text()
    assert genzoo.load(tmp_path / "next").beta == 2.0


@pytest.mark.slow
def test_another_architecture_and_a_missing_run_are_refused_by_name(tmp_path):
    genzoo.fit(TABLE, "digits", tmp_path / "base", **QUICK)
    with pytest.raises(
        RunError, match=r"base holds another model's weights than VAE: they have shape \(.*\) for '"
    ):
        genzoo.fit(
            {**TABLE, "latent_dim": 3},
            "digits",
            tmp_path / "next",
            init_from=tmp_path / "base",
            **QUICK,
        )
    with pytest.raises(RunError, match="nowhere is not a run folder"):
        genzoo.fit(TABLE, "digits", tmp_path / "next", init_from=tmp_path / "nowhere", **QUICK)
    assert not (tmp_path / "next").exists()


@pytest.mark.slow
def test_a_resume_from_other_weights_is_refused(tmp_path):
    genzoo.fit(TABLE, "digits", tmp_path / "base", **QUICK)
    genzoo.fit(TABLE, "digits", tmp_path / "run", **QUICK)
    with pytest.raises(RunError, match="did not begin with the last weights of 'base'"):
        genzoo.fit(
            TABLE,
            "digits",
            tmp_path / "run",
            init_from=tmp_path / "base",
            resume=True,
            **{**QUICK, "steps": 3},
        )


@pytest.mark.slow
def test_a_run_without_a_checkpoint_restarts_only_from_its_initial_weights(tmp_path):
    genzoo.fit(TABLE, "digits", tmp_path / "base", **QUICK)
    genzoo.fit(TABLE, "digits", tmp_path / "run", init_from=tmp_path / "base", **QUICK)
    begun = facts(tmp_path / "run")["weights"]
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(
        RunError, match=r"began with the weights of run 'base'.*resume it with --from"
    ):
        genzoo.fit(TABLE, "digits", tmp_path / "run", resume=True, **QUICK)
    assert facts(tmp_path / "run")["weights"] == begun
    genzoo.fit(TABLE, "digits", tmp_path / "run", init_from=tmp_path / "base", resume=True, **QUICK)
    assert facts(tmp_path / "run")["weights"] == begun


@pytest.mark.slow
def test_the_command_uses_the_recipe_of_the_run_as_its_base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    genzoo.fit(TABLE, "digits", tmp_path / "base", **QUICK)
    result = CliRunner().invoke(
        app, ["train", "--from", "base", "train.batch_size=4", "model.beta=3.0"]
    )
    assert result.exit_code == 0, result.exception
    table = tomllib.loads((tmp_path / "runs" / "from-base" / "recipe.toml").read_text())
    assert (table["train"]["batch_size"], table["model"]["beta"]) == (4, 3.0)
    assert (table["model"]["latent_dim"], table["run"]["weights"]["run"]) == (2, "base")
    failed = CliRunner().invoke(app, ["train"])
    assert isinstance(failed.exception, SettingError)


def test_the_last_weights_of_an_averaged_run_record_their_training_data(tmp_path):
    genzoo.fit(TABLE, "digits", tmp_path / "a", steps=1, batch_size=8)
    model = genzoo.load(tmp_path / "a")
    run = genzoo.fit(model, torch.rand(16, 1, 8, 8), steps=1, batch_size=8, ema=0.9)
    assert (
        origin(model)
        == origin(run.model)
        == {"data": {"name": "in-memory", "shape": (1, 8, 8), "rows": 16}}
    )
