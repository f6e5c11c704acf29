"""Time the sample metrics next to torchmetrics, prdc, and POT.

Run `OMP_NUM_THREADS=1 python benchmarks/metrics.py`. It prints the median CPU time of each function
on features of shape `(n, 64)`, and the ratio to the peer in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import ot
import torch
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.randn(2, arguments.rows, DIM, dtype=torch.float64)
    y = 1.05 * y
    print(f"| {arguments.rows:,} rows, {DIM} features | genzoo, s | peer | peer, s | ratio |")
    print("| --- | ---: | --- | ---: | ---: |")
    total = 0.0
    for title, function, peer, other in ROWS:
        ours = cpu_seconds(function, x, y, arguments.repeats)
        total += ours
        cells = ["", ""]
        if other is not None:
            theirs = cpu_seconds(other, x, y, arguments.repeats)
            cells = [f"{theirs:.2f}", f"{theirs / ours:.1f}"]
        print(f"| {title} | {ours:.2f} | {peer} | {cells[0]} | {cells[1]} |", flush=True)
    print(f"| all | {total:.2f} |  |  |  |")


if __name__ == "__main__":
    main()
