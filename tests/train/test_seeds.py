"""Training with several seeds makes the runs that single trainings make, and continues them."""

import multiprocessing
import os
import shutil
import signal
import time

import pytest
import torch

import genzoo
from genzoo.errors import RunError, SettingError, UnknownSettingError
from genzoo.runs.lock import FolderLock
from genzoo.train import fit_seeds, seed_processes

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
        ((VAE, "digits", "x", 2), {"jobs": 0}, "jobs = 0"),
        ((VAE, torch.rand(9, 2), "x", 2), {"jobs": 2}, "pass the name or the table"),
        ((VAE, "digits", "x", 2), {"jobs": 2, "schedule": lambda t: 1 - t}, "a function cannot"),
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
    code, text = genzoo_("train", *arguments, "--steps", "1", "--seeds", "2", "--jobs", "1")
    assert code == 0, text
    assert f"Next: genzoo compare {tmp_path / 'v'}" in text
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == ["seed-0", "seed-1"]
    code, text = genzoo_("train", *arguments, "--resume", "--seeds", "2")
    assert (code, "continues unfinished runs by itself" in " ".join(text.split())) == (2, True)
    code, text = genzoo_("train", *arguments, "--jobs", "2")
    assert (code, "--jobs 2 needs --seeds" in text) == (2, True)


@pytest.mark.slow
def test_runs_in_processes_are_those_of_one_process(tmp_path, monkeypatch):
    """A complete run is kept, and the error of a run is raised after the others have ended."""
    monkeypatch.setattr(seed_processes, "available_cores", lambda: 2)  # one thread for each run
    alone = [weights(run.folder) for run in fit_seeds(VAE, "digits", tmp_path / "a", 2, **SHORT)]
    shutil.copytree(tmp_path / "a" / "seed-0", tmp_path / "b" / "seed-0")
    (tmp_path / "b" / "seed-9").mkdir()
    (tmp_path / "b" / "seed-9" / "note.txt").write_text("not a run")
    runs = []
    with pytest.raises(RunError, match="seed-9 exists and is not a run folder"):
        runs.extend(fit_seeds(VAE, "digits", tmp_path / "b", [9, 0, 1], jobs=2, **SHORT))
    assert [weights(tmp_path / "b" / f"seed-{seed}") for seed in range(2)] == alone


def stopped(folder):
    """Start two long runs in processes, and stop them as Ctrl-C in a terminal does."""
    from threading import Thread

    def interrupt():
        while len(list(folder.glob("seed-*/metrics.jsonl"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt, match="repeat the command"):
        list(
            fit_seeds(VAE, "digits", folder, 2, jobs=2, **{**SHORT, "steps": 10**6, "log_every": 1})
        )


@pytest.mark.slow
def test_ctrl_c_stops_every_process_with_a_checkpoint(tmp_path):
    stopped(tmp_path)
    for folder in tmp_path.iterdir():
        steps = [int(path.stem.split("-")[1]) for path in (folder / "checkpoints").iterdir()]
        assert steps, folder
        FolderLock(folder).acquire().release()  # no process holds it any longer


def test_an_error_of_a_process_is_sent_as_it_is(tmp_path):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    handler = signal.getsignal(signal.SIGINT)
    arguments = {"model": {**VAE, "bogus": 1}, "data": "digits", "steps": 4}
    try:
        seed_processes._train(sender, tmp_path / "run", arguments, 1, [])
    finally:
        signal.signal(signal.SIGINT, handler)
    error = receiver.recv()
    assert type(error) is UnknownSettingError
    assert "no setting 'bogus'" in str(error)
