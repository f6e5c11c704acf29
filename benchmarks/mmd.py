"""Benchmark the maximum mean discrepancy and its gradient by the latent codes.

genzoo is compared with pythae in CPU time and memory. Run `python benchmarks/mmd.py`.
`benchmarks/requirements.txt` explains how to install pythae.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import INSTALL, describe_machine, machine, write
from torch import Tensor

from genzoo.divergences.mmd import MMD
from genzoo.priors.simple import Normal

DIM, SCALES = 8, (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
SIZES = (100, 128, 300, 1000, 3000, 10000)
PYTHAE_LIMIT = 2 * 2**30  # bytes; it keeps 21 tensors of n x n x dim for the gradient

Loss = Callable[[Tensor, Tensor], Tensor]


def genzoo_sampled() -> Loss:
    return MMD(scales=SCALES, bandwidth=2.0 * DIM)


def genzoo_analytic() -> Loss:
    mmd, prior = MMD(scales=SCALES, estimator="analytic"), Normal(DIM)
    return lambda z, _: mmd(z, prior)


def pythae() -> Loss:
    try:
        from pythae.models import WAE_MMD, WAE_MMD_Config
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}. To compare with pythae: {INSTALL}") from None
    model = WAE_MMD(
        WAE_MMD_Config(input_dim=(1,), latent_dim=DIM, kernel_bandwidth=1.0, scales=list(SCALES))
    )

    def loss(z: Tensor, prior: Tensor) -> Tensor:
        nothing = torch.zeros(len(z), 1)  # a reconstruction that costs no time
        return model.loss_function(nothing, nothing, z, prior)[2]

    return loss


LOSSES = {"genzoo": genzoo_sampled, "genzoo analytic": genzoo_analytic, "pythae": pythae}


def affordable(name: str, n: int) -> bool:
    return name != "pythae" or 21 * n * n * DIM * 4 < PYTHAE_LIMIT


def samples(n: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = 1.1 * torch.randn(n, DIM, generator=generator, dtype=torch.float64) + 0.2
    return z.to(dtype).requires_grad_(), torch.randn(
        n, DIM, generator=generator, dtype=torch.float64
    ).to(dtype)


def value_and_gradient(loss: Loss, z: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    value = loss(z, prior)
    (gradient,) = torch.autograd.grad(value, z)
    return value.detach(), gradient


def medians(n: int) -> dict[str, float]:
    """Return the median CPU milliseconds of each implementation.

    The rounds interleave, so that other work on the machine affects all alike.
    """
    losses = {name: make() for name, make in LOSSES.items() if affordable(name, n)}
    z, prior = samples(n)
    times: dict[str, list[float]] = {name: [] for name in losses}
    rounds = max(3, min(100, 30_000 // n))
    for turn in range(rounds + 1):
        for name, loss in losses.items():
            begin = time.process_time()
            value_and_gradient(loss, z, prior)
            if turn:  # the first round warms up
                times[name].append(1e3 * (time.process_time() - begin))
    return {name: statistics.median(milliseconds) for name, milliseconds in times.items()}


def disagreement(n: int, dtype: torch.dtype) -> tuple[float, float] | None:
    """Return the differences of values, and of gradients relative to the largest entry.

    The result is None if pythae does not fit into memory.
    """
    if not affordable("pythae", n):
        return None
    (value, gradient), (expected, expected_gradient) = (
        value_and_gradient(LOSSES[k](), *samples(n, dtype)) for k in ("genzoo", "pythae")
    )
    return float((value - expected).abs()), float(
        (gradient - expected_gradient).abs().max() / expected_gradient.abs().max()
    )


def added_memory(name: str, n: int) -> float | None:
    """Return the growth of a fresh process's peak resident size in MiB."""
    if not affordable(name, n):
        return None
    command = [sys.executable, __file__, "--memory", name, "--sizes", str(n)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(name: str, n: int) -> float:
    loss = LOSSES[name]()
    value_and_gradient(loss, *samples(2))
    # Linux: reset the peak; the peak of getrusage is inherited from the parent
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    value_and_gradient(loss, *samples(n))
    return peak() - before


def peak() -> float:
    """Return the largest resident size so far in MiB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def page(result: dict) -> str:
    def show(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    lines = [
        "# Maximum mean discrepancy: cost of the value and its gradient",
        "",
        f"The MMD compares n latent codes with n samples from the prior, in {DIM} dimensions, with",
        f"a sum of {len(SCALES)} inverse multiquadratic kernels, in float32. Times are the median",
        "CPU time of interleaved calls in one process on one thread. Memory is the growth of the",
        "peak memory of a fresh process. *Analytic* uses the closed form of the prior instead of",
        "samples. pythae stores 21 tensors of n x n x dim for the gradient. It was not run if",
        "these exceed 2 GiB.",
        "",
        describe_machine(result),
        "",
        "| n | genzoo, ms | analytic, ms | pythae, ms | pythae / genzoo "
        "| genzoo, MiB | analytic, MiB | pythae, MiB |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        ms, mib = row["ms"], row["mib"]
        ratio = ms["pythae"] / ms["genzoo"] if "pythae" in ms else None
        cells = (
            [show(ms.get(name), ".2f") for name in LOSSES]
            + [show(ratio, ".1f")]
            + [show(mib[name], ".0f") for name in LOSSES]
        )
        lines.append(f"| {row['n']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "The next table shows the difference between genzoo and pythae: of the values, and of the",
        "gradients relative to the largest entry. In double precision they agree up to rounding;",
        "in single precision rounding errors are larger.",
        "",
        "| n | value, float64 | gradient, float64 | value, float32 | gradient, float32 |",
        "|--:|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        if row["float64"] is not None:
            lines.append(
                f"| {row['n']} | "
                + " | ".join(f"{v:.1e}" for v in (*row["float64"], *row["float32"]))
                + " |"
            )
    return "\n".join([*lines, "", "```", result["command"], "```", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/mmd"))
    parser.add_argument(
        "--memory", choices=LOSSES, help="print the memory that one loss adds, in MiB, and stop"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        print(measure_memory(options.memory, options.sizes[0]))
        return
    pythae()  # fails with installation instructions before anything is measured
    result = {
        **machine(),
        "command": "python benchmarks/mmd.py",
        "rows": [
            {
                "n": n,
                "ms": medians(n),
                "mib": {name: added_memory(name, n) for name in LOSSES},
                "float64": disagreement(n, torch.float64),
                "float32": disagreement(n, torch.float32),
            }
            for n in options.sizes
        ],
    }
    write(options.out, result, page(result))


if __name__ == "__main__":
    main()
