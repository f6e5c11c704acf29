"""Pictures: sheets of images, scatter plots of points, curves of losses. Sheets need Pillow only, plots need matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from genzoo.errors import GenzooError


def sheet(images: Tensor, columns: int | None = None, side: int = 640) -> Any:
    """Images on a grid, enlarged by a whole factor towards `side` pixels: `(n, C, H, W)` in [0, 1] -> a Pillow image.

    Images with other than 1 or 3 channels show the mean over channels.

    Example:
        >>> sheet(torch.rand(6, 1, 8, 8), columns=3, side=54).size
        (54, 36)
    """
    from PIL import Image

    n, channels, _, width = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    x = images.detach().float().cpu().nan_to_num().clamp(0, 1)
    if channels not in (1, 3):
        x = x.mean(dim=1, keepdim=True)
    factor = max(1, side // (columns * width))
    x = x.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    x = torch.nn.functional.pad(x, (1, 1, 1, 1), value=1.0)
    blank = x.new_ones(rows * columns - n, *x.shape[1:])
    grid = rearrange(torch.cat([x, blank]), "(r c) k h w -> (r h) (c w) k", r=rows)
    return Image.fromarray((grid * 255).round().byte().squeeze(-1).numpy())


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def _axes(width: float = 6.4, height: float = 4.8) -> tuple[Any, Any]:
    if not can_plot():
        raise GenzooError("plots need matplotlib: pip install 'genzoo[plots]'")
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, figure.add_subplot()


def scatter(points: Tensor, data: Tensor | None = None) -> Any:
    """Points `(n, 2)` over the data's: a matplotlib figure."""
    figure, axes = _axes(5, 5)
    if data is not None:
        axes.scatter(*data.detach().float().cpu().T, s=3, color="0.75", label="data")
    axes.scatter(*points.detach().float().cpu().T, s=3, color="tab:blue", label="samples")
    axes.set_aspect("equal")
    axes.legend(loc="upper right")
    return figure


def curves(history: Sequence[Mapping[str, float]]) -> Any:
    """The logged losses against the step, a panel each: a matplotlib figure."""
    if not can_plot():
        _axes()
    from matplotlib.figure import Figure

    skip = {"step", "seconds", "images_per_second"}
    names = [name for name in dict.fromkeys(key for line in history for key in line) if name not in skip]
    columns = min(3, len(names)) or 1
    rows = math.ceil(len(names) / columns) or 1
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), dpi=100, layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, place)
        lines = [line for line in history if name in line]
        axes.plot([line["step"] for line in lines], [line[name] for line in lines])
        axes.set(title=name, xlabel="step")
        axes.grid(alpha=0.3)
    return figure


def draw(samples: Tensor, data: Tensor | None = None, columns: int | None = None) -> Any:
    """The picture that fits the samples' shape: a sheet for images, a scatter plot for points in the plane, else None."""
    if samples.dim() == 4:
        return sheet(samples, columns)
    if samples.dim() == 2 and samples.shape[1] == 2:
        return scatter(samples, data)
    return None


def save(picture: Any, path: str | Path) -> None:
    """Write a picture as PNG."""
    if hasattr(picture, "savefig"):
        picture.savefig(path, format="png")
    else:
        picture.save(path, format="PNG")
