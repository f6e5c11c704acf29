r"""Distances between distributions, for evaluation and for teaching.

Each function compares two distributions p and q that are given in one of these forms:

- tables of probabilities: `total_variation`, `kullback_leibler`, `jensen_shannon`;
- densities, as distributions of torch: `on_grid` turns two of them into tables;
- samples: `histograms` turns two samples into tables, and `energy_distance` and
  `kullback_leibler_knn` need no bins.

`MMD` and `Wasserstein` compare samples, too. Logarithms are natural, so units are nats.

References:
    Wasserstein GAN, Arjovsky, Chintala and Bottou, 2017, https://arxiv.org/abs/1701.07875
        (section 2 compares these distances)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from genzoo.contract import Positive
from genzoo.errors import DataError, SettingError

__all__ = [
    "energy_distance",
    "histograms",
    "jensen_shannon",
    "kullback_leibler",
    "kullback_leibler_knn",
    "on_grid",
    "total_variation",
    "two_samples",
]

_MOST_BINS = 2**24
"""The largest number of bins of a histogram."""
_CHUNK = 1024
"""The number of points whose distances to others are in memory at once."""


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    r"""Compute the total variation distance between tables of probabilities.

    \[ \mathrm{TV}(p, q) = \max_A |p(A) - q(A)| = \tfrac 12 \sum_i |p_i - q_i| \]

    It is between 0 and 1, which it is for distributions without a common support.

    Arguments:
        p: probabilities, `(..., outcomes)`.
        q: probabilities of the same outcomes, `(..., outcomes)`.

    Returns:
        `(...)`.

    Raises:
        DataError: a table has negative values or does not sum to 1.

    Example:
        >>> total_variation(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]))
        tensor(0.5000)
    """
    _check_tables(p, q)
    return (p - q).abs().sum(dim=-1) / 2


def kullback_leibler(p: Tensor, q: Tensor) -> Tensor:
    r"""Compute the Kullback-Leibler divergence between tables of probabilities, in nats.

    \[ \mathrm{KL}(p \,\|\, q) = \sum_i p_i \log \frac{p_i}{q_i} \]

    It is infinite if p has an outcome that q does not have.

    Arguments:
        p: probabilities, `(..., outcomes)`.
        q: probabilities of the same outcomes, `(..., outcomes)`.

    Returns:
        `(...)`.

    Raises:
        DataError: a table has negative values or does not sum to 1.

    Example:
        >>> kullback_leibler(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))  # log 2
        tensor(0.6931)
    """
    _check_tables(p, q)
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=-1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    r"""Compute the Jensen-Shannon divergence between tables of probabilities, in nats.

    \[ \mathrm{JS}(p, q) = \tfrac 12 \mathrm{KL}(p \,\|\, m) + \tfrac 12 \mathrm{KL}(q \,\|\, m),
       \qquad m = \tfrac 12 (p + q) \]

    It is between 0 and log 2, which it is for distributions without a common support. (SciPy
    returns its square root.)

    Arguments:
        p: probabilities, `(..., outcomes)`.
        q: probabilities of the same outcomes, `(..., outcomes)`.

    Returns:
        `(...)`.

    Raises:
        DataError: a table has negative values or does not sum to 1.

    Example:
        >>> jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))  # log 2
        tensor(0.6931)
    """
    mean = (p + q) / 2
    return (kullback_leibler(p, mean) + kullback_leibler(q, mean)) / 2


def on_grid(p: Distribution, q: Distribution, points: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the probabilities of two densities on a grid, which must cover both.

    With a fine grid, the distances between the tables are those between the densities, up to the
    error of a sum in place of an integral. It is tiny for smooth densities and equal steps.

    Arguments:
        p: a distribution of numbers, or of vectors.
        q: another distribution of the same kind.
        points: the grid, with equal steps, `(points,)` or `(points, dim)`.

    Returns:
        Two tables, `(points,)` each.

    Example:
        >>> from torch.distributions import Normal
        >>> grid = torch.linspace(-10, 12, 2201, dtype=torch.float64)
        >>> total_variation(*on_grid(Normal(0.0, 1.0), Normal(2.0, 1.0), grid))
        tensor(0.6827, dtype=torch.float64)
    """
    return p.log_prob(points).softmax(dim=0), q.log_prob(points).softmax(dim=0)


def histograms(x: Tensor, y: Tensor, bins: Positive = 30) -> tuple[Tensor, Tensor]:
    r"""Return the shares of two samples in common bins of equal size.

    The bins divide the range of both samples. The distances between the tables depend on the bins.
    Fewer bins hide differences. With more bins, two samples of the same distribution differ more by
    chance: the mean of their total variation distance is about \( \sqrt{B / \pi n} \) for B
    equally likely bins and samples of size n. So compare with two samples of one distribution.

    Arguments:
        x: a sample, `(n,)` or `(n, dim)` with few dimensions.
        y: another sample, `(m,)` or `(m, dim)`.
        bins: the number of bins in each dimension.

    Returns:
        Two tables, `(bins ** dim,)` each, in float64.

    Raises:
        DataError: a sample is empty or has values that are not finite, or the samples have
            different dimensions.
        SettingError: there would be more than 2^24 bins.

    Example:
        >>> x, y = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0])
        >>> histograms(x, y, bins=2)[0]
        tensor([0.6667, 0.3333], dtype=torch.float64)
    """
    x, y = two_samples(x, y)
    dim = x.shape[1]
    if bins**dim > _MOST_BINS:
        raise SettingError(
            f"histograms: {bins} bins in each of {dim} dimensions are too many; take fewer bins, "
            "or kullback_leibler_knn."
        )
    both = torch.cat([x, y])
    low, high = both.amin(0), both.amax(0)
    high = torch.where(high > low, high, low + 1)
    place = bins ** torch.arange(dim)
    tables = []
    for sample in (x, y):
        index = ((sample - low) / (high - low) * bins).long().clamp(max=bins - 1)
        counts = (index * place).sum(dim=1).bincount(minlength=bins**dim)
        tables.append(counts.double() / len(sample))
    return tables[0], tables[1]


def kullback_leibler_knn(x: Tensor, y: Tensor, k: Positive = 5) -> float:
    r"""Estimate a Kullback-Leibler divergence from samples, without bins, in nats.

    \[ \widehat{\mathrm{KL}}(p \,\|\, q) =
       \frac dn \sum_i \log \frac{\nu_k(x_i)}{\rho_k(x_i)} + \log \frac m{n - 1} \]

    \( \rho_k(x_i) \) is the distance of \( x_i \) from its k-th nearest neighbor among the other
    points of x, and \( \nu_k(x_i) \) from that among the points of y. The estimate is consistent
    for densities. It can be negative, and in many dimensions it is too small.

    Arguments:
        x: a sample of p, `(n,)` or `(n, dim)`.
        y: a sample of q, `(m,)` or `(m, dim)`.
        k: the number of the neighbor. More neighbors give less noise and more bias.

    Raises:
        DataError: a sample has k points or fewer, or values that are not finite, or more than k
            equal points, which a density does not have.

    References:
        Divergence Estimation for Multidimensional Densities Via k-Nearest-Neighbor Distances, Wang,
            Kulkarni and Verdú, 2009, https://doi.org/10.1109/TIT.2009.2016060

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(2, 2000, generator=generator)
        >>> 0.4 < kullback_leibler_knn(x + 1, y) < 0.6  # the divergence is 1/2
        True
    """
    x, y = two_samples(x, y)
    if min(len(x), len(y)) <= k:
        raise DataError(
            f"kullback_leibler_knn: samples of {len(x)} and {len(y)} points are too small for "
            f"k = {k}; give more than {k} points each."
        )
    from sklearn.neighbors import NearestNeighbors

    # the nearest neighbor of a point in its own sample is the point itself
    within = NearestNeighbors(n_neighbors=k + 1).fit(x.numpy()).kneighbors(x.numpy())[0][:, k]
    across = NearestNeighbors(n_neighbors=k).fit(y.numpy()).kneighbors(x.numpy())[0][:, k - 1]
    if not within.all() or not across.all():
        raise DataError(
            f"kullback_leibler_knn: more than {k} points are equal, so there is no density; "
            "take histograms."
        )
    ratio = torch.from_numpy(across).log() - torch.from_numpy(within).log()
    return x.shape[1] * ratio.mean().item() + math.log(len(y) / (len(x) - 1))


def energy_distance(x: Tensor, y: Tensor) -> float:
    r"""Compute the energy distance between two samples.

    \[ \frac{2}{nm} \sum_{i,j} |x_i - y_j| - \frac{1}{n^2} \sum_{i,j} |x_i - x_j|
       - \frac{1}{m^2} \sum_{i,j} |y_i - y_j| \]

    It is 0 for equal samples and positive otherwise. Its unit is that of the data. (SciPy returns
    its square root.)

    Arguments:
        x: a sample, `(n,)` or `(n, dim)`.
        y: another sample, `(m,)` or `(m, dim)`.

    Raises:
        DataError: a sample is empty or has values that are not finite, or the samples have
            different dimensions.

    References:
        Energy statistics: A class of statistics based on distances, Székely and Rizzo, 2013,
            https://doi.org/10.1016/j.jspi.2013.03.018

    Example:
        >>> x, y = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0])
        >>> energy_distance(x, y)  # 2 * 1 - 1 - 0
        1.0
    """
    x, y = two_samples(x, y)
    return 2 * _mean_distance(x, y) - _mean_distance(x, x) - _mean_distance(y, y)


def _mean_distance(x: Tensor, y: Tensor) -> float:
    """Return the mean distance of a point of one sample from a point of the other."""
    # not by matrix products, which lose the digits of small distances
    exact = "donot_use_mm_for_euclid_dist"
    sums = [torch.cdist(part, y, compute_mode=exact).sum().item() for part in x.split(_CHUNK)]
    return math.fsum(sums) / (len(x) * len(y))


def _check_tables(*tables: Tensor) -> None:
    """Check that tables are probabilities."""
    for table in tables:
        total = table.sum(dim=-1)
        if not bool((table >= 0).all()) or not torch.allclose(
            total, torch.ones_like(total), atol=1e-4
        ):
            raise DataError(
                "A table of probabilities needs values of 0 or more that sum to 1, but has a "
                f"least value of {table.min().item():.4g} and sums from {total.min().item():.4g} "
                f"to {total.max().item():.4g}; divide it by its sum."
            )


def two_samples(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return two samples as `(n, dim)` and `(m, dim)`, in float64."""
    x, y = (t.detach().cpu().double() for t in (x, y))
    x, y = (t[:, None] if t.ndim == 1 else t for t in (x, y))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not x.numel() or not y.numel():
        raise DataError(
            f"Samples of shapes {tuple(x.shape)} and {tuple(y.shape)} cannot be compared; give "
            "(n, dim) and (m, dim), with n and m above 0."
        )
    if not (x.isfinite().all() and y.isfinite().all()):
        raise DataError("A sample has values that are not finite.")
    return x, y
