"""Fidelity and diversity of samples by nearest neighbors: precision, recall, density, coverage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from genzoo.contract import Part, Positive
from genzoo.errors import DataError
from genzoo.metrics.estimates import Estimate, as_features, chunk_rows, shuffled
from genzoo.metrics.feature_metric import FeatureMetric

__all__ = ["PrecisionRecall", "coverage_null", "fidelity_and_diversity"]

_ENTRIES = 2**20
"""The entries of a chunk of a distance matrix: 8 MB."""
_BLOCKS = 20
"""The blocks that estimate a standard error."""
_ROUNDING = 1e-12
"""The rounding error of squared distances, relative to the mean squared norm."""


def fidelity_and_diversity(
    real: Tensor, samples: Tensor, *, k: int = 5, seed: int = 0
) -> dict[str, Estimate]:
    r"""Estimate precision, recall, density, coverage, and the clipped forms of the last two.

    Let \( B(x_i) \) be the ball around a real example that reaches its k-th nearest real neighbor,
    and \( B(y_j) \) the same for samples.

    | quantity | definition | value for equal distributions |
    | --- | --- | --- |
    | precision | fraction of samples in any \( B(x_i) \) | below 1, depends on the dimension |
    | recall | fraction of real examples in any \( B(y_j) \) | the same |
    | density | \( \frac{1}{kn} \sum_{i,j} 1[y_j \in B(x_i)] \) | 1 |
    | coverage | fraction of the \( B(x_i) \) with a sample | `coverage_null` |
    | clipped density | see below | about 1, at most 1 |
    | clipped coverage | see below | about 1, at most 1 |

    The clipped density lets a sample count for at most k balls, and no radius exceeds the median
    radius. It is divided by the same value for real examples. The clipped coverage is the mean
    number of samples in a ball, counting at most k. It is calibrated: if a fraction v of the
    samples has the real distribution and the others are far away, it is v.

    Outliers, real or generated, change the clipped forms little. Two points count as within a
    radius if they are so up to rounding.

    The rows are divided at random into 20 blocks, or fewer of at least 20 k rows. The standard
    error is the standard deviation of the values of the blocks, divided by the square root of their
    number. In simulations, it was 0.8 to 1.3 times the true one, and larger for values near 1.

    Arguments:
        real: features of real examples, `(n, dim)`.
        samples: features of samples, `(n, dim)`.
        k: the number of neighbors.
        seed: the seed of the blocks.

    Returns:
        `precision`, `recall`, `density`, `coverage`, `clipped_density`, and `clipped_coverage`.
            Higher is better.

    Raises:
        DataError: the sizes differ, there are at most k rows, or a value is not finite.

    References:
        Improved Precision and Recall Metric for Assessing Generative Models, Tuomas Kynkäänniemi et
            al., 2019, https://arxiv.org/abs/1904.06991
        Reliable Fidelity and Diversity Metrics for Generative Models, Muhammad Ferjad Naeem et al.,
            2020, https://arxiv.org/abs/2002.09797
        Enhanced Generative Model Evaluation with Clipped Density and Coverage, Nicolas Salvy et
            al., 2025, https://arxiv.org/abs/2507.01761

    Example:
        >>> values = fidelity_and_diversity(torch.randn(100, 2), torch.zeros(100, 2))
        >>> values["precision"].value, values["recall"].value
        (1.0, 0.0)

        All samples are equal: they are plausible, but do not vary.
    """
    if k < 1:
        raise DataError(f"k is {k}, but at least one neighbor is needed.")
    real, samples = as_features(real, samples, least=k + 2, equal=True, names="real, samples")
    center = real.mean(dim=0)
    real, samples = real - center, samples - center
    values = _values(real, samples, k)
    errors = _block_errors(real, samples, k, seed)
    return {name: Estimate(value, errors.get(name)) for name, value in values.items()}


def coverage_null(n: int, m: int, k: int = 5) -> float:
    r"""Return the expected coverage if both distributions are equal.

    \[ 1 - \prod_{i=1}^{k} \frac{n - i}{m + n - i} \]

    A ball is empty if its k neighbors come first among the n - 1 other real examples and m samples.

    Arguments:
        n: the number of real examples.
        m: the number of samples.
        k: the number of neighbors.

    Example:
        >>> round(coverage_null(10_000, 10_000), 4)
        0.9688
    """
    return 1 - math.prod((n - i) / (m + n - i) for i in range(1, k + 1))


def squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield squared distances in chunks of rows. The next chunk overwrites the memory.

    One matrix product computes |x|^2 - 2 x'y + |y|^2, so distances that are tiny next to the norms
    have rounding errors.
    """
    ones = [torch.ones(len(z), 1, dtype=z.dtype) for z in (x, y)]
    norms = [z.square().sum(dim=1, keepdim=True) for z in (x, y)]
    left = torch.cat([-2 * x, norms[0], ones[0]], dim=1)
    right = torch.cat([y, ones[1], norms[1]], dim=1).T
    rows = chunk_rows(len(y), _ENTRIES)
    memory = torch.empty(rows, len(y), dtype=x.dtype)
    for begin in range(0, len(x), rows):
        span = slice(begin, min(begin + rows, len(x)))
        chunk = memory[: span.stop - begin]
        yield span, torch.mm(left[span], right, out=chunk)


def _nearest(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return squared distances to the k nearest other rows, and their indices, `(n, k)`."""
    distances, indices = [], []
    for span, chunk in squared_distances(x, x):
        chunk[torch.arange(len(chunk)), torch.arange(span.start, span.stop)] = math.inf
        nearest = chunk.topk(k, dim=1, largest=False)
        distances.append(nearest.values)
        indices.append(nearest.indices)
    return torch.cat(distances), torch.cat(indices)


def _values(real: Tensor, samples: Tensor, k: int) -> dict[str, float]:
    n = len(real)
    near, indices = _nearest(real, k)
    slack = _ROUNDING * (real.square().sum() + samples.square().sum()).item() / n
    radius = near.amax(dim=1).clamp(min=0).sqrt()
    # quantile averages the two middle values; torch's median does not.
    clipped_reach = radius.clamp(max=radius.quantile(0.5).item()).square() + slack
    reach = radius.square() + slack
    sample_reach = _nearest(samples, k)[0].amax(dim=1) + slack
    # Ball -> samples in it, and sample -> balls around it, with full and with clipped radius.
    inside, around, clipped_around = torch.zeros(3, n, dtype=torch.long)
    recalled = torch.zeros(n, dtype=torch.bool)
    for span, chunk in squared_distances(real, samples):
        rows, columns = (chunk <= reach[span, None]).nonzero(as_tuple=True)
        kept = columns[chunk[rows, columns] <= clipped_reach[span][rows]]
        inside[span] = rows.bincount(minlength=len(chunk))
        around += columns.bincount(minlength=n)
        clipped_around += kept.bincount(minlength=n)
        recalled[span] = (chunk <= sample_reach).any(dim=1)
    among_real = indices[near <= clipped_reach[:, None]].bincount(minlength=n)
    ideal = among_real.clamp(max=k).double().mean()
    clipped_density = clipped_around.clamp(max=k).double().mean() / ideal
    return {
        "precision": (around > 0).double().mean().item(),
        "recall": recalled.double().mean().item(),
        "density": around.double().mean().item() / k,
        "coverage": (inside > 0).double().mean().item(),
        "clipped_density": clipped_density.clamp(max=1).item(),
        "clipped_coverage": _calibrated(inside.clamp(max=k).double().mean().item() / k, n, k),
    }


def _calibrated(covered: float, n: int, k: int) -> float:
    """Return the fraction of good samples among n for which `covered` is expected."""
    expected = _expected_cover(n, k)
    return torch.searchsorted(expected, covered).item() / len(expected)


def _expected_cover(n: int, k: int) -> Tensor:
    r"""Return \( E \min(J, k) / k \) for 0 to n good samples, of which J are in a ball, `(n + 1,)`.

    The ball has a probability of distribution Beta(k, n - k), so J is beta-binomial. As in the
    authors' code, fewer than k samples count as none.
    """
    m = torch.arange(k, n + 1, dtype=torch.float64)
    j = torch.arange(k, dtype=torch.float64)[:, None]
    log_probability = (
        torch.lgamma(m + 1)
        - torch.lgamma(j + 1)
        - torch.lgamma(m - j + 1)
        + torch.lgamma(k + j)
        + torch.lgamma(n + m - k - j)
        - torch.lgamma(n + m)
        - (math.lgamma(k) + math.lgamma(n - k) - math.lgamma(n))
    )
    missing = ((k - j) * log_probability.exp()).sum(dim=0)
    return torch.cat([torch.zeros(k, dtype=torch.float64), 1 - missing / k])


def _block_errors(real: Tensor, samples: Tensor, k: int, seed: int) -> dict[str, float]:
    """Return the standard errors of the values, or nothing if there are too few rows."""
    blocks = min(_BLOCKS, len(real) // (20 * k))
    if blocks < 2:
        return {}
    size = len(real) // blocks
    order = shuffled(len(real), seed)[: blocks * size].view(blocks, size)
    values = [_values(real[rows], samples[rows], k) for rows in order]
    return {
        name: torch.tensor([value[name] for value in values]).std().item() / math.sqrt(blocks)
        for name in values[0]
    }


_FIDELITY = ("identical", "mean shift", "mode invention", "outlier in data", "outlier in samples")
_DIVERSITY = (
    "identical", "mean shift", "mode drop", "mode invention", "repeated samples",
    "outlier in data", "outlier in samples",
)  # fmt: skip
"""The sanity checks that densities and coverages pass."""


class PrecisionRecall(FeatureMetric):
    """Precision, recall, density, and coverage of samples, and the clipped forms of the last two.

    See `fidelity_and_diversity`. Precision and density measure whether samples are plausible;
    recall and coverage measure whether they vary as much as real examples. None of them is reliable
    alone. The floors are the values of as many training rows, which are not always 1.

    Arguments:
        network: a feature network: a name, a table, or an instance. None selects the one for the
            model's shape.
        limit: the largest number of rows. More rows are thinned out evenly.
        k: the number of neighbors.

    Returns:
        `precision`, `recall`, `density`, `coverage`, `clipped_density`, and `clipped_coverage`.

    Raises:
        DataError: there are fewer than k + 2 held-out examples, or a feature is not finite.

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(1, 8, 8))
        >>> rows = evaluate(vae, "digits", "precision-recall", n=100)
        >>> rows["precision-recall", "coverage"].value < 0.5
        True
    """

    estimator: ClassVar[str | None] = "nearest neighbors"
    higher_is_better: ClassVar[bool] = True
    passes: ClassVar[Mapping[str, tuple[str, ...]] | None] = {
        "precision": ("identical", "mean shift", "mode invention", "outlier in samples"),
        "recall": (
            "identical", "mean shift", "mode drop", "repeated samples",
            "outlier in data", "outlier in samples",
        ),
        "coverage": _DIVERSITY,
        "clipped_coverage": _DIVERSITY,
        "density": _FIDELITY,
        "clipped_density": _FIDELITY,
    }  # fmt: skip

    def __init__(
        self, network: Part | None = None, limit: Positive = 5000, k: Positive = 5
    ) -> None:
        super().__init__(network, limit)
        self.k = k

    def estimates(self, real: Tensor, samples: Tensor, seed: int) -> Mapping[str, Estimate]:
        return fidelity_and_diversity(real, samples, k=self.k, seed=seed)

    def floors(
        self,
        one: Tensor,
        other: Tensor,
        seed: int,  # noqa: ARG002
    ) -> Mapping[str, float]:
        if len(one) < self.k + 2:
            return {}
        one, other = as_features(one, other, equal=True)
        center = one.mean(dim=0)
        return _values(one - center, other - center, self.k)
