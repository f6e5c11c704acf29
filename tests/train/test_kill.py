"""A run that is killed at random moments, once in a save, resumes to bit-identical weights."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

DATA = torch.rand(64, 2, generator=torch.Generator().manual_seed(0))
STEPS, CHECKPOINT = 200, 10


def train(folder: Path, kill_in_save: int | None = None) -> None:
    """Train a run; with `kill_in_save`, kill it halfway through writing that checkpoint."""
    import genzoo
    from tests import games  # noqa: F401

    real, saves = torch.save, 0

    def save(state, file):
        nonlocal saves
        saves += 1
        if saves == kill_in_save:
            real(state, file)
            Path(file).write_bytes(Path(file).read_bytes()[:1000])
            os.kill(os.getpid(), signal.SIGKILL)
        real(state, file)

    torch.save = save
    genzoo.fit(
        {"name": "test-game", "critic_steps": 2},
        DATA,
        folder,
        steps=STEPS,
        batch_size=16,
        checkpoint_every=CHECKPOINT,
        ema=0.9,
        log_every=7,
        sample_every=10_000,
        loggers=[],
        resume=True,
    )


def count_events(folder: Path, kill_at: float | None) -> None:
    """Count the calls and returns of functions, also in C, and write the number to a file.

    With `kill_at`, kill the process at that event, so that the moment does not depend on a clock.
    """
    count = 0

    def event(*_: object) -> None:
        nonlocal count
        count += 1
        if kill_at is not None and count >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(event)
    train(folder)
    sys.setprofile(None)
    (folder / "events").write_text(str(count))


def life(folder: Path, kill_at: float | None = None, kill_in_save: int | None = None) -> bool:
    """Train in a forked child, which may be killed; return True if it trained to the end."""
    child = os.fork()
    if child == 0:
        try:
            train(folder, kill_in_save) if kill_in_save else count_events(folder, kill_at)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return True
    return False


def harness(folder: Path) -> None:
    """Run once to the end, then with kills; the process imports everything before it forks."""
    torch.set_num_threads(1)
    import genzoo
    from tests import games  # noqa: F401

    # imports the modules that a run needs
    genzoo.fit("test-mean", DATA, folder / "first", steps=1, batch_size=16)
    assert life(folder / "straight")
    events = int((folder / "straight" / "events").read_text())
    chance = random.Random(0)
    assert not life(folder / "killed", kill_in_save=3)
    checkpoints = sorted(p.name for p in (folder / "killed" / "checkpoints").glob("step-*"))
    assert checkpoints == ["step-000010.ckpt", "step-000020.ckpt"], checkpoints
    for _ in range(5):
        assert not life(folder / "killed", kill_at=chance.uniform(0.05, 0.15) * events)
        # between a save and a removal, there is one checkpoint too many
        assert len(list((folder / "killed" / "checkpoints").glob("step-*"))) <= 4
    assert life(folder / "killed")
    for name in ("model.safetensors", "model-ema.safetensors"):
        assert (folder / "killed" / name).read_bytes() == (
            folder / "straight" / name
        ).read_bytes(), name
    entries = [
        genzoo.weights.store(folder / name, folder / f"{name}.entry", DATA, metrics=[])
        for name in ("killed", "straight")
    ]
    assert entries[0].sha256 == entries[1].sha256
    steps = [
        line.split(",")[0]
        for line in (folder / "killed" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [
        line.split(",")[0]
        for line in (folder / "straight" / "metrics.jsonl").read_text().splitlines()
    ]
    assert not list((folder / "killed" / "checkpoints").glob(".*"))
    print("survived 6 kills")


@pytest.mark.slow
def test_a_killed_run_resumes_bit_identically(tmp_path, python):
    done = subprocess.run(
        [python, "-m", "tests.train.test_kill", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "survived 6 kills" in done.stdout


if __name__ == "__main__":
    harness(Path(sys.argv[1]))
