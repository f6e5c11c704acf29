from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Independent, Normal

from genzoo.contract import Prior
from genzoo.registry.build import build


def measure(encode, n=3000, dim=4, **capabilities):
    torch.manual_seed(0)
    model = SimpleNamespace(
        **{"prior": build("normal", "priors", dim=dim), "encode": encode, **capabilities}
    )
    x = torch.randn(n, dim)
    return build("codes", "metrics")(model, [x[: n // 3], x[n // 3 :]])


def test_matching_codes_have_values_near_zero():
    values = measure(lambda x: x)
    assert values["squared_norm"] == pytest.approx(1, abs=0.05)
    assert values["mean_deviation"] < 0.1
    assert values["covariance_deviation"] < 0.2
    assert abs(values["divergence"]) < 0.01


def test_shifted_codes():
    values = measure(lambda x: x + torch.tensor([3.0, 0, 4, 0]))
    assert values["squared_norm"] == pytest.approx(1 + 25 / 4, rel=0.05)
    assert values["mean_deviation"] == pytest.approx(5, rel=0.02)
    assert values["covariance_deviation"] < 0.2
    assert values["divergence"] > 0.5


def test_wide_codes():
    values = measure(lambda x: 2 * x)
    assert values["squared_norm"] == pytest.approx(4, rel=0.05)
    # |4 I - I| of four coordinates
    assert values["covariance_deviation"] == pytest.approx(3 * 2, rel=0.05)


def test_one_latent_dimension():
    assert measure(lambda x: x, dim=1)["covariance_deviation"] < 0.1


def test_codes_of_random_encoders_are_sampled():
    values = measure(
        torch.zeros_like,
        posterior=lambda x: Independent(Normal(torch.zeros_like(x), torch.ones_like(x)), 1),
    )
    assert values["squared_norm"] == pytest.approx(1, abs=0.05)


def test_a_prior_without_a_stated_variance():
    class Quiet(Prior):
        def sample(self, n):
            return torch.randn(n, 4)

    values = measure(lambda x: x, prior=Quiet())
    assert sorted(values) == ["covariance_deviation", "mean_deviation", "squared_norm"]
    assert values["squared_norm"] == pytest.approx(1, abs=0.05)
