"""The command `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.cli.common import Device, Limit, MetricSeed, console, parts, say
from genzoo.cli.inputs import available_device

__all__ = ["compare"]


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Run folders, folders of run folders such as of seeds, or names of pretrained "
            "weights."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the comparison and pictures into this folder."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="The data to measure on, as for evaluate. Default: those of the runs."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric; may be repeated. Default: all that the models support."),
    ] = None,
    limit: Limit = 10_000,
    seed: MetricSeed = 0,
    device: Device = "cpu",
) -> None:
    """Measure runs on the same data, and tell differences from chance."""
    from genzoo.metrics.compare import compare as measure

    device = available_device(device)
    parsed = parts(data=data)
    comparison = measure(
        runs, parsed.get("data"), metric or None, n=limit, seed=seed, device=device
    )
    for group in comparison.groups:
        skipped = {name: why for one in group.evaluations for name, why in one.skipped.items()}
        for name, reason in skipped.items():
            say(f"note: {group.name}: {name}: {reason}")
    console.print(comparison.table(), markup=False, soft_wrap=True)
    for path in comparison.save(out) if out is not None else ():
        console.print(f"written to {path}", markup=False)
