import pytest
import torch
from torch.distributions import Independent, Normal

from genzoo.contract import Prior
from genzoo.registry.build import build
from tests.metrics.stand_in import StandIn, values


def measure(encode, n=3000, dim=4, **capabilities):
    x = torch.randn(n, dim, generator=torch.Generator().manual_seed(1))
    members = {"prior": build("normal", "priors", dim=dim), "encode": encode, **capabilities}
    return values("codes", StandIn((dim,), **members), x, batch_size=2 * n // 3)


def test_matching_codes_have_values_near_zero():
    measured = measure(lambda x: x)
    assert measured["squared_norm"] == pytest.approx(1, abs=0.05)
    assert measured["mean_deviation"] < 0.1
    assert measured["covariance_deviation"] < 0.2
    assert abs(measured["divergence"]) < 0.01


def test_shifted_codes():
    measured = measure(lambda x: x + torch.tensor([3.0, 0, 4, 0]))
    assert measured["squared_norm"] == pytest.approx(1 + 25 / 4, rel=0.05)
    assert measured["mean_deviation"] == pytest.approx(5, rel=0.02)
    assert measured["covariance_deviation"] < 0.2
    assert measured["divergence"] > 0.5


def test_wide_codes():
    measured = measure(lambda x: 2 * x)
    assert measured["squared_norm"] == pytest.approx(4, rel=0.05)
    # |4 I - I| of four coordinates
    assert measured["covariance_deviation"] == pytest.approx(3 * 2, rel=0.05)


def test_one_latent_dimension():
    assert measure(lambda x: x, dim=1)["covariance_deviation"] < 0.1


def test_codes_of_random_encoders_are_sampled():
    measured = measure(
        torch.zeros_like,
        posterior=lambda x: Independent(Normal(torch.zeros_like(x), torch.ones_like(x)), 1),
    )
    assert measured["squared_norm"] == pytest.approx(1, abs=0.05)


def test_a_prior_without_a_stated_variance():
    class Quiet(Prior):
        def sample(self, n):
            return torch.randn(n, 4)

    measured = measure(lambda x: x, prior=Quiet())
    assert sorted(measured) == ["covariance_deviation", "mean_deviation", "squared_norm"]
    assert measured["squared_norm"] == pytest.approx(1, abs=0.05)
