"""What the commands share: where they print, how they load a model, and how they write what it drew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from genzoo.errors import RunError, SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from genzoo.contract import Model

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or a registered model's name.")]
Count = Annotated[int, typer.Option("-n", min=1, help="How many.")]
Seed = Annotated[int, typer.Option(help="Seed of the noise.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")]


def load(run: str, device: str) -> Model:
    """A run's model, or a registered one, on a device and in eval mode."""
    from genzoo.train import run as runs
    from genzoo.train.engine import check_device

    kind, _ = check_device(device)
    if kind == "auto":
        from genzoo.train.engine import Engine

        device = str(Engine("auto", "32-true").device)
    return runs.load(run).to(device).eval()


def able(model: Model, capability: str) -> Any:
    """The model, if it has a method.

    Raises:
        SettingError: it has not; it says what the model can do.
    """
    if not hasattr(model, capability):
        can = [
            name for name in ("sample", "complete", "encode", "decode", "reconstruct", "log_prob", "elbo") if hasattr(model, name)
        ]
        raise SettingError(f"{type(model).__name__} has no {capability}; it can {', '.join(can)}")
    return model


def held_out(run: str, model: Model, n: int, columns: tuple[str, ...]) -> Any:
    """`n` held-out rows of the run's data."""
    from genzoo.train import show
    from genzoo.train.run import RunFolder

    if not Path(run).is_dir():
        raise RunError(f"{run} is not a run folder, so there are no data to go with it")
    data = RunFolder(run).dataset()
    there = show.rows(data, columns)
    if n > there:
        raise SettingError(f"{data.name} has {there} held-out examples, and -n asks for {n}")
    return show.held_out(data, columns, n, model)


def write(samples: Tensor, out: Path, columns: int | None = None, shown: Tensor | None = None) -> None:
    """Write samples as an array, or as a picture of them or of what is `shown` in their place."""
    from genzoo.pictures import draw, save
    from genzoo.train.checkpoint import write_atomic

    if not hasattr(samples, "shape"):
        raise SettingError(f"samples of type {type(samples).__name__} are neither a picture nor an array")
    if out.suffix == ".npy":
        import numpy as np
        import torch

        def written(path: Path) -> None:
            with path.open("wb") as file:
                np.save(file, (samples.float() if samples.dtype == torch.bfloat16 else samples).cpu().numpy())

    elif out.suffix == ".png":
        picture = draw(samples if shown is None else shown, columns=columns)
        if picture is None:
            raise SettingError(
                f"samples of shape {tuple(samples.shape[1:])} make no picture; write an array, as in -o samples.npy"
            )

        def written(path: Path) -> None:
            save(picture, path)

    else:
        raise SettingError(f"-o {out}: expected a name that ends in .png or .npy")
    write_atomic(out, written)
    console.print(f"{out}: {len(samples)} of shape {tuple(samples.shape[1:])}", markup=False)
