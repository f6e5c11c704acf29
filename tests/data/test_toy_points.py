import math

import numpy as np
import pytest

from genzoo.data.toy_points import toy
from genzoo.errors import SettingError
from genzoo.registry.build import build

N = 40_000
SIX_SIGMA = 6 / math.sqrt(N)  # six standard errors of a mean of N draws with unit variance


def draw(distribution):
    x = toy(distribution, rows=N).train["x"].astype(np.float64)
    assert x.shape == (N, 2)
    return x


def nearest(x, centers):
    distance = np.linalg.norm(x[:, None] - centers[None], axis=2)
    return distance.min(axis=1), distance.argmin(axis=1)


RING = (
    np.array(
        [[2 * math.cos(math.radians(45 * k)), 2 * math.sin(math.radians(45 * k))] for k in range(8)]
    )
    / 1.414
)
GRID = np.array([[a, b] for a in (-4, -2, 0, 2, 4) for b in (-4, -2, 0, 2, 4)]) / 2.828


@pytest.mark.parametrize(
    ("distribution", "centers", "sd"),
    [("8-gaussians", RING, 0.02 / 1.414), ("25-gaussians", GRID, 0.05 / 2.828)],
)
def test_modes_are_equally_likely_gaussians(distribution, centers, sd):
    distance, mode = nearest(draw(distribution), centers)
    expected = N / len(centers)
    assert np.abs(np.bincount(mode, minlength=len(centers)) - expected).max() < 6 * math.sqrt(
        expected
    )
    # within three standard deviations in two dimensions (in one: 0.9973)
    within = 1 - math.exp(-4.5)
    assert np.mean(distance < 3 * sd) == pytest.approx(
        within, abs=6 * math.sqrt(within * (1 - within) / N)
    )
    assert np.mean(distance**2) == pytest.approx(2 * sd**2, rel=SIX_SIGMA)


@pytest.mark.parametrize(
    ("distribution", "variance"),
    [("8-gaussians", (2**2 / 2 + 0.02**2) / 1.414**2), ("25-gaussians", (8 + 0.05**2) / 2.828**2)],
)
def test_the_scale_of_the_authors_gives_nearly_unit_variance(distribution, variance):
    x = draw(distribution)
    assert variance == pytest.approx(1, abs=0.01)
    assert x.mean(axis=0) == pytest.approx([0, 0], abs=SIX_SIGMA)
    assert np.cov(x.T) == pytest.approx(variance * np.eye(2), abs=SIX_SIGMA)


def test_swiss_roll_moments():
    # The angle t is uniform on [1.5 pi, 4.5 pi], and the point is (t cos t, t sin t).
    # Integrate by parts.
    x = draw("swiss-roll")
    assert x.mean(axis=0) * 7.5 == pytest.approx([2, 2 / (3 * math.pi)], abs=6 * 7.1 / math.sqrt(N))
    assert np.mean((x**2).sum(axis=1)) * 7.5**2 == pytest.approx(
        9.75 * math.pi**2 + 2 * 0.25**2, rel=SIX_SIGMA
    )
    assert x.std() == pytest.approx(1, abs=0.2)


def test_moons_moments():
    x = draw("moons")
    assert x.mean(axis=0) == pytest.approx([0.5, 0.25], abs=SIX_SIGMA)
    assert x[:, 0].var() == pytest.approx(0.75 + 0.1**2, abs=SIX_SIGMA)


@pytest.mark.parametrize("distribution", ["8-gaussians", "25-gaussians", "swiss-roll", "moons"])
def test_splits_and_seeds_give_different_points(distribution):
    one, again, other = (
        toy(distribution, rows=100, seed=3),
        toy(distribution, rows=100, seed=3),
        toy(distribution, rows=100, seed=4),
    )
    assert one.train["x"].dtype == np.float32
    assert one.rows("train") == one.rows("test") == 100
    assert np.array_equal(one.train["x"], again.train["x"])
    assert np.array_equal(one.test["x"], again.test["x"])
    both = np.concatenate([one.train["x"], one.test["x"], other.train["x"]])
    assert len(np.unique(both, axis=0)) == 300


@pytest.mark.parametrize("wrong", [{"distribution": "9-gaussians"}, {"rows": 0}, {"seed": -1}])
def test_an_invalid_setting_is_named(wrong):
    ((key, value),) = wrong.items()
    with pytest.raises(SettingError, match=f"toy.*{key}.*{value}|dataset.{key} = .?{value}"):
        build({"name": "toy", "distribution": "moons", **wrong}, "datasets")
