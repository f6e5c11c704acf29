"""Annealed importance sampling against likelihoods that are known without it."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal

from genzoo import build
from genzoo.metrics import ais_lower_bound, ais_upper_bound
from tests.metrics.stand_in import StandIn, measurements

WEIGHT = torch.tensor([[1.5, 0.0], [0.8, -0.7], [0.0, 1.2]])
NOISE = 0.5


def linear(scale=1.0, shift=0.0):
    """Return p(x | z) = N(W z, s^2 I), with a posterior that is scaled and shifted."""
    precision = torch.eye(2) + WEIGHT.T @ WEIGHT / NOISE**2
    gain = precision.inverse() @ WEIGHT.T / NOISE**2
    deviation = precision.inverse().diagonal().sqrt()
    return StandIn(
        (3,),
        prior=build("normal", "priors", dim=2),
        posterior=lambda x: Independent(Normal(x @ gain.T + shift, scale * deviation), 1),
        conditional=lambda z: Independent(Normal(z @ WEIGHT.T, NOISE), 1),
    )


TRUTH = MultivariateNormal(torch.zeros(3), WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(3))


def mean_and_error(values):
    return values.mean().item(), values.std().item() / math.sqrt(len(values))


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (2.0, 0.5), (0.4, 0.5)])
def test_both_ends_enclose_the_linear_gaussian_likelihood(scale, shift):
    torch.manual_seed(0)
    model = linear(scale, shift)
    z = torch.randn(200, 2)
    x = model.conditional(z).sample()
    truth = TRUTH.log_prob(x).double()
    below, error_below = mean_and_error(ais_lower_bound(model, x, steps=40) - truth)
    above, error_above = mean_and_error(ais_upper_bound(model, x, z, steps=40) - truth)
    assert below < 3 * error_below
    assert above > -3 * error_above
    assert above - below < 0.6


def test_more_steps_are_tighter():
    torch.manual_seed(0)
    model = linear(0.4, 0.5)
    z = torch.randn(200, 2)
    x = model.conditional(z).sample()
    truth = TRUTH.log_prob(x).double()
    lower = [(ais_lower_bound(model, x, steps=t) - truth).mean() for t in (1, 5, 40)]
    upper = [(ais_upper_bound(model, x, z, steps=t) - truth).mean() for t in (1, 5, 40)]
    assert lower[0] < lower[1] < lower[2]
    assert upper[0] > upper[1] > upper[2]


def test_one_step_is_the_importance_weighted_bound():
    """With the exact posterior in one dimension, every weight is the likelihood."""
    model = StandIn(
        (1,),
        prior=build("normal", "priors", dim=1),
        posterior=lambda x: Independent(Normal(x / 2, math.sqrt(0.5)), 1),
        conditional=lambda z: Independent(Normal(z, 1.0), 1),
    )
    x = torch.tensor([[0.3], [-2.0]])
    truth = Normal(0.0, math.sqrt(2)).log_prob(x[:, 0]).double()
    torch.testing.assert_close(ais_lower_bound(model, x, steps=1), truth, atol=1e-5, rtol=0)
    z = torch.tensor([[1.0], [2.0]])
    torch.testing.assert_close(ais_upper_bound(model, x, z, steps=3), truth, atol=1e-5, rtol=0)


def test_bits_of_a_nonlinear_decoder_against_quadrature():
    weight = torch.tensor([3.0, -2.0, 1.0, 4.0])
    model = StandIn(
        (4,),
        prior=build("normal", "priors", dim=1),
        posterior=lambda x: Independent(Normal(torch.zeros(len(x), 1), 1.2), 1),
        conditional=lambda z: Independent(Bernoulli(logits=torch.sin(2 * z) * weight + z), 1),
    )
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    torch.manual_seed(1)
    z = torch.randn(100, 1)
    x = model.conditional(z).sample()
    joint = model.conditional(grid.float()).log_prob(x[:, None]).double()
    joint += Normal(0.0, 1.0).log_prob(grid[:, 0])
    truth = joint.logsumexp(dim=1) + math.log(16 / 4000)
    below, error_below = mean_and_error(ais_lower_bound(model, x, steps=60) - truth)
    above, error_above = mean_and_error(ais_upper_bound(model, x, z, steps=60) - truth)
    assert -0.1 < below < 3 * error_below
    assert -3 * error_above < above < 0.1


def test_the_metric_reports_both_ends():
    table = {"name": "ais", "limit": 7, "steps": 10, "chains": 2}
    model = linear(2.0)
    x = TRUTH.sample((9,))
    rows = measurements(table, model, x, batch_size=5)
    assert list(rows) == ["lower_bound", "simulated_lower_bound", "simulated_upper_bound", "gap"]
    assert {row.n for row in rows.values()} == {7}
    assert {row.estimator for row in rows.values()} == {"AIS, 10 steps, 2 chains, 3 leapfrog steps"}
    ends = rows["simulated_upper_bound"].value - rows["simulated_lower_bound"].value
    assert rows["gap"].value == pytest.approx(ends)
    assert rows["lower_bound"].value == pytest.approx(TRUTH.log_prob(x[:7]).mean().item(), abs=1)


def test_weights_get_no_gradients_and_modes_of_torch_do_not_matter():
    vae = build({"name": "vae", "latent_dim": 2}, shape=(3,)).eval()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert ais_lower_bound(vae, torch.rand(2, 3), steps=3).isfinite().all()
    assert all(p.grad is None for p in vae.parameters())
