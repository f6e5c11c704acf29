"""The kernel distance (KID): a squared MMD with a cubic kernel between features."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from genzoo.contract import Evidence, Measurement
from genzoo.metrics.estimates import (
    Estimate,
    as_features,
    chunk_rows,
    shuffled,
    variance_of_mean,
)
from genzoo.metrics.feature_metric import FeatureMetric

__all__ = ["KernelDistance", "kernel_distance", "kernel_permutation_test"]

_TESTED = 2000
"""The largest number of rows of each sample in the permutation test of the metric."""
_ENTRIES = 2**19
"""The entries of a chunk of a kernel matrix: 4 MB."""


def kernel_distance(x: Tensor, y: Tensor) -> Estimate:
    r"""Estimate the squared maximum mean discrepancy with the kernel \( (x^\top y / d + 1)^3 \).

    \[ \frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j)
       - \frac{2}{nm} \sum_{i,j} k(x_i, y_j) \]

    All pairs enter, not a few random subsets. The estimate is unbiased, so it is often negative if
    the distributions are equal. With Inception features, it is the KID.

    The standard error comes from the first-order term of this U-statistic,
    \( 4 \operatorname{Var} a / n + 4 \operatorname{Var} b / m \), where \( a_i \) is the mean of
    \( k(x_i, x_j) \) over the other \( x_j \) minus the mean of \( k(x_i, y_j) \), and \( b \) the
    same for \( y \). If the distributions are equal, that term vanishes and the number is only the
    right order of magnitude; use `kernel_permutation_test` to test for a difference.

    Arguments:
        x: features, `(n, dim)`.
        y: features, `(m, dim)`.

    Returns:
        The estimate and its standard error.

    Raises:
        DataError: a sample has fewer than two rows or a value that is not finite, or the numbers of
            features differ.

    References:
        Demystifying MMD GANs, Mikołaj Bińkowski et al., 2018, https://arxiv.org/abs/1801.01401

    Example:
        >>> x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [0.0]])
        >>> kernel_distance(x, y).value  # 1 + 1 - 2 * 1
        0.0
    """
    x, y = as_features(x, y)
    x, y = _with_constant(x), _with_constant(y)
    within_x = (_kernel_sums(x, x) - _on_diagonal(x)) / (len(x) - 1)
    within_y = (_kernel_sums(y, y) - _on_diagonal(y)) / (len(y) - 1)
    across_x, across_y = _both_kernel_sums(x, y)
    across_x, across_y = across_x / len(y), across_y / len(x)
    value = within_x.mean() + within_y.mean() - 2 * across_x.mean()
    variance = variance_of_mean(within_x - across_x) + variance_of_mean(within_y - across_y)
    return Estimate(value.item(), 2 * math.sqrt(variance))


def kernel_permutation_test(
    x: Tensor, y: Tensor, *, permutations: int = 499, limit: int = 2000, seed: int = 0
) -> float:
    r"""Test whether two samples have the same distribution, with the kernel distance.

    The p-value is \( (1 + r) / (1 + R) \), where \( r \) of \( R \) random assignments of the rows
    to the two samples have a kernel distance that is at least as large. If the distributions are
    equal, the test rejects at the 5 % level with a probability of at most 5 %, for all sizes.

    Arguments:
        x: features, `(n, dim)`.
        y: features, `(m, dim)`.
        permutations: the number \( R \).
        limit: the number of rows used of each sample, chosen at random. The cost grows with its
            square.
        seed: the seed of the rows and of the permutations.

    Returns:
        The p-value.

    Raises:
        DataError: as in `kernel_distance`.

    Example:
        >>> kernel_permutation_test(torch.randn(50, 2), torch.randn(50, 2) + 2)
        0.002
    """
    x, y = as_features(x, y)
    x, y = (z[shuffled(len(z), seed)[:limit]] for z in (x, y))
    rows = _with_constant(torch.cat([x, y]))
    return permutation_p_value(
        _kernel(rows, rows), _on_diagonal(rows), len(x), permutations=permutations, seed=seed
    )


def permutation_p_value(
    chunks: Iterable[tuple[slice, Tensor]],
    diagonal: Tensor,
    n: int,
    *,
    permutations: int = 499,
    seed: int = 0,
) -> float:
    """Return the p-value of the squared MMD of a kernel, as in `kernel_permutation_test`.

    Arguments:
        chunks: chunks of rows of the kernel matrix of both samples together, with their indices.
        diagonal: the diagonal of that matrix.
        n: the number of rows of the first sample, which come first.
        permutations: the number of permutations.
        seed: the seed of the permutations.
    """
    both = len(diagonal)
    m = both - n
    generator = torch.Generator().manual_seed(seed)
    first = torch.zeros(both, permutations + 1, dtype=torch.float64)
    first[:n, 0] = 1
    for column in first[:, 1:].T:
        column[torch.randperm(both, generator=generator)[:n]] = 1
    # With the indicator a of the first sample, a'Ka and a'K1 determine all three sums.
    inside, crossing = torch.zeros(2, permutations + 1, dtype=torch.float64)
    total = 0.0
    for span, kernel in chunks:
        inside += (first[span] * (kernel @ first)).sum(dim=0)
        sums = kernel.sum(dim=1)
        crossing += sums @ first[span]
        total += sums.sum().item()
    within_x = (inside - diagonal @ first) / (n * (n - 1))
    within_y = (total - 2 * crossing + inside - diagonal @ (1 - first)) / (m * (m - 1))
    distances = within_x + within_y - 2 * (crossing - inside) / (n * m)
    # Equal assignments have equal distances up to rounding.
    slack = 1e-12 * diagonal.mean()
    at_least = (distances[1:] >= distances[0] - slack).sum().item()
    return (1 + at_least) / (1 + permutations)


def _with_constant(x: Tensor) -> Tensor:
    """Append a constant feature, so that the inner product of two rows is x'y / d + 1."""
    return torch.cat([x / math.sqrt(x.shape[1]), torch.ones(len(x), 1, dtype=x.dtype)], dim=1)


def _on_diagonal(x: Tensor) -> Tensor:
    """Return k(x_i, x_i)."""
    return x.square().sum(dim=1) ** 3


def _kernel(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield chunks of rows of the kernel matrix. The next chunk overwrites the memory."""
    rows = chunk_rows(len(y), _ENTRIES)
    kernel, square = torch.empty(2, rows, len(y), dtype=x.dtype)
    for begin in range(0, len(x), rows):
        span = slice(begin, min(begin + rows, len(x)))
        size = span.stop - begin
        torch.mm(x[span], y.T, out=kernel[:size])
        torch.mul(kernel[:size], kernel[:size], out=square[:size])
        yield span, kernel[:size].mul_(square[:size])


def _kernel_sums(x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of k(x_i, y_j) over j, `(n,)`."""
    return torch.cat([kernel.sum(dim=1) for _, kernel in _kernel(x, y)])


def _both_kernel_sums(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of k(x_i, y_j) over j, `(n,)`, and over i, `(m,)`."""
    over_y, over_x = [], torch.zeros(len(y), dtype=y.dtype)
    for _, kernel in _kernel(x, y):
        over_y.append(kernel.sum(dim=1))
        over_x += kernel.sum(dim=0)
    return torch.cat(over_y), over_x


class KernelDistance(FeatureMetric):
    """The kernel distance (KID) between the features of held-out examples and of samples.

    See `kernel_distance` and `kernel_permutation_test`. It is unbiased, so it compares models at
    any number of examples. Below 5,000 examples, it ranks models better than the Fréchet distance.
    The floor is the distance of as many training rows from the held-out examples.

    Arguments:
        network: a feature network: a name, a table, or an instance. None selects the one for the
            model's shape.
        limit: the largest number of rows. More rows are thinned out evenly.

    Returns:
        `squared_distance`, and `p_value`: the p-value of no difference, from 2,000 rows at most.

    Raises:
        DataError: there are fewer than four held-out examples, or a feature is not finite.

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(1, 8, 8))
        >>> evaluation = evaluate(vae, "digits", "kernel-distance", n=100)
        >>> evaluation["kernel-distance", "p_value"].value
        0.002
    """

    estimator: ClassVar[str | None] = "U-statistic"
    passes: ClassVar[Mapping[str, tuple[str, ...]] | None] = {
        "squared_distance": ("identical", "mean shift", "mode drop", "mode invention")
    }

    def estimates(
        self,
        real: Tensor,
        samples: Tensor,
        seed: int,  # noqa: ARG002
    ) -> Mapping[str, Estimate]:
        return {"squared_distance": kernel_distance(real, samples)}

    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        yield from super().__call__(evidence)
        real, samples = (self._rows(evidence, source) for source in ("test", "samples"))
        yield Measurement(
            quantity="p_value",
            value=kernel_permutation_test(real, samples, limit=_TESTED, seed=evidence.seed),
            n=min(len(real), _TESTED),
            network=evidence.network(self.network).version,
            estimator="permutation test",
        )
