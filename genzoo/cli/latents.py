"""The commands that generate data from combinations of latent codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.cli.common import Count, Device, RunName, Seed, held_out, load, require, write
from genzoo.errors import SettingError

__all__ = ["arithmetic", "interpolate"]


def interpolate(
    run: RunName,
    n: Count = 8,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .png or .npy file.")] = Path(
        "interpolation.png"
    ),
    steps: Annotated[int, typer.Option(min=2, help="Images per row.")] = 10,
    path: Annotated[
        str, typer.Option(help="slerp, linear, or auto. auto uses slerp for a spherical prior.")
    ] = "auto",
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Interpolate between latent codes of held-out data, or of the prior if it cannot encode."""
    import torch

    from genzoo.contract import has_capability
    from genzoo.models import latents
    from genzoo.train.pictures import text

    model = require(load(run, device), "decode")
    torch.manual_seed(seed)
    with torch.no_grad():
        if has_capability(model, "encode"):
            ends = model.encode(held_out(run, model, 2 * n, ("x",)))
        else:
            ends = require(model, "prior").prior.sample(2 * n)
    start, end = ends.chunk(2)
    # `interpolate` refuses an unknown path.
    images = latents.interpolate(model, start, end, steps, path)  # type: ignore[arg-type]
    images = images.flatten(0, 1)
    write(images, out, columns=steps, lines=text(model, images))


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
    n: Annotated[int, typer.Option("-n", min=1, help="The number of samples on the sheet.")] = 64,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .png or .npy file.")] = Path(
        "arithmetic.png"
    ),
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Compute a - b + c, where each term is the mean latent code of some samples.

    POSITIONS, such as 1,2,3, refer to the sheet of `genzoo sample` with the same -n and --seed.
    They count from 1, row by row.
    """
    import torch

    from genzoo.models import latents
    from genzoo.plots import equation
    from genzoo.train.pictures import text

    model = require(require(load(run, device), "decode"), "prior")
    options = (("-a", a), ("-b", b), ("-c", c))
    indices = [_indices(option, value, n) for option, value in options]
    torch.manual_seed(seed)
    with torch.no_grad():
        # the same latent codes as in `sample`
        z = getattr(model, "latent_distribution", model.prior).sample(n)
        terms = [z[index] for index in indices]
        images = latents.latent_arithmetic(model, *terms)
        columns = [
            model.decode(torch.cat([term, term.mean(dim=0, keepdim=True)])) for term in terms
        ]
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
