"""Distances between tables, densities, and samples, against closed forms and SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import energy_distance as scipy_energy_distance
from scipy.stats import entropy
from torch.distributions import Normal

from genzoo.divergences import (
    energy_distance,
    histograms,
    jensen_shannon,
    kullback_leibler,
    kullback_leibler_knn,
    on_grid,
    total_variation,
)
from genzoo.errors import DataError, SettingError

LOG2 = math.log(2)
GRID = torch.linspace(-15, 25, 40001, dtype=torch.float64)
GAUSSIANS = [  # N(0, 1) and N(m, 1): m, JS (numerical integration), TV = 2 Phi(m / 2) - 1
    (0.1, 0.001248, 0.039878),
    (0.5, 0.030311, 0.197413),
    (1.0, 0.111421, 0.382925),
    (2.0, 0.336831, 0.682689),
    (4.0, 0.632720, 0.954500),
    (8.0, 0.693054, 0.999937),
]


def normal(mean, std=1.0):
    return Normal(torch.tensor(mean).double(), torch.tensor(std).double())


@pytest.mark.parametrize(("mean", "js", "tv"), GAUSSIANS)
def test_gaussians_at_a_distance(mean, js, tv):
    p, q = on_grid(normal(0.0), normal(mean), GRID)
    assert jensen_shannon(p, q).item() == pytest.approx(js, abs=1e-6)
    assert total_variation(p, q).item() == pytest.approx(tv, abs=1e-6)
    assert kullback_leibler(p, q).item() == pytest.approx(mean**2 / 2, rel=1e-6)


@pytest.fixture(scope="module")
def tables():
    return torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(7), (2, 20)))


def test_tables_equal_scipy(tables):
    p, q = tables
    np.testing.assert_allclose(kullback_leibler(p, q), entropy(p, q, axis=1), rtol=1e-12)
    np.testing.assert_allclose(jensen_shannon(p, q), jensenshannon(p, q, axis=1) ** 2, rtol=1e-10)


def test_inequalities(tables):
    p, q = tables
    tv = total_variation(p, q)
    assert (tv <= (kullback_leibler(p, q) / 2).sqrt()).all()  # Pinsker
    assert (jensen_shannon(p, q) <= LOG2 * tv).all()
    torch.testing.assert_close(jensen_shannon(p, q), jensen_shannon(q, p))


def test_tables_without_a_common_outcome():
    p, q = torch.tensor([[0.3, 0.7, 0.0, 0.0], [0.0, 0.0, 0.6, 0.4]])
    assert total_variation(p, q) == 1
    assert kullback_leibler(p, q) == math.inf
    assert jensen_shannon(p, q).item() == pytest.approx(LOG2)
    assert total_variation(p, p) == kullback_leibler(p, p) == jensen_shannon(p, p) == 0


@pytest.mark.parametrize("dim", [1, 2])
def test_histograms_equal_numpy(dim):
    x, y = np.random.default_rng(0).normal(size=(2, 300, dim))
    both = np.concatenate([x, y])
    edges = [np.linspace(a, b, 9) for a, b in zip(both.min(0), both.max(0), strict=True)]
    for table, sample in zip(
        histograms(torch.from_numpy(x), torch.from_numpy(y), 8), (x, y), strict=True
    ):
        # the first dimension varies fastest
        expected = np.histogramdd(sample, edges)[0].ravel(order="F") / len(sample)
        np.testing.assert_allclose(table, expected)


def test_equal_samples_differ_by_chance_as_documented():
    generator = torch.Generator().manual_seed(0)
    n, bins = 5000, 20
    distances = [
        total_variation(*histograms(*torch.rand(2, n, generator=generator), bins))
        for _ in range(50)
    ]
    assert torch.stack(distances).mean().item() == pytest.approx(
        math.sqrt(bins / math.pi / n), rel=0.1
    )


def test_constant_samples_share_a_bin():
    p, q = histograms(torch.ones(3, 2), torch.ones(5, 2), 4)
    assert p.tolist() == q.tolist()
    assert p.max() == 1


@pytest.mark.parametrize("dim", [1, 4])
def test_neighbors_estimate_the_kl_of_gaussians(dim):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 4000, dim, generator=generator)
    # KL(N(m, s^2) || N(0, 1)) per dimension
    mean, std = 0.5, 0.7
    kl = dim * (0.5 * (std**2 + mean**2 - 1) - math.log(std))
    assert kullback_leibler_knn(mean + std * x, y) == pytest.approx(kl, abs=0.05 * dim)
    assert abs(kullback_leibler_knn(x, y)) < 0.05 * dim


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: total_variation(torch.ones(2), torch.ones(2)), DataError, r"sums from 2 to 2"),
        (
            lambda: kullback_leibler(torch.tensor([1.5, -0.5]), torch.tensor([1.0, 0.0])),
            DataError,
            r"least value of -0.5",
        ),
        (lambda: histograms(torch.ones(3), torch.ones(3, 2)), DataError, r"\(3, 1\) and \(3, 2\)"),
        (lambda: histograms(torch.ones(0), torch.ones(3)), DataError, r"above 0"),
        (lambda: histograms(torch.tensor([math.nan]), torch.ones(3)), DataError, r"not finite"),
        (lambda: histograms(torch.ones(3, 9), torch.ones(3, 9)), SettingError, r"30 bins.* 9 dim"),
        (lambda: kullback_leibler_knn(torch.rand(5), torch.rand(9)), DataError, r"5 and 9.*k = 5"),
        (
            lambda: kullback_leibler_knn(torch.zeros(9), torch.rand(9)),
            DataError,
            r"more than 5 points are equal",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_energy_distance_agrees_with_scipy():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=50), generator.normal(1, 2, size=1500)
    value = energy_distance(torch.from_numpy(x), torch.from_numpy(y))
    assert value == pytest.approx(scipy_energy_distance(x, y) ** 2)


def test_the_energy_distance_of_points_in_the_plane():
    """The distances of the corners of a 3-4-5 triangle."""
    x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 0.0], [3.0, 4.0]])
    assert energy_distance(x, y) == pytest.approx(2 * (3 + 5) / 2 - 2 * 4 / 4)
    assert energy_distance(y, y.flip(0)) == 0
    with pytest.raises(DataError, match="cannot be compared"):
        energy_distance(x, y[:, :1])
