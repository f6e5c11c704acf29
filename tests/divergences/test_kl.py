import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import (
    Categorical,
    Independent,
    Laplace,
    MixtureSameFamily,
    Normal,
    kl_divergence,
)

from genzoo.divergences.kl import KL
from genzoo.errors import SettingError
from genzoo.priors.mixture import MixtureOfGaussians
from genzoo.priors.simple import Normal as NormalPrior
from genzoo.priors.simple import Sphere, Uniform


def posterior(mean, std):
    return Independent(Normal(mean, std), 1)


def two_humps():
    return MixtureOfGaussians(1, 2, radius=2.0, scale=0.5).double()


@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize("dim", [1, 5])
def test_the_closed_form_equals_torch(dim, scale):
    q = posterior(torch.randn(6, dim).double(), torch.rand(6, dim).double() + 0.1)
    expected = kl_divergence(
        q, posterior(torch.zeros(dim).double(), torch.full((dim,), scale, dtype=torch.float64))
    )
    torch.testing.assert_close(
        KL("closed-form")(q, NormalPrior(dim, scale).double()), expected, rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        KL()(q, NormalPrior(dim, scale).double()), expected, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("m", [0.1, 0.5, 1.0, 2.0, 4.0, 8.0])
def test_the_kl_of_a_shifted_normal_is_half_the_squared_shift(m):
    q = posterior(torch.tensor([[m]], dtype=torch.float64), torch.ones(1, 1).double())
    assert float(KL()(q, NormalPrior(1).double())) == pytest.approx(m**2 / 2, abs=1e-12)


@pytest.mark.parametrize(("std", "expected"), [(1.0, 3.07609), (2.0, 2.02022)])
def test_the_kl_to_two_humps_by_monte_carlo(std, expected):
    distribution = stats.norm(0, std)
    humps = lambda z: np.log(0.5 * stats.norm(-2, 0.5).pdf(z) + 0.5 * stats.norm(2, 0.5).pdf(z))  # noqa: E731
    exact, _ = integrate.quad(
        lambda z: distribution.pdf(z) * (distribution.logpdf(z) - humps(z)),
        -8 * std,
        8 * std,
        points=[-2, 0, 2],
        limit=200,
    )
    assert exact == pytest.approx(expected, abs=1e-4)
    draws = KL()(
        posterior(torch.zeros(200_000, 1).double(), torch.full((200_000, 1), std).double()),
        two_humps(),
    )
    assert float(draws.mean()) == pytest.approx(
        exact, abs=4 * float(draws.std()) / math.sqrt(200_000)
    )


def test_one_of_k_separated_components_costs_log_k():
    prior = MixtureOfGaussians(2, 8, "ring", radius=50.0, scale=1.0)
    estimate = KL()(posterior(prior.means, torch.ones(8, 2)), prior)
    torch.testing.assert_close(estimate, torch.full((8,), math.log(8)), rtol=0, atol=1e-4)


def test_the_kl_of_a_distribution_from_itself_is_zero_for_every_draw():
    q = posterior(torch.zeros(5, 3), torch.full((5, 3), 0.7))
    torch.testing.assert_close(
        KL("monte-carlo")(q, NormalPrior(3, 0.7)), torch.zeros(5), rtol=0, atol=1e-5
    )


def test_monte_carlo_uses_the_given_draw():
    q, prior = (
        posterior(torch.zeros(1, 1).double(), torch.ones(1, 1).double()),
        Uniform(1, -2.0, 2.0).double(),
    )
    inside = KL()(q, prior, z=torch.tensor([[1.0]]).double())
    assert float(inside) == pytest.approx(stats.norm.logpdf(1) - math.log(1 / 4), abs=1e-12)
    assert float(KL()(q, prior, z=torch.tensor([[3.0]]).double())) == math.inf


def test_monte_carlo_gradient_reaches_the_posterior():
    mean = torch.full((100_000, 1), 0.5).double().requires_grad_()
    KL("monte-carlo")(
        posterior(mean, torch.ones_like(mean)), NormalPrior(1).double()
    ).sum().backward()
    assert float(mean.grad.mean()) == pytest.approx(0.5, abs=0.02)  # d/dm of m^2 / 2


def test_gradients_of_a_learned_mixture_equal_torch():
    prior, q = (
        MixtureOfGaussians(2, 3, learn=True).double(),
        posterior(torch.ones(4, 2).double(), torch.ones(4, 2).double()),
    )
    z = q.sample()
    distribution = MixtureSameFamily(
        Categorical(logits=prior.logits),
        Independent(Normal(prior.means, prior.log_scales.exp()), 1),
        validate_args=False,
    )
    expected = torch.autograd.grad(
        (q.log_prob(z) - distribution.log_prob(z)).sum(), tuple(prior.parameters())
    )
    gradients = torch.autograd.grad(KL()(q, prior, z).sum(), tuple(prior.parameters()))
    torch.testing.assert_close(gradients, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("std", [1e-25, 1e15])
def test_extreme_widths_are_accurate_in_single_precision(std):
    q = posterior(torch.ones(1, 2), torch.full((1, 2), std))
    double = posterior(torch.ones(1, 2).double(), torch.full((1, 2), std).double())
    # 2 * (log 1e25) for the first
    expected = kl_divergence(double, posterior(torch.zeros(2).double(), torch.ones(2).double()))
    torch.testing.assert_close(KL()(q, NormalPrior(2)).double(), expected, rtol=1e-6, atol=0)


def test_one_component_has_a_closed_form():
    q = posterior(torch.ones(1, 2), torch.ones(1, 2))
    assert float(KL("closed-form")(q, MixtureOfGaussians(2, 1, scale=1.0))) == pytest.approx(
        1.0, abs=1e-6
    )


def test_refusals():
    q = posterior(torch.zeros(1, 3), torch.ones(1, 3))
    with pytest.raises(
        SettingError, match=r'between Normal and MixtureOfGaussians, .*"monte-carlo"'
    ):
        KL("closed-form")(q, MixtureOfGaussians(3))
    with pytest.raises(SettingError, match="Sphere has no density"):
        KL()(q, Sphere(3))
    laplace = Independent(Laplace(torch.zeros(1, 3), torch.ones(1, 3)), 1)
    with pytest.raises(SettingError, match="pass a sample z from Laplace"):
        KL()(laplace, NormalPrior(3))
    assert KL()(laplace, NormalPrior(3), z=torch.zeros(1, 3)).shape == (1,)


def test_compiles_without_graph_breaks():
    prior, kl = NormalPrior(3), KL()

    def loss(mean, std):
        return kl(
            Independent(Normal(mean, std, validate_args=False), 1, validate_args=False), prior
        ).mean()

    mean, std = torch.randn(4, 3), torch.rand(4, 3) + 0.5
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(
        compiled(mean, std),
        kl_divergence(posterior(mean, std), posterior(mean * 0, std * 0 + 1)).mean(),
    )
