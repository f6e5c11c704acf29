import math
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from genzoo.contract import Prior
from genzoo.divergences.transport import Wasserstein
from genzoo.errors import SettingError
from genzoo.registry.build import build


def by_permutations(x, y, order):
    """Compute the definition: the minimum over all matchings."""
    n = len(x)
    return min(
        sum(math.dist(x[i], y[j]) ** order for i, j in enumerate(p)) / n
        for p in permutations(range(n))
    ) ** (1 / order)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dim", [1, 2, 7])
def test_the_distance_is_that_of_the_best_matching(dim, order):
    for _ in range(5):
        x, y = torch.randn(5, dim).double(), torch.randn(5, dim).double()
        assert Wasserstein(order)(x, y).item() == pytest.approx(
            by_permutations(x.tolist(), y.tolist(), order), rel=1e-12
        )


def test_one_dimension_equals_scipy():
    x, y = torch.randn(300, 1).double(), 2 * torch.randn(300, 1).double() + 1
    expected = wasserstein_distance(x.flatten().numpy(), y.flatten().numpy())
    assert Wasserstein()(x, y).item() == pytest.approx(expected, rel=1e-12)
    second = np.sqrt(np.mean((np.sort(x.flatten()) - np.sort(y.flatten())) ** 2))
    assert Wasserstein(2)(x, y).item() == pytest.approx(second, rel=1e-12)


@pytest.mark.parametrize(
    ("mean", "sd", "first", "second"),
    [(0, 2, 0.797885, 1), (2, 3, 2.333262, 2.828427), (4, 1, 4, 4)],
    ids=str,
)
def test_quantiles_of_gaussians_match_the_closed_form(mean, sd, first, second):
    """Compare quantiles of a normal distribution with those of N(0, 1), without random noise."""
    z = torch.special.ndtri((torch.arange(40_000).double() + 0.5) / 40_000)[:, None]
    assert Wasserstein()(z, mean + sd * z.flip(0)).item() == pytest.approx(first, abs=1e-3)
    assert Wasserstein(2)(z, mean + sd * z.flip(0)).item() == pytest.approx(second, abs=1e-3)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dim", [1, 3])
def test_the_distance_of_a_shift_is_its_length(dim, order):
    x, shift = torch.randn(200, dim), torch.arange(1.0, dim + 1)
    moved = (x + shift)[torch.randperm(200)]
    assert Wasserstein(order)(x, moved).item() == pytest.approx(shift.norm().item(), rel=1e-5)


def test_the_order_of_rows_does_not_matter():
    x, y = torch.randn(50, 2).double(), torch.randn(50, 2).double()
    assert Wasserstein()(x, y).item() == pytest.approx(
        Wasserstein()(x[torch.randperm(50)], y[torch.randperm(50)]).item(), rel=1e-12
    )


def test_samples_of_one_distribution_have_a_positive_distance_in_several_dimensions():
    assert Wasserstein(2)(torch.randn(300, 5), torch.randn(300, 5)).item() ** 2 == pytest.approx(
        1.27, abs=0.15
    )


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dim", [1, 3])
def test_gradients_in_both_samples_are_correct(dim, order):
    x, y = (torch.randn(6, dim, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(Wasserstein(order), (x, y))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dim", [1, 2])
def test_equal_samples_have_zero_gradient(dim, order):
    x = torch.randn(9, dim, requires_grad=True)
    value = Wasserstein(order)(x, x.detach().flip(0))
    value.backward()
    assert value.item() == 0
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_the_prior_draws_as_many_samples_as_there_are_codes():
    class Grid(Prior):
        def __init__(self, dim):
            super().__init__()
            self.dim = dim

        def sample(self, n):
            return torch.arange(n, dtype=torch.float64)[:, None].expand(n, self.dim)

    x = torch.tensor([[3.0], [0.0], [1.0]])
    assert Wasserstein()(x, Grid(1)).item() == pytest.approx(1 / 3)  # to 0, 1, and 2
    assert (
        build("wasserstein", "divergences")(
            torch.randn(50, 2) + 100, build("normal", "priors", dim=2)
        ).item()
        > 100
    )


@pytest.mark.parametrize("dim", [1, 2])
def test_non_finite_values_stay_non_finite(dim):
    x, y = torch.randn(4, dim), torch.randn(4, dim)
    assert Wasserstein()(torch.where(x == x[0, 0], math.nan, x), y).isnan()
    assert Wasserstein()(torch.where(x == x[0, 0], math.inf, x), y).isinf()


def test_half_precision_is_computed_in_single_precision():
    x = torch.randn(20, 2).bfloat16()
    value = Wasserstein()(x, x.flip(0) + 1000)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(1000 * math.sqrt(2), rel=0.01)


@pytest.mark.parametrize(
    ("x", "y"), [((3, 2), (4, 2)), ((3, 2), (3, 1)), ((3,), (3,)), ((0, 2), (0, 2))]
)
def test_unequal_samples_are_refused(x, y):
    with pytest.raises(SettingError, match=r"Wasserstein between samples of shapes \(.*equal size"):
        Wasserstein()(torch.zeros(x), torch.zeros(y))


def test_the_order_must_be_one_or_two():
    with pytest.raises(SettingError, match="order = 3"):
        build({"name": "wasserstein", "order": 3}, "divergences")


def test_a_mixture_that_learns_its_weights_is_refused():
    prior = build({"name": "mog", "components": 3, "learn": True}, "priors", dim=2)
    with pytest.raises(SettingError, match=r'MixtureOfGaussians no gradient; take "mmd"'):
        Wasserstein()(torch.rand(6, 2), prior)
