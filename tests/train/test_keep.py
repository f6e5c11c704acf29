"""A run folder that is removed, moved, or replaced during training."""

import shutil

import pytest

import genzoo
from genzoo.errors import RunError
from genzoo.runs.checkpoint import Checkpoints
from genzoo.runs.lock import FolderLock
from tests.games import DATA, FAST, Mean

pytestmark = pytest.mark.usefixtures("without_pictures")

SETTINGS = {**FAST, "ema": 0.5}


@pytest.fixture
def change_at_step(monkeypatch):
    """Return a function that schedules a change for the middle of a step."""

    def at(step, change):
        real, calls = Mean.loss, []

        def loss(self, batch):
            calls.append(1)
            if len(calls) == step:
                change()
            return real(self, batch)

        monkeypatch.setattr(Mean, "loss", loss)

    return at


def weights(folder):
    return (folder / "model.safetensors").read_bytes(), (
        folder / "model-ema.safetensors"
    ).read_bytes()


def steps(folder):
    return [line.split(",")[0] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def uninterrupted(tmp_path):
    return genzoo.fit("test-mean", DATA, tmp_path / "straight", steps=8, **SETTINGS).folder


@pytest.mark.slow
@pytest.mark.parametrize("removal", ["removed", "moved", "emptied", "recipe", "log", "checkpoints"])
def test_removed_files_are_written_again(tmp_path, change_at_step, uninterrupted, removal):
    run = tmp_path / "run"
    changes = {
        "removed": lambda: shutil.rmtree(run),
        "moved": lambda: run.rename(tmp_path / "away"),
        "emptied": lambda: [p.unlink() for p in run.rglob("*") if p.is_file()],
        "recipe": lambda: (run / "recipe.toml").unlink(),
        "log": lambda: (run / "metrics.jsonl").unlink(),
        "checkpoints": lambda: shutil.rmtree(run / "checkpoints"),
    }
    change_at_step(5, changes[removal])
    if removal in ("log", "checkpoints"):
        genzoo.fit("test-mean", DATA, run, steps=8, **SETTINGS)
    else:
        with pytest.warns(
            UserWarning,
            match=r"step 6: .*run was removed or moved; the run was written there again",
        ):
            genzoo.fit("test-mean", DATA, run, steps=8, **SETTINGS)
    assert weights(run) == weights(uninterrupted)
    assert steps(run) == steps(uninterrupted)
    genzoo.load(run)
    assert genzoo.fit("test-mean", DATA, run, steps=10, resume=True, **SETTINGS).steps == 10


@pytest.mark.slow
def test_a_run_that_is_stopped_after_it_was_removed_can_be_resumed(
    tmp_path, change_at_step, uninterrupted
):
    run = tmp_path / "run"
    change_at_step(5, lambda: shutil.rmtree(run))
    settings = {**SETTINGS, "checkpoint_every": 100}
    with pytest.warns(UserWarning, match="written there again"):
        genzoo.fit("test-mean", DATA, run, steps=6, **settings)
    genzoo.fit("test-mean", DATA, run, steps=8, resume=True, **settings)
    assert weights(run) == weights(uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("other", ["run", "live", "files"])
def test_a_replaced_folder_is_not_touched_and_the_run_is_saved_next_to_it(
    tmp_path, change_at_step, uninterrupted, other
):
    run, locks = tmp_path / "run", []

    def change():
        run.rename(tmp_path / "away")
        if other == "run":
            shutil.copytree(uninterrupted, run)
        elif other == "live":
            locks.append(FolderLock(run).acquire())
        else:
            run.mkdir()
            (run / "thesis.tex").write_text("years of work")

    change_at_step(5, change)
    with pytest.raises(
        RunError, match=r"Training stopped at step 6\. \S*run-rescued holds the run"
    ):
        genzoo.fit("test-mean", DATA, run, steps=8, **SETTINGS)
    if other == "run":
        assert weights(run) == weights(uninterrupted)
        assert sorted(p.name for p in run.iterdir()) == sorted(
            p.name for p in uninterrupted.iterdir()
        )
    if other == "files":
        assert [path.name for path in run.iterdir()] == ["thesis.tex"]
    for lock in locks:
        assert lock.intact()
        lock.release()
    rescued = tmp_path / "run-rescued"
    assert [p.name for p in Checkpoints(rescued / "checkpoints").paths()] == ["step-000006.ckpt"]
    assert [p.name for p in Checkpoints(tmp_path / "away" / "checkpoints").paths()][
        -1
    ] == "step-000004.ckpt"
    genzoo.fit("test-mean", DATA, rescued, steps=8, resume=True, **SETTINGS)
    assert weights(rescued) == weights(uninterrupted)
    assert steps(rescued)[:2] == steps(uninterrupted)[:2]
