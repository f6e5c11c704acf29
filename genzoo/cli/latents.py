"""The commands that generate data from combinations of latent codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.cli.common import Count, DataPath, Device, RunName, Seed
from genzoo.cli.inputs import data, held_out, load, require
from genzoo.cli.labels import Label, SheetSize, labels, sheet_size
from genzoo.cli.output import write
from genzoo.errors import SettingError

__all__ = ["arithmetic", "interpolate"]


def interpolate(
    run: RunName,
    n: Count = 8,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A .png, .svg, .pdf, or .npy file.")
    ] = Path("interpolation.png"),
    steps: Annotated[int, typer.Option(min=2, help="Images per row.")] = 10,
    path: Annotated[
        str, typer.Option(help="slerp, linear, or auto. auto uses slerp for a spherical prior.")
    ] = "auto",
    label: Label = None,
    seed: Seed = 0,
    data_path: DataPath = None,
    device: Device = "cpu",
) -> None:
    """Interpolate between latent codes of held-out data, or of the prior if it cannot encode.

    A model with labels keeps the label of the start of each row, or that of --label.
    """
    import torch

    from genzoo.contract import conditions, has_capability
    from genzoo.models import latents
    from genzoo.runs.weights import origin
    from genzoo.train.pictures import has_labels, sheet_labels, text

    model = require(load(run, device), "decode")
    torch.manual_seed(seed)
    given = None
    if label is not None or has_labels(model):
        given = labels(model, n, label)
    with torch.no_grad():
        if has_capability(model, "encode"):
            dataset = data(run, data_path)
            x = held_out(run, model, 2 * n, ("x",), dataset)
            known = held_out(run, model, 2 * n, model.given, dataset) if model.given else None
            ends = model.encode(x, **conditions(known))
            if label is None and known is not None:
                given = known[:n]
        else:
            ends = require(model, "prior").prior.sample(2 * n)
    start, end = ends.chunk(2)
    # `interpolate` refuses an unknown path.
    images = latents.interpolate(model, start, end, steps, path, given)  # type: ignore[arg-type]
    images = images.flatten(0, 1)
    names = []
    if given is not None and has_labels(model):
        repeated = given.repeat_interleave(steps)
        names = sheet_labels(repeated, origin(model).get("class_names", ()), steps)
    write(images, out, columns=steps, lines=text(model, images), labels=names)


def arithmetic(
    run: RunName,
    a: Annotated[
        str,
        typer.Option(
            "-a",
            metavar="POSITIONS",
            help="Samples with the property to keep and the one to remove.",
        ),
    ],
    b: Annotated[
        str, typer.Option("-b", metavar="POSITIONS", help="Samples with the property to remove.")
    ],
    c: Annotated[
        str, typer.Option("-c", metavar="POSITIONS", help="Samples with the property to add.")
    ],
    n: SheetSize = None,
    label: Label = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A .png, .svg, .pdf, or .npy file.")
    ] = Path("arithmetic.png"),
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Compute a - b + c, where each term is the mean latent code of some samples.

    POSITIONS, such as 1,2,3, refer to the sheet of `genzoo sample` with the same -n and --seed.
    They count from 1, row by row. A model with labels decodes the result at the label of the first
    sample of -a, or at that of --label.
    """
    import torch

    from genzoo.contract import conditions
    from genzoo.models import latents
    from genzoo.plots.arrange import equation
    from genzoo.train.pictures import has_labels, labels_by_class, text

    model = require(require(load(run, device), "decode"), "prior")
    n = sheet_size(model, n)
    options = (("-a", a), ("-b", b), ("-c", c))
    indices = [_indices(option, value, n) for option, value in options]
    torch.manual_seed(seed)
    with torch.no_grad():
        # the same latent codes as in `sample`
        z = getattr(model, "latent_distribution", model.prior).sample(n)
        terms = [z[index] for index in indices]
        y = labels_by_class(model, n) if has_labels(model) else None
        at = None if y is None else y[indices[0][:1]]
        if label is not None:
            at = labels(model, 1, label)
        images = latents.latent_arithmetic(model, *terms, given=at)
        columns = []
        for term, index in zip(terms, indices, strict=True):
            codes = torch.cat([term, term.mean(dim=0, keepdim=True)])
            given = None if y is None else y[[*index, index[0]]]
            columns.append(model.decode(codes, **conditions(given)))
    shown = equation(columns, images) if images.dim() == 4 else None
    write(images, out, columns=9, shown=shown, lines=text(model, images))


def _indices(option: str, value: str, n: int) -> list[int]:
    """Return positions such as `"1,2,3"` as indices of the `n` samples on a sheet."""
    try:
        positions = [int(number) for number in value.split(",")]
    except ValueError:
        raise SettingError(
            f"{option} {value}: expected positions on the sheet of samples, as in 1,2,3."
        ) from None
    for position in positions:
        if not 1 <= position <= n:
            raise SettingError(
                f"{option} {value}: position {position} is not on a sheet of {n} samples; choose "
                f"from 1 to {n}."
            )
    return [position - 1 for position in positions]
