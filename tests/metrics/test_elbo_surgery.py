"""ELBO surgery against closed forms of Gaussians."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from genzoo import build
from genzoo.contract import Prior
from genzoo.errors import DataError
from genzoo.metrics import aggregate_log_prob
from tests.metrics.stand_in import StandIn, measurements


def model(mean, deviation, dim):
    return StandIn(
        (dim,),
        prior=build("normal", "priors", dim=dim),
        posterior=lambda x: Independent(Normal(mean(x), deviation), 1),
    )


def test_the_aggregate_posterior_is_a_mixture():
    torch.manual_seed(0)
    means, scales, z = torch.randn(7, 3), torch.rand(7, 3) + 0.1, 2 * torch.randn(5, 3)
    mixture = MixtureSameFamily(Categorical(torch.ones(7)), Independent(Normal(means, scales), 1))
    parts = [Independent(Normal(means[rows], scales[rows]), 1) for rows in (slice(4), slice(4, 7))]
    torch.testing.assert_close(aggregate_log_prob(parts, z).float(), mixture.log_prob(z))


def test_a_linear_gaussian_model():
    """x ~ N(0, I) and z = A x + s noise: all three numbers have closed forms."""
    matrix, s = torch.tensor([[0.8, 0.0], [0.4, 0.3]]), 0.6
    torch.manual_seed(1)
    x = torch.randn(3000, 2)
    rows = measurements(
        {"name": "elbo-surgery", "limit": 3000}, model(lambda x: x @ matrix.T, s, 2), x
    )
    covariance = matrix @ matrix.T + s**2 * torch.eye(2)
    information = 0.5 * (covariance.logdet() - 2 * math.log(s**2)).item()
    aggregate = MultivariateNormal(torch.zeros(2), covariance)
    marginal = kl_divergence(aggregate, MultivariateNormal(torch.zeros(2), torch.eye(2))).item()
    kl = information + marginal
    expected = {"mutual_information": information, "marginal_kl": marginal, "kl": kl}
    for name, value in expected.items():
        row = rows[name]
        assert row.n == 3000
        assert row.value == pytest.approx(value, abs=4 * row.standard_error)
    assert max(row.standard_error for row in rows.values() if row.standard_error) < 0.03


def test_separate_codes_have_the_information_log_n():
    x = torch.arange(40.0)[:, None]
    rows = measurements("elbo-surgery", model(lambda x: 100 * x, 1.0, 1), x, batch_size=15)
    assert rows["mutual_information"].value == pytest.approx(math.log(40))
    assert rows["bound"].value == pytest.approx(math.log(40))


def test_a_collapsed_posterior_has_none():
    rows = measurements("elbo-surgery", model(torch.zeros_like, 1.0, 3), torch.rand(50, 3))
    for name in ("kl", "mutual_information", "marginal_kl"):
        assert rows[name].value == pytest.approx(0, abs=1e-5)


def test_the_limit_counts_examples():
    rows = measurements(
        {"name": "elbo-surgery", "limit": 7}, model(lambda x: x, 1.0, 1), torch.rand(9, 1),
        batch_size=5,
    )  # fmt: skip
    assert {row.n for row in rows.values()} == {7}


def test_refusals():
    class Quiet(Prior):
        dim = 1

    metric = build("elbo-surgery", "metrics")
    assert metric.lacking(StandIn((1,), prior=Quiet(), posterior=None)) == [
        "a prior with a density"
    ]
    assert metric.lacking(StandIn((1,))) == ["posterior", "prior"]
    with pytest.raises(DataError, match="two held-out examples, not 1"):
        measurements(metric, model(lambda x: x, 1.0, 1), torch.rand(1, 1))
