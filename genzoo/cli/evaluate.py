"""The command `evaluate`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genzoo.cli.common import Checkpoint, DataPath, Device, Limit, MetricSeed, console, parts, say
from genzoo.cli.inputs import available_device, note_sampler
from genzoo.errors import SettingError

if TYPE_CHECKING:
    from genzoo.contract import Model
    from genzoo.runs.folder import RunFolder

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|SAMPLES",
            help="A run folder, the name of pretrained weights, or samples of another program: a "
            "folder of images, or a file that ends in .npy, .npz, or .onnx.",
        ),
    ],
    metrics: Annotated[
        list[str] | None,
        typer.Argument(help="Names of metrics. Default: all that the model supports."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="The data to compare with: the name of a dataset, a table in TOML, or a run "
            "folder, whose data are used. Default: the data of the run."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The folder of the report. Default: report/ in the run folder, NAME-report for "
            "pretrained weights, or a folder next to the samples.",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="The feature network of all metrics: a name, or a table in TOML. Default: the one "
            "for the shape of the data."
        ),
    ] = None,
    value_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--range",
            metavar="LOW HIGH",
            help="The numbers that stand for black and white in samples of another program, such "
            "as -1 1. Default: 0 255 for uint8, and 0 1 for others.",
        ),
    ] = None,
    limit: Limit = 10_000,
    seed: MetricSeed = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples per batch.")] = 500,
    checkpoint: Checkpoint = "last",
    data_path: DataPath = None,
    device: Device = "cpu",
) -> None:
    """Measure a trained model, or samples of another program, and write a report."""
    from genzoo.data.arrays import as_dataset
    from genzoo.metrics import OnnxGenerator, Samples
    from genzoo.metrics.evaluate import evaluate as measure
    from genzoo.metrics.evaluate import model_and_data
    from genzoo.runs.folder import RunFolder

    device = available_device(device)
    parsed = parts(data=data, network=network)
    source = RunFolder.find(run)  # once: it may be a download
    model, data_of_model = model_and_data(
        source.path, parsed.get("data"), value_range, checkpoint, data_path
    )
    dataset = as_dataset(data_of_model)
    from_elsewhere = isinstance(model, Samples | OnnxGenerator)
    folder = out or _report(source, from_elsewhere, None if data is None else dataset.name)
    inside = out is not None and out.resolve().is_relative_to(source.path.resolve())
    if from_elsewhere and source.path.is_dir() and inside:
        raise SettingError(
            f"-o {out} is inside the folder of the samples, where figures would count as samples; "
            "choose another folder."
        )
    evaluation = measure(
        model.to(device),
        dataset,
        metrics or None,
        n=limit,
        seed=seed,
        batch_size=batch_size,
        network=parsed.get("network"),
    )
    note_sampler(model)
    for name, reason in evaluation.skipped.items():
        say(f"note: {name}: {reason}")
    for note in evaluation.notes:
        say(f"note: {note}")
    console.print(evaluation.table(console.width), markup=False, soft_wrap=True)
    evaluation.save(folder)
    if out is None and data is None and not from_elsewhere:
        _renew_card(source, model)
    page = folder / "evaluation.html"
    console.print(
        f"\n{evaluation.n:,} held-out examples; open {page}", markup=False, soft_wrap=True
    )


def _renew_card(run: RunFolder, model: Model) -> None:
    """Write the card again, with the new measurements; stored weights and packs keep theirs."""
    from genzoo.runs.card import write_card
    from genzoo.runs.seal import is_sealed

    if run.path.is_dir() and not is_sealed(run.path):
        write_card(run, model)


def _report(run: RunFolder, from_elsewhere: bool, data: str | None) -> Path:
    """Return the folder of the report.

    It is in the run folder, next to samples of another program, or, for pretrained weights and
    packs, which nothing may change, in the working folder.

    Arguments:
        run: the run folder, or the path of the samples.
        from_elsewhere: the path holds samples of another program.
        data: the name of the data, or None for those of the run.
    """
    from genzoo.runs.seal import is_sealed

    if from_elsewhere:
        path = run.path.resolve()
        return path.with_name(f"{path.name if path.is_dir() else path.stem}-report")
    report = run.report
    if is_sealed(run.path) or run.path.is_file():
        name = run.path.stem if run.path.is_file() else run.path.name
        report = Path(f"{name}-report")
    if data is None:
        return report
    return report / (re.sub(r"[^\w.-]+|^\.+", "-", data).strip("-") or "data")
