"""Benchmark `genzoo.load`: CPU time for a tiny model, compared with that of an earlier commit.

Run it as `python benchmarks/loading.py` in a git checkout. The earlier commit imports `catalogue`;
`benchmarks/requirements.txt` lists it. The default commit is the last one that checked arguments
twice, in `build` and in the constructor, and that read every signature again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from machine import describe_machine, machine

ROOT = Path(__file__).parents[1]
BEFORE = "6b086b3"
WORKER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
sys.path.append(sys.argv[2])
import genzoo, torch
torch.set_num_threads(1)
package = os.path.dirname(genzoo.__file__)
assert os.path.dirname(package) == sys.argv[1], package

def load():
    small = {"name": "mlp", "hidden": (8,)}
    sizes = {"latent_dim": 2, "shape": (1, 8, 8)}
    genzoo.load("wae-mmd", prior="mog", encoder=small, decoder=small, **sizes)

def count_calls():
    calls = 0
    def trace(frame, event, _):
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(package)
    sys.setprofile(trace)
    load()
    sys.setprofile(None)
    return calls

load()  # imports the modules and fills the caches
print(count_calls(), flush=True)
for _ in sys.stdin:
    begin = time.process_time()
    load()
    print(1e3 * (time.process_time() - begin), flush=True)
"""


class Worker:
    """A process that loads the model on request, with the package in one folder.

    Arguments:
        folder: the folder that contains the package `genzoo`.
    """

    def __init__(self, folder: Path) -> None:
        peers = ROOT / "build" / "peers"
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), str(peers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "GENZOO_PLUGINS": "off", "OMP_NUM_THREADS": "1"},
        )
        self.calls = int(self._read())

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A process ended early; its error message is above.")
        return line

    def milliseconds(self) -> float:
        """Load the model once and return the CPU time."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Extract the package of a commit into a temporary folder."""
    command = ["git", "-C", str(ROOT), "archive", commit, "genzoo"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
        yield Path(folder).resolve()


def measure(commit: str, rounds: int) -> dict[str, tuple[int, float]]:
    """Return the number of calls in genzoo and the median CPU milliseconds of both versions.

    The two processes take turns, so that a busy machine slows both.
    """
    with checkout(commit) as before:
        workers = {"before": Worker(before), "now": Worker(ROOT)}
        times: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, worker in workers.items():
                times[name].append(worker.milliseconds())
        for worker in workers.values():
            worker.close()
    return {name: (workers[name].calls, statistics.median(times[name])) for name in workers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commit", default=BEFORE, help="the earlier commit")
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    result = measure(options.commit, options.rounds)
    print(describe_machine(machine(), f"commit {options.commit}"))
    for name, (calls, milliseconds) in result.items():
        print(f"{name:>6}: {calls:5} calls, {milliseconds:6.2f} ms")
    print(f" ratio: {result['before'][1] / result['now'][1]:.1f}")


if __name__ == "__main__":
    main()
