"""The command `outliers`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.cli.common import Device, Limit, Seed, console, say
from genzoo.cli.inputs import load
from genzoo.errors import show

__all__ = ["outliers"]


def outliers(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of pretrained weights.")],
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA", help="Pictures, folders of pictures, or the name of a dataset."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the scores into this .csv file.")
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(help="A score; may be repeated. Default: all that the model supports."),
    ] = None,
    resize: Annotated[
        bool,
        typer.Option("--resize", help="Crop, resize, and convert pictures to the run's shape."),
    ] = False,
    limit: Limit = 10_000,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Score how unusual pictures are for a trained model.

    The command names pictures that it cannot read, scores the others, and exits with code 1.
    """
    from genzoo.metrics.outliers.detect import outliers as detect
    from genzoo.runs.folder import RunFolder
    from genzoo.runs.same_data import check_same_data

    folder = RunFolder.find(run)
    model, reference = load(run, device), folder.dataset()
    name = show(run)
    advice = f"name them in Python: genzoo.outliers({name}, data, reference={name})"
    check_same_data(folder, reference, "test", tuple(reference.test), advice=advice)
    result = detect(model, data, reference, scores=score or None, n=limit, seed=seed, resize=resize)
    console.print(result.table(width=console.width), markup=False, soft_wrap=True)
    if out is not None:
        result.to_csv(out)
        console.print(f"\n{out}: {len(result):,} rows", markup=False)
    for reason in result.failed.values():
        say(f"error: {reason}")
    if result.failed:
        raise typer.Exit(1)
