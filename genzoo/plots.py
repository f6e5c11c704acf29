"""Figures: sheets of images, scatter plots of points, and curves of losses.

In a notebook, a sheet or a plot at the end of a cell is displayed.

Sheets need Pillow only. Plots need matplotlib.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from einops import rearrange
from torch import Tensor

from genzoo.errors import GenzooError, printable

__all__ = ["curves", "draw", "pairs", "save", "scatter", "sheet"]


_WIDE = 1200
"""The width of a sheet of a report in pixels, at most."""


def sheet(images: Tensor, columns: int | None = None, side: int = 640, border: int = 1) -> Any:
    """Arrange images on a grid and return a Pillow image.

    Images with neither 1 nor 3 channels are shown as the mean over their channels.

    Arguments:
        images: images in [0, 1], `(n, C, H, W)`.
        columns: the number of columns; by default, the grid is nearly square.
        side: the target width in pixels; images are enlarged by an integer factor.
        border: the width of the white border of each image, in pixels.

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
    x = torch.nn.functional.pad(x, (border,) * 4, value=1.0)
    blank = x.new_ones(rows * columns - n, *x.shape[1:])
    grid = rearrange(torch.cat([x, blank]), "(r c) k h w -> (r h) (c w) k", r=rows)
    return Image.fromarray((grid * 255).round().byte().squeeze(-1).numpy())


def side_by_side(*images: Tensor) -> Tensor:
    """Return the tiles of a sheet with k images side by side.

    Arguments:
        images: k batches of images, `(n, C, H, W)` each.

    Returns:
        `(n * k, C, H, W)`, all in color if any image is.
    """
    shown = [x if x.shape[1] in (1, 3) else x.mean(dim=1, keepdim=True) for x in images]
    channels = max(x.shape[1] for x in shown)
    return torch.stack([x.expand(-1, channels, -1, -1) for x in shown], dim=1).flatten(0, 1)


def halves(left: Tensor, right: Tensor, columns: int = 8) -> Any:
    """Arrange two batches of images side by side, with a gap between them, as a Pillow image.

    Images that do not fill a row are left out.

    Arguments:
        left: images in [0, 1], `(n, C, H, W)`.
        right: images of the same shape.
        columns: the number of columns of each half.

    Example:
        >>> halves(torch.rand(6, 1, 8, 8), torch.rand(6, 1, 8, 8), columns=3).size
        (1190, 340)
    """
    gap = left.new_ones(1, *left.shape[1:])
    columns = min(columns, len(left))
    tiles = []
    for row in range(len(left) // columns):
        shown = slice(row * columns, (row + 1) * columns)
        tiles += [left[shown], gap, right[shown]]
    return sheet(torch.cat(tiles), 2 * columns + 1, side=_WIDE)


def pairs(left: Tensor, right: Tensor) -> Any:
    """Arrange pairs of images on a grid, and return a Pillow image.

    Arguments:
        left: images in [0, 1], `(n, C, H, W)`.
        right: the second image of each pair.

    Example:
        >>> pairs(torch.rand(6, 1, 8, 8), torch.rand(6, 1, 8, 8)).size
        (1192, 894)
    """
    return sheet(side_by_side(left, right), columns_for(len(left), 2), side=_WIDE)


def columns_for(n: int, side: int) -> int:
    """Return the number of columns of a nearly square sheet.

    Arguments:
        n: the number of groups.
        side: the number of tiles of a group, which are side by side.
    """
    return side * max(1, math.ceil(math.sqrt(n / side)))


def equation(columns: Sequence[Tensor], images: Tensor) -> Tensor:
    """Return the tiles of a sheet with nine columns: a - b + c = the result among its neighbors.

    Arguments:
        columns: for each term its examples, then their mean. The means are in one row, below the
            examples.
        images: the result and its eight neighbors.
    """
    height, width = images.shape[-2:]
    tiles = images.new_ones(max(map(len, columns)) + 1, 9, *images.shape[1:])
    # The last row holds the lower neighbors, and the row above it the means.
    means = len(tiles) - 2
    neighborhood = torch.cat([images[1:5], images[:1], images[5:]])
    tiles[means - 1 :, 6:] = neighborhood.unflatten(0, (3, 3))
    for index, column in zip((0, 2, 4), columns, strict=True):
        tiles[means - len(column) + 1 : means + 1, index] = column
    thick = max(1, height // 12)
    middle, center = (height - thick) // 2, (width - thick) // 2
    for index, top in ((1, middle), (3, middle), (5, middle - thick), (5, middle + thick)):
        tiles[means, index, :, top : top + thick, width // 4 : width - width // 4] = 0
    tiles[means, 3, :, height // 4 : height - height // 4, center : center + thick] = 0
    return tiles.flatten(0, 1)


def can_plot() -> bool:
    """Return True if matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


@contextmanager
def _plain() -> Iterator[None]:
    """Use matplotlib's default settings within the context.

    A file `matplotlibrc` in the working folder is ignored, because it might call other programs.
    """
    if not can_plot():
        raise GenzooError("plots need matplotlib; install it with: pip install 'genzoo[plots]'.")
    import matplotlib.style

    with matplotlib.style.context("default", after_reset=True):
        yield


def _axes(width: float = 6.4, height: float = 4.8) -> tuple[Any, Any]:
    # Figure works without pyplot, which has global state and needs a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, figure.add_subplot()


@_plain()
def scatter(
    points: Tensor, data: Tensor | None = None, score: Callable[[Tensor], Tensor] | None = None
) -> Any:
    """Plot points over the data, and return a matplotlib figure.

    Arguments:
        points: samples, `(n, 2)`.
        data: data points, `(m, 2)`.
        score: a critic, `(k, 2)` -> `(k,)`, on the points' device and in their dtype. It is drawn
            as a surface below the points.

    Example:
        >>> points, data = torch.randn(50, 2), torch.randn(50, 2)
        >>> figure = scatter(points, data, score=lambda x: -x.square().sum(1))
    """
    figure, axes = _axes(5, 5)
    colors = ("0.75", "tab:blue") if score is None else ("tab:orange", "tab:green")
    if score is not None:
        _surface(axes, score, points if data is None else data.to(points))
    for x, label, color in ((data, "data", colors[0]), (points, "samples", colors[1])):
        if x is not None:
            axes.scatter(*x.detach().float().cpu().T, s=3, color=color, label=label)
    axes.set_aspect("equal")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, markerscale=3)
    return figure


@torch.no_grad()
def _surface(axes: Any, score: Callable[[Tensor], Tensor], around: Tensor, side: int = 150) -> None:
    """Draw a critic's values as filled contours, darker for higher values.

    They cover a square around some points, with a margin.
    """
    low, high = around.amin(0), around.amax(0)
    half = 0.6 * (high - low).max().clamp_min(1e-3)
    x, y = (torch.linspace(-1, 1, side).to(around) * half + center for center in (low + high) / 2)
    grid = score(torch.cartesian_prod(x, y)).reshape(side, side).T
    xs, ys, values = (tensor.float().cpu().numpy() for tensor in (x, y, grid))
    axes.contourf(xs, ys, values, levels=20, cmap="Blues", alpha=0.5, zorder=0)
    axes.contour(
        xs,
        ys,
        values,
        levels=20,
        colors="tab:blue",
        alpha=0.4,
        linewidths=0.6,
        linestyles="solid",
        zorder=0,
    )
    axes.set(xlim=(xs[0], xs[-1]), ylim=(ys[0], ys[-1]))


@_plain()
def curves(history: Sequence[Mapping[str, float]]) -> Any:
    """Plot logged values against the step, and return a matplotlib figure.

    Each loss has a panel. Learning rates share one, and so do gradient norms.
    """
    from matplotlib.figure import Figure

    skip = {"step", "seconds", "images_per_second"}
    panels: dict[str, list[str]] = {}
    for name in dict.fromkeys(key for line in history for key in line if key not in skip):
        panels.setdefault(_panel(name), []).append(name)
    columns = min(3, len(panels)) or 1
    rows = math.ceil(len(panels) / columns) or 1
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), dpi=100, layout="constrained")
    for index, (title, names) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, index)
        for name in names:
            lines = [line for line in history if name in line]
            steps, values = [line["step"] for line in lines], [line[name] for line in lines]
            axes.plot(steps, values, label=name.removeprefix("gradient/"))
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if title == "gradient norms":
            axes.set_yscale("log")
        if len(names) > 1:
            axes.legend(fontsize=5)
    return figure


def _panel(name: str) -> str:
    if name.startswith("gradient/"):
        return "gradient norms"
    return "learning rate" if "lr" in name.split("/")[:2] else name


@_plain()
def values(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Any:
    """Plot values by group, and return a matplotlib figure.

    Each panel has a row for each group: a point for each value, and a line at their mean.

    Arguments:
        panels: title -> group -> values.

    Example:
        >>> figure = values({"distance": {"vae": [4.0, 4.2, 4.1], "gan": [3.1, 3.0, 3.3]}})
    """
    from matplotlib.figure import Figure

    columns = min(3, len(panels)) or 1
    rows = math.ceil(len(panels) / columns) or 1
    groups = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    height = 0.9 + 0.3 * len(groups)
    figure = Figure(figsize=(4.2 * columns, height * rows), dpi=100, layout="constrained")
    for index, (title, panel) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, index)
        for name, numbers in panel.items():
            place = groups.index(name)
            mean = math.fsum(numbers) / len(numbers)
            axes.plot(numbers, [place] * len(numbers), "o", color="tab:blue", alpha=0.6)
            axes.plot([mean, mean], [place - 0.3, place + 0.3], color="black", linewidth=1.2)
        axes.set_yticks(range(len(groups)), groups)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_title(title, fontsize=8)
        axes.grid(alpha=0.3, axis="x")
    return figure


@_plain()
def spectrum(profiles: Mapping[str, Mapping[float, float]], lowest: float) -> Any:
    """Plot power by frequency, and return a matplotlib figure.

    Arguments:
        profiles: name -> frequency in cycles per pixel -> mean power.
        lowest: the lower end of the shaded band.

    Example:
        >>> figure = spectrum({"samples": {0.1: 1, 0.5: 0.01}, "data": {0.1: 2, 0.5: 0.1}}, 0.4)
    """
    figure, axes = _axes(5, 3.5)
    axes.axvspan(lowest, 0.5, color="0.92", zorder=0)
    for (name, profile), style in zip(profiles.items(), ("-", "--"), strict=False):
        axes.plot(list(profile), list(profile.values()), style, label=name)
    axes.set(xlabel="frequency (cycles per pixel)", ylabel="mean power", yscale="log")
    axes.legend(frameon=False)
    return figure


def draw(
    samples: Tensor,
    data: Tensor | None = None,
    columns: int | None = None,
    score: Callable[[Tensor], Tensor] | None = None,
) -> Any:
    """Return a picture for the samples' shape.

    Images are shown as a sheet, and points in the plane as a scatter plot. For other shapes, the
    result is None.

    Arguments:
        samples: `(n, *shape)`.
        data: data points for a scatter plot, `(m, 2)`.
        columns: the number of columns of a sheet.
        score: a critic to draw in a scatter plot; see `scatter`.
    """
    if samples.dim() == 4:
        return sheet(samples, columns)
    if samples.dim() == 2 and samples.shape[1] == 2:
        return scatter(samples, data, score)
    return None


def save(picture: Any, path: str | Path | BinaryIO) -> None:
    """Write a picture as PNG, a plot as SVG if the path ends in .svg, or lines as text.

    Arguments:
        picture: a Pillow image, a matplotlib figure, or a list of lines.
        path: a path, or a binary file.
    """
    if isinstance(picture, list) and isinstance(path, str | Path):
        Path(path).write_text("".join(f"{line}\n" for line in picture), encoding="utf-8")
    elif hasattr(picture, "savefig"):
        with _plain():
            import matplotlib

            # Equal figures give equal files.
            settings: dict[str, Any] = {"format": "png"}
            if isinstance(path, str | Path) and Path(path).suffix == ".svg":
                settings = {"format": "svg", "metadata": {"Date": None}}
            with matplotlib.rc_context({"svg.hashsalt": "genzoo"}):
                picture.savefig(path, **settings)
    else:
        picture.save(path, format="PNG")


def as_html(picture: Any, caption: str) -> str:
    """Return a Pillow image or a matplotlib figure with its caption, for a notebook.

    Example:
        >>> as_html(sheet(torch.rand(4, 1, 8, 8)), "Samples")[:40]
        '<figure><img src="data:image/png;base64,'
    """
    content = io.BytesIO()
    save(picture, content)
    source = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
    caption = html.escape(printable(caption))
    image = f'<img src="{source}" alt="{caption}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
