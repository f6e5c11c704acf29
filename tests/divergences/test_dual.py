"""The estimate of a critic against exact distances in one dimension and of a shift."""

import math

import pytest
import torch
from scipy.stats import wasserstein_distance

from genzoo.divergences import wasserstein_dual
from genzoo.errors import DataError


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 2.0), (2.0, 3.0)])
def test_gaussians(mean, deviation):
    torch.manual_seed(0)
    x, y = torch.randn(1000), mean + deviation * torch.randn(1000)
    exact = wasserstein_distance(x.numpy(), y.numpy())
    assert wasserstein_dual(x, y, steps=700) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_shift_in_the_plane(scale):
    torch.manual_seed(0)
    x = scale * torch.randn(200, 2)
    y = x + scale * torch.tensor([1.5, 2.0])
    assert wasserstein_dual(x, y, steps=300) == pytest.approx(2.5 * scale, rel=0.03)


def test_two_points_show_the_bias_of_the_penalty():
    """The optimal gap is W + W^2 / 2 lambda, in units of the standard deviation 1/2 here."""
    x, y = torch.zeros(10, 1), torch.ones(10, 1)
    distance = 2.0
    for weight in (5.0, 100.0):
        expected = (distance + distance**2 / (2 * weight)) / 2
        estimate = wasserstein_dual(x, y, weight=weight, steps=400)
        assert estimate == pytest.approx(expected, rel=0.02)


def test_equal_points_and_the_random_state():
    assert wasserstein_dual(torch.ones(5, 2), torch.ones(4, 2)) == 0
    x, y = torch.rand(50, 2), torch.rand(60, 2)
    state = torch.get_rng_state()
    first = wasserstein_dual(x, y, steps=5)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.inference_mode():
        assert wasserstein_dual(x, y, steps=5) == first
    assert math.isfinite(first)
    with pytest.raises(DataError, match="not finite"):
        wasserstein_dual(x, torch.full((3, 2), math.inf))
