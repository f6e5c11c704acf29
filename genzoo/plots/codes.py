"""The plot of latent codes: points by class, and the contours of the prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from genzoo.distributed.random_state import exclusive, reseed
from genzoo.errors import SettingError, printable
from genzoo.plots.theme import COLORS, new_figure, style

__all__ = ["latent_codes"]

_MARKERS = ("o", "^", "s", "D")
"""The shapes of points; the next shape begins when every color was used."""
_MASSES = (0.9, 0.5)
"""The shares of the prior within its contours."""
_LINES = ("--", "-")
"""The style of each contour."""
_BINS, _DRAWS = 100, 100_000
"""The number of bins of each axis of the prior's histogram, and of its samples."""


@style()
@torch.no_grad()
def latent_codes(
    codes: Tensor,
    labels: Tensor | None = None,
    names: Sequence[str] = (),
    prior: Any = None,
) -> Any:
    """Plot latent codes by class with the contours of the prior, and return a matplotlib figure.

    Codes with more than two coordinates are projected on their first two principal components,
    which the axes name with their share of the variance. The prior is projected in the same way.

    Arguments:
        codes: latent codes, `(n, dim)` with dim >= 2.
        labels: the class of each code, integers from 0, `(n,)`.
        names: the names of the classes, for the legend.
        prior: a prior with `sample(n)`, such as `model.prior`. The contours hold 50% and 90% of its
            samples.

    Raises:
        SettingError: codes have fewer than two coordinates or are not finite, or there are not as
            many integer labels.

    Example:
        >>> import genzoo
        >>> prior = genzoo.build({"name": "mog", "components": 3, "dim": 2}, "priors")
        >>> labels = torch.arange(90) % 3
        >>> figure = latent_codes(torch.randn(90, 2), labels, ["cat", "dog", "owl"], prior)
    """
    _check_codes(codes, labels)
    z = codes.detach().double().cpu()
    project, titles = _projection(z)
    figure = new_figure(5.2 if labels is not None else 4.2, 4.2)
    axes = figure.add_subplot()
    points = project(z)
    low, high = points.amin(0), points.amax(0)
    if prior is not None:
        with exclusive(codes.device):
            reseed(codes.device, "plots", "prior")
            draws = project(prior.sample(_DRAWS).double().cpu())
        low = torch.minimum(low, draws.quantile(0.01, dim=0))
        high = torch.maximum(high, draws.quantile(0.99, dim=0))
        _contours(axes, draws)
    if labels is None:
        axes.scatter(*points.T, s=6, linewidths=0, alpha=0.7, rasterized=True)
        if prior is not None:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    else:
        _classes(axes, points, labels.cpu(), names)
        legend = figure.legend(loc="outside right center", markerscale=2)
        for text in legend.get_texts():
            text.set_parse_math(False)
    margin = 0.05 * (high - low)
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.set(xlabel=titles[0], ylabel=titles[1])
    return figure


def _check_codes(codes: Tensor, labels: Tensor | None) -> None:
    if codes.dim() != 2 or codes.shape[1] < 2 or len(codes) < 2:
        raise SettingError(
            f"codes of shape {tuple(codes.shape)}: the plot needs at least two codes with two "
            "coordinates, (n, dim)."
        )
    if not codes.isfinite().all():
        raise SettingError(
            f"{int((~codes.isfinite()).any(1).sum())} of {len(codes)} codes are not finite; plot "
            "the others: codes[codes.isfinite().all(1)]."
        )
    if labels is not None and (labels.is_floating_point() or labels.is_complex()):
        raise SettingError(f"labels of dtype {labels.dtype}: pass integers, as in labels.long().")
    if labels is not None and tuple(labels.shape) != (len(codes),):
        raise SettingError(
            f"labels of shape {tuple(labels.shape)} for {len(codes)} codes: pass one label for "
            "each code."
        )


def _projection(z: Tensor) -> tuple[Callable[[Tensor], Tensor], tuple[str, str]]:
    """Return a projection of codes on a plane, and the titles of its axes."""
    if z.shape[1] == 2:
        return (lambda x: x), ("$z_1$", "$z_2$")
    center = z.mean(0)
    variances, directions = torch.linalg.eigh(torch.cov(z.T))
    basis = directions[:, -2:].flip(1)
    # the codes of a collapsed encoder may all be equal
    first, second = (variances.flip(0)[:2] / variances.sum().clamp_min(1e-30)).tolist()
    titles = (
        f"principal component 1 ({first:.0%} of variance)",
        f"principal component 2 ({second:.0%} of variance)",
    )
    return (lambda x: (x - center) @ basis), titles


def _classes(axes: Any, points: Tensor, labels: Tensor, names: Sequence[str]) -> None:
    """Draw the points of each class in a color and shape of its own."""
    for index, label in enumerate(labels.unique().tolist()):
        axes.scatter(
            *points[labels == label].T,
            s=9,
            marker=_MARKERS[index // len(COLORS) % len(_MARKERS)],
            color=COLORS[index % len(COLORS)],
            linewidths=0,
            alpha=0.8,
            label=printable(names[label]) if 0 <= label < len(names) else str(label),
            rasterized=True,
        )


def _contours(axes: Any, draws: Tensor) -> None:
    """Draw lines that hold shares of some samples, from a smooth histogram of them."""
    low, high = draws.quantile(0.002, dim=0), draws.quantile(0.998, dim=0)
    margin = 0.25 * (high - low)
    edges = [
        torch.linspace(a, b, _BINS + 1).double()
        for a, b in zip(low - margin, high + margin, strict=True)
    ]
    counts = torch.histogramdd(draws, bins=edges).hist
    window = torch.exp(-(torch.arange(-6, 7).double() / 2).square() / 2)
    window = window[:, None] * window / window.sum() ** 2
    density = torch.nn.functional.conv2d(counts[None, None], window[None, None], padding=6)[0, 0]
    ordered = density.flatten().sort(descending=True).values
    shares = ordered.cumsum(0) / ordered.sum()
    levels = [ordered[(shares < mass).sum()].item() for mass in _MASSES]
    x, y = ((edge[1:] + edge[:-1]) / 2 for edge in edges)
    axes.contour(
        x.numpy(), y.numpy(), density.T.numpy(), levels=levels, colors="0.3", linewidths=0.9,
        linestyles=_LINES, zorder=3,
    )  # fmt: skip
    for mass, line in zip(_MASSES, _LINES, strict=True):
        axes.plot([], [], line, color="0.3", linewidth=0.9, label=f"{mass:.0%} of prior")
