import ot
import pytest
import torch
from torch.distributions import Independent, Normal

from genzoo.contract import Prior
from genzoo.registry.build import build
from tests.metrics.stand_in import StandIn, measurements


def rows_of(encode, n=3000, dim=4, seed=0, **capabilities):
    x = torch.randn(n, dim, generator=torch.Generator().manual_seed(1))
    members = {"prior": build("normal", "priors", dim=dim), "encode": encode, **capabilities}
    table = {"name": "codes", "limit": 300}
    return measurements(table, StandIn((dim,), **members), x, batch_size=2 * n // 3, seed=seed)


def measure(*arguments, **settings):
    return {name: row.value for name, row in rows_of(*arguments, **settings).items()}


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
    assert "divergence" not in measured
    assert measured["squared_norm"] == pytest.approx(1, abs=0.05)


def test_floors_compare_another_sample_from_the_prior():
    rows = rows_of(lambda x: x + 1)
    assert rows["squared_norm"].floor == pytest.approx(1, abs=0.05)
    assert rows["mean_deviation"].floor < 0.1 < rows["mean_deviation"].value
    assert rows["covariance_deviation"].floor < 0.2
    assert abs(rows["divergence"].floor) < 0.01


@pytest.mark.parametrize("dim", [1, 3])
def test_w2_of_codes_is_exact(dim):
    """The samples of the prior are known, so POT can compare the same points."""
    torch.manual_seed(2)
    prior_samples = list(torch.randn(2, 200, dim))

    class Replay(Prior):
        def __init__(self):
            super().__init__()
            self.samples = iter(prior_samples)

        def sample(self, n):
            return next(self.samples)

    x = 1 + torch.randn(200, dim)
    model = StandIn((dim,), prior=Replay(), encode=lambda x: x)
    row = measurements("codes", model, x)["w2"]
    cost = [ot.dist(a.numpy(), prior_samples[0].numpy()) for a in (x, prior_samples[1])]
    value, floor = (ot.emd2([], [], c) ** 0.5 for c in cost)
    assert (row.value, row.floor, row.n) == (pytest.approx(value), pytest.approx(floor), 200)


def test_the_permutation_test_has_its_level_and_power():
    class Drawn(Prior):
        def __init__(self, seed):
            super().__init__()
            self.generator = torch.Generator().manual_seed(seed)

        def sample(self, n):
            return torch.randn(n, 4, generator=self.generator)

    def rejections(shift):
        priors = [Drawn(seed) for seed in range(40)]
        rows = [
            rows_of(lambda x, p=prior: p.sample(len(x)) + shift, n=100, prior=prior)
            for prior in priors
        ]
        return sum(row["p_value"].value <= 0.05 for row in rows)

    # the number of false rejections at 5 % is binomial: 8 or more have a probability of 0.001
    assert rejections(0.0) < 8
    assert rejections(0.6) > 36


def test_active_units_are_those_whose_mean_varies():
    rows = rows_of(lambda x: x * torch.tensor([1.0, 0.2, 0.05, 0.0]))
    assert rows["active_units"].value == 2
    # the noise of the posterior does not make a coordinate active
    noisy = rows_of(
        torch.zeros_like,
        posterior=lambda x: Independent(Normal(torch.zeros_like(x), torch.ones_like(x)), 1),
    )
    assert noisy["active_units"].value == 0
