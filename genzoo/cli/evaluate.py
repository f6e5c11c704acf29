"""The command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.cli.common import Checkpoint, Device, console, load, note_sampler, say

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    metrics: Annotated[
        list[str] | None,
        typer.Argument(help="Names of metrics. Default: all that the model supports."),
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", min=1, help="Use at most this number of held-out examples."),
    ] = 10_000,
    seed: Annotated[int, typer.Option(help="The seed of samples and metrics.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples per batch.")] = 500,
    allow_other_data: Annotated[
        bool,
        typer.Option(
            "--allow-other-data", help="Accept held-out data that differ from those of the run."
        ),
    ] = False,
    checkpoint: Checkpoint = "last",
    device: Device = "cpu",
) -> None:
    """Measure a trained model on held-out data, and write a report into the run folder."""
    from genzoo.metrics.evaluate import evaluate as measure
    from genzoo.runs.folder import RunFolder
    from genzoo.runs.same_data import check_same_data

    folder = RunFolder(run)
    model, dataset = load(str(run), device, checkpoint), folder.dataset()
    if not allow_other_data:
        check_same_data(folder, dataset, "test", tuple(dataset.test))
    evaluation = measure(model, dataset, metrics or None, n=limit, seed=seed, batch_size=batch_size)
    note_sampler(model)
    for name, reason in evaluation.skipped.items():
        say(f"note: {name}: {reason}")
    console.print(evaluation.table(console.width), markup=False, soft_wrap=True)
    evaluation.save(folder.report)
    console.print(f"\n{evaluation.n:,} held-out examples; written to {folder.report}", markup=False)
