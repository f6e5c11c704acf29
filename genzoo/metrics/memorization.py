"""Memorization: samples that are nearer to the training data than to held-out data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genzoo.contract import Evidence, Measurement, Part, Positive
from genzoo.metrics.estimates import Estimate, as_features
from genzoo.metrics.feature_metric import FeatureMetric, evenly_spaced
from genzoo.metrics.figures import neighbors_figure
from genzoo.metrics.neighbors import squared_distances

__all__ = ["Memorization", "measure_memorization", "nearest_neighbors"]

_LEAST_IN_CELL = 20
"""The smallest number of held-out examples, and of samples, in a cell that is compared."""


class MemorizationResult(NamedTuple):
    """Measurements of memorization."""

    nearer_to_train: Estimate
    """The fraction of samples whose nearest neighbor is a training example: 1/2 if none is copied,
    1 if all are."""
    copying: Estimate
    r"""The statistic \( C_T \): 0 if samples are as far from the training data as held-out data,
    negative if they are nearer. The value is NaN if every cell has too few samples or held-out
    examples."""
    nearest: Tensor
    """The index of the nearest training example of each sample, `(n,)`."""
    distances: Tensor
    """The distance to it, `(n,)`. The samples with the smallest distances are the likeliest copies.
    """


def measure_memorization(
    samples: Tensor, train: Tensor, held_out: Tensor, *, cells: int = 5, seed: int = 0
) -> MemorizationResult:
    r"""Measure whether samples copy training examples.

    **Nearer to train.** The pooled training and held-out examples contain the nearest neighbor of
    each sample. If the samples do not depend on which examples were trained on, that neighbor is a
    training example with a probability of exactly 1/2, in any dimension, because both sets have the
    same size and distribution. A tie, such as an image that is in both sets, counts as 1/2. Samples
    of a conditional model depend on the held-out examples through their conditions, so 1/2 is then
    approximate. A value below 1/2 is not better than 1/2.

    Samples share neighbors, so they are not independent. Let \( c_r \) samples with the nearest
    neighbor r have the mean \( t_r \). The variance of the fraction \( s \) is
    \( \sum_r c_r^2 (t_r - s)^2 / n^2 \), the limit of resampling the groups with a common neighbor.

    **Copying.** The training data are divided into cells by k-means. In each cell, the Mann-Whitney
    statistic \( U \) counts pairs in which the distance to the nearest training example is larger
    for the sample than for the held-out example. \( C_T \) is the mean of the standardized
    \( U \), weighted by the fraction of held-out examples in the cell. Its standard error is that
    under no copying. The distance is to the nearest of all training examples; the paper searches
    the cell only.

    Arguments:
        samples: features or images of samples, `(n, ...)`; images are flattened.
        train: those of training examples, `(m, ...)`.
        held_out: those of held-out examples, `(m, ...)`. Duplicates of training examples weaken
            both measurements.
        cells: the number of cells.
        seed: the seed of k-means.

    Returns:
        Both measurements, and the nearest training examples.

    Raises:
        DataError: `train` and `held_out` differ in size, a set has fewer than two rows, or a value
            is not finite.

    References:
        A Non-Parametric Test to Detect Data-Copying in Generative Models, Casey Meehan, Kamalika
            Chaudhuri and Sanjoy Dasgupta, 2020, https://arxiv.org/abs/2004.05675

    Example:
        >>> train, held_out = torch.rand(2, 300, 8)
        >>> measure_memorization(train, train, held_out).nearer_to_train.value
        1.0
    """
    samples, train, held_out = as_features(
        samples, train, held_out, names="samples, train, held_out"
    )
    as_features(train, held_out, equal=True, names="train, held_out")
    to_train, nearest = nearest_neighbors(samples, train)
    to_held_out, nearest_held_out = nearest_neighbors(samples, held_out)
    between, _ = nearest_neighbors(held_out, train)
    is_train = torch.where(to_train == to_held_out, 0.5, (to_train < to_held_out).double())
    neighbor = torch.where(to_train <= to_held_out, nearest, len(train) + nearest_held_out)
    share = is_train.mean()
    residuals = torch.zeros(2 * len(train), dtype=torch.float64)
    residuals.index_add_(0, neighbor, is_train - share)
    return MemorizationResult(
        nearer_to_train=Estimate(share.item(), residuals.norm().item() / len(samples)),
        copying=_copying(samples, train, held_out, to_train, between, cells=cells, seed=seed),
        nearest=nearest,
        distances=to_train,
    )


def nearest_neighbors(x: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance to the nearest reference, and its index.

    Arguments:
        x: features or images, `(n, ...)`.
        references: features or images, `(m, ...)`.

    Returns:
        Distances, float64 `(n,)`, and indices, `(n,)`.

    Raises:
        DataError: the numbers of features differ, there are no rows, or a value is not finite.

    Example:
        >>> nearest_neighbors(torch.tensor([[1.0], [5.0]]), torch.tensor([[0.0], [4.5]]))[1]
        tensor([0, 1])
    """
    x, references = as_features(x, references, least=1, names="x, references")
    # The search has small rounding errors if the norms are small.
    center = references.mean(dim=0)
    chunks = squared_distances(x - center, references - center)
    indices = torch.cat([chunk.argmin(dim=1) for _, chunk in chunks])
    # Differences are exact for copies, and equal for ties.
    distances = [
        (part - references[rows]).norm(dim=1)
        for part, rows in zip(x.split(1000), indices.split(1000), strict=True)
    ]
    return torch.cat(distances), indices


def _copying(
    samples: Tensor,
    train: Tensor,
    held_out: Tensor,
    sample_distances: Tensor,
    held_out_distances: Tensor,
    *,
    cells: int,
    seed: int,
) -> Estimate:
    """Return C_T and its standard error under no copying."""
    from sklearn.cluster import KMeans

    clusters = KMeans(min(cells, len(train)), n_init=1, random_state=seed).fit(train.numpy())
    sample_cells, held_out_cells = (
        torch.from_numpy(clusters.predict(z.numpy())) for z in (samples, held_out)
    )
    weights, scores = [], []
    for cell in range(clusters.n_clusters):
        q = sample_distances[sample_cells == cell]
        p = held_out_distances[held_out_cells == cell]
        if min(len(q), len(p)) >= _LEAST_IN_CELL:
            weights.append(len(p))
            scores.append(_mann_whitney(q, p))
    if not weights:
        return Estimate(math.nan)
    weight, score = (torch.tensor(values, dtype=torch.float64) for values in (weights, scores))
    weight /= weight.sum()
    return Estimate((weight @ score).item(), weight.norm().item())


def _mann_whitney(q: Tensor, p: Tensor) -> float:
    """Return the standardized number of pairs with q > p, where a tie counts as a half."""
    n, m = len(q), len(p)
    p = p.sort().values
    below = torch.searchsorted(p, q) + torch.searchsorted(p, q, right=True)
    ties = torch.cat([q, p]).unique(return_counts=True)[1].double()
    correction = (ties**3 - ties).sum().item() / ((n + m) * (n + m - 1))
    variance = n * m * (n + m + 1 - correction) / 12
    difference = below.sum().item() / 2 - n * m / 2
    return difference / math.sqrt(variance) if variance > 0 else 0.0


class Memorization(FeatureMetric):
    r"""The memorization of training examples, by nearest neighbors.

    See `measure_memorization`. Samples are compared with as many training rows as there are
    held-out rows, so copies of other training rows are missed. The floor of `nearer_to_train` is
    1/2 and that of `copying` is 0, the expected values of a model that copies nothing. For
    conditional models, 1/2 is approximate, because their conditions are those of held-out rows.
    Neither value ranks models: a smaller one is not better than the floor. With the network
    `"pixels"`, the images themselves are compared. The figure `nearest-neighbors` of the report
    shows the samples that are nearest to training images.

    Arguments:
        network: a feature network: a name, a table, or an instance. None selects the one for the
            model's shape.
        limit: the largest number of rows. More rows are thinned out evenly.
        cells: the number of cells of \( C_T \).

    Returns:
        `duplicates`: the number of held-out rows that occur in the whole training split. They
            weaken the other values, and any comparison with held-out rows;
        `nearer_to_train`, and `copying`: \( C_T \), unless every cell has fewer than 20 samples or
            held-out examples.

    Raises:
        DataError: there are fewer than four held-out examples, or a feature is not finite.

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(1, 8, 8))
        >>> rows = evaluate(vae, "digits", "memorization", n=100)
        >>> rows["memorization", "nearer_to_train"].floor
        0.5
    """

    def __init__(
        self, network: Part | None = None, limit: Positive = 5000, cells: Positive = 5
    ) -> None:
        super().__init__(network, limit)
        self.cells = cells

    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        samples, train, held_out = (
            self._rows(evidence, source) for source in ("samples", "train", "test")
        )
        size, total = min(len(train), len(held_out)), len(evidence.features(self.network, "train"))
        kept = evenly_spaced(len(train), size)
        train, held_out = train[kept], held_out[evenly_spaced(len(held_out), size)]
        result = measure_memorization(
            samples, train, held_out, cells=self.cells, seed=evidence.seed
        )
        yield Measurement(
            quantity="duplicates",
            value=evidence.duplicates(),
            n=evidence.n,
            split="test and train",
            estimator="equal rows",
        )
        fields: dict[str, Any] = {
            "n": len(samples),
            "network": evidence.network(self.network).version,
            "split": "test and train",
        }
        yield Measurement(
            quantity="nearer_to_train",
            value=result.nearer_to_train.value,
            standard_error=result.nearer_to_train.standard_error,
            floor=0.5,
            estimator="nearest neighbors",
            **fields,
        )
        indices = [evenly_spaced(size, self.limit) for size in (evidence.n, total)]
        figure = neighbors_figure(
            evidence, indices[0], indices[1][kept][result.nearest], result.distances
        )
        if figure is not None:
            evidence.figures.setdefault("nearest-neighbors", figure)
        if not math.isnan(result.copying.value):
            yield Measurement(
                quantity="copying",
                value=result.copying.value,
                standard_error=result.copying.standard_error,
                floor=0.0,
                estimator="C_T",
                **fields,
            )
