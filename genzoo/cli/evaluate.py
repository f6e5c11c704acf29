"""The command `evaluate`: measure a trained model on held-out data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from genzoo.cli.common import console, load, say
from genzoo.errors import SettingError, printable
from genzoo.registry.lookup import registry
from genzoo.registry.plugins import one_line


class _LacksError(SettingError):
    """A model cannot do what a metric needs."""


def _measured(
    name: str, model: Any, dataset: Any, batch_size: int, limit: int | None
) -> dict[str, float]:
    """What one metric finds on the held-out data."""
    import torch

    from genzoo.registry.build import build
    from genzoo.train.artifacts import iterate_split

    metric = build(name, "metrics")
    if lacking := [need.replace("|", " or ") for need in metric.lacking(model)]:
        raise _LacksError(
            f"metric {name!r} needs {', '.join(lacking)}, which {type(model).__name__} has not"
        )
    columns = tuple(dict.fromkeys((*model.inputs, *metric.reads)))
    torch.manual_seed(0)
    with torch.no_grad():
        return dict(metric(model, iterate_split(dataset, columns, batch_size, model, limit=limit)))


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    metrics: Annotated[
        list[str] | None,
        typer.Argument(help="Names of metrics; all that the model is able to by default."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use only so many held-out examples.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 500,
    allow_other_data: Annotated[
        bool,
        typer.Option("--allow-other-data", help="Measure on other held-out data than the run's."),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Measure a trained model on held-out data; writes a table to the run's report/."""
    import json

    from genzoo.files import write_atomic
    from genzoo.runs.folder import RunFolder
    from genzoo.runs.same_data import check_same_data
    from genzoo.train.history import strict

    folder = RunFolder(run)
    model, dataset = load(str(run), device), folder.dataset()
    if not allow_other_data:
        check_same_data(folder, dataset, "test", tuple(dataset.test))
    found: dict[str, dict[str, float]] = {}
    for name in metrics or registry("metrics").available():
        try:
            found[name] = _measured(name, model, dataset, batch_size, limit)
        except _LacksError:
            if metrics:
                raise
        except Exception as error:  # somebody's metric, which nobody asked for, harms no other
            if metrics:
                raise
            say(f"note: {name}: {one_line(error)}")
    rows = [(name, key, value) for name, values in found.items() for key, value in values.items()]
    table = Table("metric", "quantity", "value", box=None, pad_edge=False, header_style="bold")
    for name, key, value in rows:
        table.add_row(name, key, f"{value:.6g}")
    console.print(table)
    tested = min(dataset.rows("test"), limit or dataset.rows("test"))
    lines = [
        f"Measured on {tested:,} held-out examples.",
        "",
        "| metric | quantity | value |",
        "| --- | --- | ---: |",
    ]
    text = (
        "\n".join(
            [
                *lines,
                *(
                    f"| {printable(name)} | {printable(key)} | {value:.6g} |"
                    for name, key, value in rows
                ),
            ]
        )
        + "\n"
    )
    measured = json.dumps(strict(found), indent=2, allow_nan=False) + "\n"
    write_atomic(folder.report / "evaluation.json", lambda path: path.write_text(measured))
    write_atomic(folder.report / "evaluation.md", lambda path: path.write_text(text))
    console.print(f"\n{tested:,} held-out examples; written to {folder.report}", markup=False)
