"""Kills at random moments: a run that was killed, one time inside a save, resumes to bit-identical weights."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

DATA = torch.rand(64, 2, generator=torch.Generator().manual_seed(0))
STEPS, CHECKPOINT = 400, 20


def train(folder: Path, kill_in_save: int | None = None) -> None:
    """One life of a run; with `kill_in_save` it dies half-way through writing that checkpoint."""
    import genzoo
    from tests.train import games  # noqa: F401

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
        {"name": "test-game", "critic_steps": 2}, DATA, folder, steps=STEPS, batch_size=16, checkpoint=CHECKPOINT, ema=0.9,
        log=7, samples=10_000, resume=True,
    )  # fmt: skip


def life(folder: Path, after: float | None, kill_in_save: int | None = None) -> bool:
    """Train in a forked child and kill it after some seconds; True if it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            train(folder, kill_in_save)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return True
    return False


def harness(folder: Path) -> None:
    """Straight run, then killed runs, in one process that has imported everything before it forks."""
    torch.set_num_threads(1)
    import genzoo
    from tests.train import games  # noqa: F401

    genzoo.fit("test-mean", DATA, folder / "first", steps=1, batch_size=16)  # imports what a run needs
    begin = time.perf_counter()
    assert life(folder / "straight", None)
    whole = time.perf_counter() - begin
    chance = random.Random(0)
    kills = 0
    assert not life(folder / "killed", None, kill_in_save=3)
    checkpoints = sorted(p.name for p in (folder / "killed" / "checkpoints").glob("step-*"))
    assert checkpoints == ["step-000020.ckpt", "step-000040.ckpt"], checkpoints
    while kills < 5:
        kills += not life(folder / "killed", after=chance.uniform(0.05, 0.3) * whole)
        assert len(list((folder / "killed" / "checkpoints").glob("step-*"))) <= 4  # one more between a save and a removal
    assert life(folder / "killed", None)
    for name in ("model.safetensors", "model-ema.safetensors"):
        assert (folder / "killed" / name).read_bytes() == (folder / "straight" / name).read_bytes(), name
    steps = [line.split(",")[0] for line in (folder / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [line.split(",")[0] for line in (folder / "straight" / "metrics.jsonl").read_text().splitlines()]
    assert not list((folder / "killed" / "checkpoints").glob(".*"))
    print(f"survived {kills + 1} kills")


def test_a_killed_run_resumes_bit_identically(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.test_kill", str(tmp_path)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "survived 6 kills" in done.stdout


if __name__ == "__main__":
    harness(Path(sys.argv[1]))
