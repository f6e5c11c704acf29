"""The command `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from genzoo.cli.common import console, load, note_sampler, say
from genzoo.errors import printable

if TYPE_CHECKING:
    from genzoo.metrics.evaluate import Evaluation

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    metrics: Annotated[
        list[str] | None,
        typer.Argument(help="Names of metrics. Default: all that the model supports."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use only this number of held-out examples.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples per batch.")] = 500,
    allow_other_data: Annotated[
        bool,
        typer.Option(
            "--allow-other-data", help="Accept held-out data that differ from those of the run."
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or mps.")] = "cpu",
) -> None:
    """Measure a trained model on held-out data, and write a report into the run folder."""
    from genzoo.metrics.evaluate import evaluate as measure
    from genzoo.runs.folder import RunFolder
    from genzoo.runs.same_data import check_same_data

    folder = RunFolder(run)
    model, dataset = load(str(run), device), folder.dataset()
    if not allow_other_data:
        check_same_data(folder, dataset, "test", tuple(dataset.test))
    evaluation = measure(model, dataset, metrics or None, limit=limit, batch_size=batch_size)
    note_sampler(model)
    for name, reason in evaluation.skipped.items():
        say(f"note: {name}: {reason}")
    rows = _rows(evaluation)
    console.print(_table(rows))
    _write(folder.report, evaluation, rows)
    console.print(
        f"\n{evaluation.rows:,} held-out examples; written to {folder.report}", markup=False
    )


Rows = list[tuple[str, str, str]]
"""Metric, quantity, and value, for each line of a table."""


def _rows(evaluation: Evaluation) -> Rows:
    """Return the lines of the table, with values to six significant digits."""
    return [
        (metric, quantity, f"{value:.6g}")
        for metric, values in evaluation.items()
        for quantity, value in values.items()
    ]


def _table(rows: Rows) -> Table:
    """Return the table for the terminal."""
    table = Table("metric", "quantity", "value", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    return table


def _write(report: Path, evaluation: Evaluation, rows: Rows) -> None:
    """Write the values as evaluation.json and as a Markdown table."""
    from genzoo.files import write_atomic
    from genzoo.train.history import strict

    lines = [
        f"Measured on {evaluation.rows:,} held-out examples.",
        "",
        "| metric | quantity | value |",
        "| --- | --- | ---: |",
    ]
    for metric, quantity, value in rows:
        lines.append(f"| {printable(metric)} | {printable(quantity)} | {value} |")
    markdown = "\n".join(lines) + "\n"
    values = json.dumps(strict(evaluation), indent=2, allow_nan=False) + "\n"
    write_atomic(report / "evaluation.json", lambda path: path.write_text(values))
    write_atomic(report / "evaluation.md", lambda path: path.write_text(markdown))
