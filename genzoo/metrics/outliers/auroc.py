"""The area under the ROC curve, with the interval of DeLong."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from genzoo.errors import DataError

__all__ = ["Auroc", "auroc"]

_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


class Auroc(NamedTuple):
    """The area under a ROC curve and its uncertainty."""

    value: float
    """The probability that an outlier has a higher score than an inlier."""
    standard_error: float
    """The standard error of DeLong. It is 0 if the scores are separated, or all equal."""
    low: float
    """The lower end of the 95 % interval."""
    high: float
    """The upper end of the interval."""


def auroc(inliers: Tensor, outliers: Tensor) -> Auroc:
    r"""Compute the probability that an outlier has a higher score than an inlier.

    \[ \hat A = \frac{1}{mn} \sum_{i=1}^m \sum_{j=1}^n
       \Big( \mathbf 1[y_i > x_j] + \tfrac12 \mathbf 1[y_i = x_j] \Big), \qquad
       \mathrm{SE}^2 = \frac{\mathrm{Var}\, V}{m} + \frac{\mathrm{Var}\, W}{n} \]

    \( V_i \) is the mean of row i of the sum, and \( W_j \) the mean of column j. The 95 % interval
    is symmetric in the log-odds of A, so it stays within 0 and 1. If the scores of both kinds do
    not overlap, this standard error is 0. Then the interval is the exact one of
    \( \min(m, n) \) independent pairs, which holds for all distributions. The standard error is
    also 0 if all scores are equal. They say nothing about A, so the interval is (0, 1). Just below
    1, the interval of few scores is too narrow.

    Arguments:
        inliers: the scores x, `(n,)`.
        outliers: the scores y, `(m,)`.

    Returns:
        1/2 for equal distributions, 1 for perfect detection. A value below 1/2 means that the score
        prefers the outliers.

    Raises:
        DataError: there are fewer than two scores of either kind, or a score is NaN.

    References:
        Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves,
            DeLong, DeLong and Clarke-Pearson, 1988, https://doi.org/10.2307/2531595
        Fast Implementation of DeLong's Algorithm, Sun and Xu, 2014,
            https://doi.org/10.1109/LSP.2014.2337313

    Example:
        >>> x, y = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([2.0, 3.0, 4.0, 5.0])
        >>> auroc(x, y).value
        0.875
    """
    x, y = (scores.detach().cpu().double().flatten() for scores in (inliers, outliers))
    for name, scores in (("inliers", x), ("outliers", y)):
        if len(scores) < 2:
            raise DataError(f"{name} has {len(scores)} scores, but at least 2 are needed.")
        if scores.isnan().any():
            raise DataError(f"{name} has scores that are NaN; remove those examples.")
    n, m = len(x), len(y)
    ranks = _ranks(torch.cat([x, y]))
    # The rank among all, less the rank within its own kind, counts the scores of the other kind.
    of_outliers = (ranks[n:] - _ranks(y)) / n
    of_inliers = 1 - (ranks[:n] - _ranks(x)) / m
    value = of_outliers.mean().item()
    standard_error = math.sqrt((of_outliers.var() / m + of_inliers.var() / n).item())
    low, high = _interval(value, standard_error, min(m, n))
    return Auroc(value, standard_error, low, high)


def _ranks(values: Tensor) -> Tensor:
    """Return the ranks of numbers, from 1; equal numbers share their mean rank."""
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    return (last - (counts - 1) / 2).double()[inverse]


def _interval(value: float, standard_error: float, pairs: int) -> tuple[float, float]:
    """Return the 95 % interval of an area."""
    if value in (0.0, 1.0):
        # The largest probability at which all pairs agree in 2.5 % of the cases.
        reach = 0.025 ** (1 / pairs)
        return (reach, 1.0) if value else (0.0, 1 - reach)
    if standard_error == 0:
        return 0.0, 1.0
    center = math.log(value / (1 - value))
    margin = _Z * standard_error / (value * (1 - value))
    return tuple(1 / (1 + math.exp(-end)) for end in (center - margin, center + margin))  # type: ignore[return-value]
