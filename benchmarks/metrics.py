"""Time the sample metrics next to torchmetrics, prdc, and POT.

Run `OMP_NUM_THREADS=1 python benchmarks/metrics.py`. It writes the median CPU time of each function
on features of shape `(n, 64)`, and the ratio to the peer in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import os
import resource
import shlex
import statistics
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ot
import torch
from machine import describe_machine, machine, write
from prdc import compute_prdc
from torch import Tensor
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from genzoo.metrics import (
    debiased_frechet_distance,
    fidelity_and_diversity,
    frechet_distance,
    frechet_standard_error,
    kernel_distance,
    kernel_permutation_test,
    sliced_wasserstein,
)

DIM = 64


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(dim=0), torch.cov(x.T)


def torchmetrics_frechet(x: Tensor, y: Tensor) -> Tensor:
    return _compute_fid(*moments(x), *moments(y))


def pot_sliced(x: Tensor, y: Tensor) -> Any:
    return ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), n_projections=1000, seed=0)


def prdc_values(x: Tensor, y: Tensor) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the numbers of rows
        return compute_prdc(x.numpy(), y.numpy(), nearest_k=5)


ROWS: tuple[tuple[str, Callable[..., Any], str, Callable[..., Any] | None], ...] = (
    ("Fréchet distance", lambda x, y: frechet_distance(*moments(x), *moments(y)),
     "torchmetrics", torchmetrics_frechet),
    ("Fréchet distance, debiased, with standard error", debiased_frechet_distance, "", None),
    ("its standard error alone", frechet_standard_error, "", None),
    ("kernel distance with standard error", kernel_distance, "torchmetrics", poly_mmd),
    ("permutation test, 2,000 rows", kernel_permutation_test, "", None),
    ("sliced Wasserstein, 1,000 directions", sliced_wasserstein, "POT", pot_sliced),
    ("precision to clipped coverage", fidelity_and_diversity, "prdc", prdc_values),
)  # fmt: skip


def cpu_seconds(function: Callable[..., Any], x: Tensor, y: Tensor, repeats: int) -> float:
    """Return the median CPU time of a call."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        function(x, y)
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds)


def peak() -> int:
    """Return the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def page(result: Mapping[str, Any]) -> str:
    peers = [f"{name} {version}" for name, version in result["peers"].items()]
    rows, total = result["rows"], sum(row["seconds"] for row in result["rows"])
    calls = f"{result['repeats']} call{'s' if result['repeats'] > 1 else ''}"
    text = (
        f"Each function compares {result['n']:,} real examples with as many samples, by {DIM} "
        f"features in float64, on one thread. Times are CPU times, medians of {calls}. The ratio "
        "is the time of the other package divided by that of genzoo. All functions of genzoo take "
        f"{total:.1f} s. They raise the peak memory of the process by {result['memory']} MiB. At "
        f"the start, the load average was {result['load']:.1f} on {result['cores']} cores. Other "
        "programs share caches and memory, which makes all times longer, but their own time does "
        "not count."
    )
    lines = [
        "# Sample metrics: time next to other packages",
        "",
        *textwrap.wrap(text, 100),
        "",
        describe_machine(result, *peers),
        "",
        "| function | genzoo, s | other package | its time, s | ratio |",
        "| --- | ---: | --- | ---: | ---: |",
    ]
    for row in rows:
        cells = ["", "", ""]
        if row["peer"]:
            ratio = row["peer_seconds"] / row["seconds"]
            cells = [row["peer"], f"{row['peer_seconds']:.2f}", f"{ratio:.1f}"]
        lines.append(f"| {row['function']} | {row['seconds']:.2f} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "```", result["command"], "```", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/metrics"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    load, x, y = os.getloadavg()[0], *torch.randn(2, options.rows, DIM, dtype=torch.float64)
    y = 1.05 * y
    before = peak()
    # All functions of genzoo come first, so that the peak memory is theirs.
    seconds = [cpu_seconds(function, x, y, options.repeats) for _, function, _, _ in ROWS]
    memory = peak() - before
    rows = [
        {
            "function": title,
            "seconds": ours,
            "peer": peer,
            "peer_seconds": other and cpu_seconds(other, x, y, options.repeats),
        }
        for ours, (title, _, peer, other) in zip(seconds, ROWS, strict=True)
    ]
    peers = ("torchmetrics", "prdc", "POT")
    result = {
        "command": shlex.join(["python", "benchmarks/metrics.py", *sys.argv[1:]]),
        **machine(),
        "peers": {name: importlib.metadata.version(name) for name in peers},
        "load": load,
        "cores": os.cpu_count(),
        "n": options.rows,
        "repeats": options.repeats,
        "memory": memory,
        "rows": rows,
    }
    write(options.out, result, page(result))


if __name__ == "__main__":
    main()
