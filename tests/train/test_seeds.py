"""Training with several seeds makes the runs that single trainings make, and continues them."""

import pytest

import genzoo
from genzoo.errors import SettingError
from genzoo.train import fit_seeds

VAE = {"name": "vae", "encoder": {"hidden": [8]}, "decoder": {"hidden": [8]}}
pytestmark = pytest.mark.filterwarnings("error:.*no checkpoint to resume from")
SHORT = {"steps": 4, "batch_size": 16, "progress": False}


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_each_run_is_that_of_a_single_training(tmp_path):
    runs = list(fit_seeds(VAE, "digits", tmp_path / "seeds", 2, **SHORT))
    for seed, run in enumerate(runs):
        genzoo.fit(VAE, "digits", tmp_path / f"single-{seed}", seed=seed, **SHORT)
        assert weights(run.folder) == weights(tmp_path / f"single-{seed}")
    assert weights(runs[0].folder) != weights(runs[1].folder)
    assert [run.folder.name for run in fit_seeds(VAE, "digits", tmp_path / "x", [7], **SHORT)] == [
        "seed-7"
    ]


def test_the_same_call_keeps_complete_runs_and_resumes_the_others(tmp_path):
    settings = {**SHORT, "checkpoint_every": 2}
    whole = [weights(run.folder) for run in fit_seeds(VAE, "digits", tmp_path, 2, **settings)]
    # the state after a kill at step 2
    (tmp_path / "seed-1" / "model.safetensors").unlink()
    sorted((tmp_path / "seed-1" / "checkpoints").iterdir())[-1].unlink()
    again = list(fit_seeds(VAE, "digits", tmp_path, 3, **settings))
    assert [run.was_complete for run in again] == [True, False, False]
    assert [weights(run.folder) for run in again[:2]] == whole
    overwritten = list(fit_seeds(VAE, "digits", tmp_path, 1, overwrite=True, **settings))
    assert not overwritten[0].was_complete


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((VAE, "digits", "x", 0), {}, "seeds = 0"),
        ((VAE, "digits", "x", [1, 1]), {}, "different integers"),
        ((VAE, "digits", "x", []), {}, "at least one"),
        ((VAE, "digits", "x", [-1]), {}, "seed = -1"),
        ((VAE, "digits", "x", 2), {"seed": 3}, "sets seed itself"),
        ((VAE, "digits", "x", 2), {"resume": True}, "sets resume itself"),
    ],
)
def test_errors_come_before_training(arguments, settings, message):
    with pytest.raises(SettingError, match=message):
        fit_seeds(*arguments, **settings)


def test_an_instance_cannot_be_built_again():
    with pytest.raises(SettingError, match="an instance of VAE"):
        fit_seeds(genzoo.load("vae", shape=(1, 8, 8)), "digits", "x", 2)


def test_the_command_trains_seeds(tmp_path, genzoo_):
    arguments = ("digits", "--model", "vae", "train.batch_size=16", "--out", str(tmp_path / "v"))
    code, text = genzoo_("train", *arguments, "--steps", "1", "--seeds", "2")
    assert code == 0, text
    assert f"Next: genzoo compare {tmp_path / 'v'}" in text
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == ["seed-0", "seed-1"]
    code, text = genzoo_("train", *arguments, "--resume", "--seeds", "2")
    assert (code, "continues unfinished runs by itself" in " ".join(text.split())) == (2, True)
