"""Plots of points, logs, latent codes, and measurements, drawn with matplotlib."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genzoo.errors import SettingError
from genzoo.plots.theme import COLORS, WIDTH, new_figure, style

__all__ = ["curves", "scatter", "spectrum", "values"]

_DATA, _SAMPLES = "0.35", COLORS[1]
"""The colors of data and of samples."""
_WIDTHS = {1: 4.2, 2: WIDTH, 3: 7.8}
"""The width of a figure in inches, by its number of columns."""
_LAST = ("gradient norms", "learning rate")
"""The panels that come last."""
_DECADES = 50
"""The ratio of values from which an axis is logarithmic."""


@style()
def scatter(
    points: Tensor, data: Tensor | None = None, score: Callable[[Tensor], Tensor] | None = None
) -> Any:
    """Plot points over the data, and return a matplotlib figure.

    Arguments:
        points: samples, `(n, 2)`.
        data: data points, `(m, 2)`.
        score: a critic, `(k, 2)` -> `(k,)`, on the points' device and in their dtype. It is drawn
            as a surface below the points.

    Raises:
        SettingError: points or data have another shape.

    Example:
        >>> points, data = torch.randn(50, 2), torch.randn(50, 2)
        >>> figure = scatter(points, data, score=lambda x: -x.square().sum(1))
    """
    for name, x in (("points", points), ("data", data)):
        if x is not None and (x.dim() != 2 or x.shape[1] != 2):
            raise SettingError(
                f"{name} of shape {tuple(x.shape)}: a scatter plot needs points in the plane, "
                "(n, 2)."
            )
    figure = new_figure(4.2, 4.2)
    axes = figure.add_subplot()
    if score is not None:
        _surface(axes, score, points if data is None else data.to(points))
    for x, label, color in ((data, "data", _DATA), (points, "samples", _SAMPLES)):
        if x is not None:
            axes.scatter(
                *x.detach().float().cpu().T, s=4, color=color, linewidths=0, label=label,
                rasterized=True,
            )  # fmt: skip
    axes.set_aspect("equal")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, markerscale=3)
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
    xs, ys, levels = (tensor.float().cpu().numpy() for tensor in (x, y, grid))
    axes.contourf(xs, ys, levels, levels=20, cmap="Blues", alpha=0.5, zorder=0)
    axes.contour(xs, ys, levels, levels=20, colors=COLORS[0], alpha=0.4, linewidths=0.6, zorder=0)
    axes.set(xlim=(xs[0], xs[-1]), ylim=(ys[0], ys[-1]))


class _Series(NamedTuple):
    """The values of one name of a log."""

    panel: str
    label: str
    player: str
    is_held_out: bool
    steps: list[float]
    values: list[float]


@style()
def curves(history: Sequence[Mapping[str, float]]) -> Any:
    """Plot logged values against the step, and return a matplotlib figure.

    A panel shows the same quantity of all players, such as the losses of generator and critic, and
    of held-out rows, which are dashed. Learning rates share a panel, and so do gradient norms.
    A constant learning rate is left out. The axis is logarithmic where positive values span
    decades, and symmetrically so around zero if they change sign.

    Arguments:
        history: the lines of a log, such as `run.history`.

    Example:
        >>> history = [{"step": k, "critic/loss": 1 / k, "generator/loss": -k} for k in (1, 2)]
        >>> [axes.get_title() for axes in curves(history).axes]
        ['loss']
    """
    everything = sorted(_series(history), key=lambda one: one.panel in _LAST)
    panels: dict[str, list[_Series]] = {}
    for one in everything:
        panels.setdefault(one.panel, []).append(one)
    has_players = len({one.player for one in everything if one.player}) > 1
    keys = list(dict.fromkeys((one.player, one.is_held_out) for one in everything))
    figure, grid = _grid(len(panels), 2.1)
    for axes, (title, panel) in zip(grid, panels.items(), strict=True):
        numbers = [keys.index((one.player, one.is_held_out)) for one in panel]
        if len(set(numbers)) < len(panel):
            numbers = list(range(len(panel)))
        for one, number in zip(panel, numbers, strict=True):
            line = "--" if one.is_held_out else "-"
            marker = "." if len(one.steps) < 25 else ""
            color = COLORS[number % len(COLORS)]
            axes.plot(one.steps, one.values, line, marker=marker, color=color, label=one.label)
        axes.set(title=_title(title, panel, has_players=has_players), xlabel="step")
        axes.ticklabel_format(axis="y", scilimits=(-3, 5))
        axes.grid()
        if title != "learning rate":
            _set_scale(axes, [value for one in panel for value in one.values])
        if len(panel) > 1:
            axes.legend()
    return figure


def _title(panel: str, series: Sequence[_Series], *, has_players: bool) -> str:
    """Return the title of a panel, with the player or the rows that all its values belong to."""
    players = {one.player for one in series}
    facts = [players.pop() if has_players and len(players) == 1 else ""]
    if len(series) == 1 and series[0].is_held_out:
        facts.append("held-out")
    name = panel.replace("_", " ").replace("/", " ")
    added = ", ".join(filter(None, facts))
    return f"{name} ({added})" if added else name


def _series(history: Sequence[Mapping[str, float]]) -> Iterator[_Series]:
    """Yield the series of a log that are worth a line."""
    skipped = ("step", "seconds", "images_per_second")
    names = dict.fromkeys(name for line in history for name in line if name not in skipped)
    players = {name.removesuffix("/loss") for name in names if name.endswith("/loss")}
    players.discard("validation")
    for name in names:
        lines = [line for line in history if name in line]
        values = [float(line[name]) for line in lines]
        if not any(math.isfinite(value) for value in values):
            continue
        held_out = name.startswith("validation/")
        first, _, rest = name.removeprefix("validation/").partition("/")
        player = first if first in players else ""
        quantity = rest if player else name.removeprefix("validation/")
        where = "held-out" if held_out else "training"
        label = ", ".join(filter(None, (player, "held-out" if held_out else ""))) or where
        panel = quantity
        if first == "gradient":
            panel, label = "gradient norms", rest
        elif quantity.partition("/")[0] == "lr":
            if len({*values}) == 1:
                continue
            panel = "learning rate"
            label = " ".join(filter(None, (player, quantity.partition("/")[2]))) or "all parameters"
        elif quantity in ("real", "fake"):
            panel, label = "real and fake", quantity
        yield _Series(panel, label, player, held_out, [line["step"] for line in lines], values)


def _set_scale(axes: Any, values: Sequence[float]) -> None:
    """Make the vertical axis logarithmic if the values span decades."""
    sizes = sorted(abs(value) for value in values if math.isfinite(value))
    if min(value for value in values if math.isfinite(value)) > 0:
        if sizes[-1] > _DECADES * sizes[0]:
            axes.set_yscale("log")
        return
    middle = sizes[len(sizes) // 2]
    if middle > 0 and sizes[-1] > _DECADES * middle:
        # a power of ten, so that no tick is close to the one at zero
        axes.set_yscale("symlog", linthresh=10 ** math.ceil(math.log10(middle)))
        axes.axhline(0, color="0.6", linewidth=0.6, zorder=0)


def _grid(n: int, height: float, *, share_y: bool = False) -> tuple[Any, list[Any]]:
    """Return a figure with n panels of a height in inches, at most three in a row."""
    columns = 2 if n == 4 else min(max(n, 1), 3)
    rows = max(1, math.ceil(n / columns))
    figure = new_figure(_WIDTHS[columns], height * rows)
    first = None
    panels = []
    for index in range(n):
        first = figure.add_subplot(rows, columns, index + 1, sharey=first if share_y else None)
        panels.append(first)
    return figure, panels


@style()
def values(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Any:
    """Plot values by group, and return a matplotlib figure.

    Each panel has a row for each group: a point for each value, and a line at their mean.

    Arguments:
        panels: title -> group -> values.

    Example:
        >>> figure = values({"distance": {"vae": [4.0, 4.2, 4.1], "gan": [3.1, 3.0, 3.3]}})
    """
    groups = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    titles = [textwrap.fill(title, 34) for title in panels]
    lines = max((title.count("\n") for title in titles), default=0)
    figure, grid = _grid(len(panels), 0.85 + 0.15 * lines + 0.22 * len(groups), share_y=True)
    for axes, title, panel in zip(grid, titles, panels.values(), strict=True):
        for name, numbers in panel.items():
            place = groups.index(name)
            mean = math.fsum(numbers) / len(numbers)
            color = COLORS[place % len(COLORS)]
            axes.plot(numbers, [place] * len(numbers), "o", color=color, alpha=0.5, markersize=5)
            axes.plot([mean, mean], [place - 0.3, place + 0.3], color=color, linewidth=1.8)
        axes.set_yticks(range(len(groups)), groups, parse_math=False)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_title(title, parse_math=False)
        axes.label_outer()
        axes.tick_params(axis="x", labelbottom=True)
        axes.grid(axis="x")
    return figure


@style()
def spectrum(profiles: Mapping[str, Mapping[float, float]], lowest: float) -> Any:
    """Plot power by frequency, and return a matplotlib figure.

    Arguments:
        profiles: name -> frequency in cycles per pixel -> mean power.
        lowest: the lower end of the shaded band.

    Example:
        >>> figure = spectrum({"samples": {0.1: 1, 0.5: 0.01}, "data": {0.1: 2, 0.5: 0.1}}, 0.4)
    """
    figure = new_figure(4.2, 2.8)
    axes = figure.add_subplot()
    axes.axvspan(lowest, 0.5, color="0.93", zorder=0)
    colors = (_DATA, _SAMPLES)
    for (name, profile), color, line in zip(profiles.items(), colors, ("--", "-"), strict=False):
        axes.plot(list(profile), list(profile.values()), line, color=color, label=name)
    axes.set(xlabel="frequency (cycles per pixel)", ylabel="mean power", yscale="log")
    axes.legend()
    return figure
