import numpy as np
import ot
import pytest
import torch

from genzoo.errors import DataError
from genzoo.metrics import sliced_wasserstein


def gaussian(n, dim, scale=1.0, shift=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, dim, generator=generator, dtype=torch.float64) + shift


def test_one_dimension_is_the_exact_distance():
    x, y = gaussian(300, 1), gaussian(300, 1, 2.0, 1.0, seed=1)
    expected = ot.wasserstein_1d(x.numpy(), y.numpy(), p=2).item()
    assert sliced_wasserstein(x, y, directions=3).value == pytest.approx(expected, rel=1e-12)


def test_many_directions_match_pot():
    x, y = gaussian(150, 6), gaussian(150, 6, 1.5, 0.5, seed=1)
    expected = ot.sliced_wasserstein_distance(
        x.numpy(), y.numpy(), n_projections=5000, seed=7
    ) ** 2  # fmt: skip
    assert sliced_wasserstein(x, y, directions=5000).value == pytest.approx(expected, rel=0.03)


def test_gaussians_match_the_closed_form():
    """N(0, s1^2 I) and N(D, s2^2 I): |D|^2 / d + (s1 - s2)^2."""
    x, y = gaussian(20_000, 5), gaussian(20_000, 5, 1.5, 0.4, seed=1)
    estimate = sliced_wasserstein(x, y, directions=200)
    expected = 0.4**2 + 0.5**2
    assert abs(estimate.value - expected) < 4 * estimate.standard_error + 0.01
    assert estimate.standard_error < 0.02


def test_the_bias_for_equal_distributions_is_inversely_proportional_to_n():
    means = []
    for n in (200, 800):
        values = [
            sliced_wasserstein(gaussian(n, 4, seed=s), gaussian(n, 4, seed=s + 1000), directions=30)
            for s in range(60)
        ]
        means.append(np.mean([value.value for value in values]))
    assert means[0] / means[1] == pytest.approx(4, rel=0.2)


def test_the_standard_error_is_the_deviation_of_the_estimates():
    estimates = [
        sliced_wasserstein(
            gaussian(400, 4, seed=seed),
            gaussian(400, 4, 1.3, 0.3, seed=seed + 1000),
            directions=50,
        )
        for seed in range(150)
    ]
    deviation = np.std([estimate.value for estimate in estimates], ddof=1)
    errors = np.mean([estimate.standard_error for estimate in estimates])
    assert errors == pytest.approx(deviation, rel=0.25)


def test_the_standard_error_of_a_shift_is_that_of_the_means():
    """In one dimension, the distance of x and y + c is nearly the squared difference of means."""
    x, y = gaussian(5000, 1), gaussian(5000, 1, shift=10, seed=1)
    error = sliced_wasserstein(x, y, directions=2).standard_error
    assert error == pytest.approx(2 * 10 * (2 / 5000) ** 0.5, rel=0.05)


def test_equal_samples_and_their_order():
    x = gaussian(100, 3)
    assert sliced_wasserstein(x, x.flip(0)) == pytest.approx((0, 0), abs=1e-12)
    assert sliced_wasserstein(torch.ones(4, 3), torch.ones(4, 3)) == (0, 0)


def test_the_seed_chooses_the_directions():
    x, y = gaussian(100, 3), gaussian(100, 3, seed=1)
    values = [sliced_wasserstein(x, y, directions=5, seed=seed).value for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_a_chunk_of_directions_has_no_influence():
    """More than one chunk: the mean over 200 directions is that of their parts."""
    x, y = gaussian(6000, 2), gaussian(6000, 2, 1.2, seed=1)
    generator = torch.Generator().manual_seed(0)
    axes = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    axes = axes / axes.norm(dim=1, keepdim=True)
    expected = np.mean([
        np.mean((np.sort((x @ axis).numpy()) - np.sort((y @ axis).numpy())) ** 2) for axis in axes
    ])  # fmt: skip
    assert sliced_wasserstein(x, y, directions=200).value == pytest.approx(expected, rel=1e-9)


def test_unequal_sizes_are_refused():
    with pytest.raises(DataError, match="x, y have 5, 4 examples, but the numbers must be equal"):
        sliced_wasserstein(torch.randn(5, 2), torch.randn(4, 2))
