"""Samples are decoded draws from the prior; a learned prior has stratified expectations."""

import numpy as np
import pytest
import torch

from genzoo.errors import SettingError
from genzoo.models.gan import GAN
from genzoo.models.latent import LatentModel, learned, positive_everywhere
from genzoo.priors.mixture import MixtureOfGaussians
from genzoo.priors.simple import Normal, Sphere, Uniform


class Identity(LatentModel):
    """A model whose samples are the latent vectors."""

    def __init__(self, prior, shape=(2,)):
        super().__init__()
        self.prior, self.shape, self.latent_dim = prior, shape, shape[0]

    def decode(self, z):
        return z


@pytest.mark.parametrize("threshold", [0.1, 0.5, 2.0])
def test_truncation_keeps_each_coordinate_near_its_mean(threshold):
    model = Identity(Normal(2, scale=3.0))
    x = model.sample(20_000, truncation=threshold)
    assert x.abs().max() <= 3 * threshold
    assert x.abs().max() > 2.9 * threshold
    # the variance of a normal distribution on [-t, t]
    phi = np.exp(-(threshold**2) / 2) / np.sqrt(2 * np.pi)
    inside = torch.distributions.Normal(0, 1).cdf(torch.tensor(threshold)).item() * 2 - 1
    assert x.var().item() == pytest.approx(9 * (1 - 2 * threshold * phi / inside), rel=0.03)


def test_truncation_of_a_mixture_is_around_the_component_means():
    prior = MixtureOfGaussians(2, components=4, means="ring", radius=5.0, scale=0.5)
    x = Identity(prior).sample(2000, truncation=0.4)
    means = 5 * torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    away = (x[:, None] - means).abs().amax(2).amin(1)
    assert away.max() <= 0.4 * 0.5 + 1e-5
    assert all(
        ((x - mean).norm(dim=1) < 1).float().mean() == pytest.approx(0.25, abs=0.05)
        for mean in means
    )


def test_truncation_of_an_unsupported_prior_is_refused():
    with pytest.raises(
        SettingError,
        match=r'Uniform cannot be truncated; take a prior that can, such as "normal" or "mog"',
    ):
        GAN(2, prior="uniform", shape=(3,)).sample(5, truncation=1.0)
    with pytest.raises(
        SettingError, match=r"truncation at 0 standard deviations; take a number above 0"
    ):
        Identity(Normal(2)).sample(5, truncation=0.0)


def test_samples_have_no_gradient_and_the_dtype_of_the_model():
    x = GAN(2, prior="mog", shape=(3,)).double().sample(4)
    assert (x.shape, x.dtype, x.requires_grad) == ((4, 3), torch.float64, False)


def weigh(z):
    """A polynomial whose mean under N(m, s^2) is m1^2 + s1^2 + 3 m2 + m1 m2."""
    return z[:, 0] ** 2 + 3 * z[:, 1] + z[:, 0] * z[:, 1]


def test_expectation_under_a_learned_mixture_and_its_gradient():
    prior = MixtureOfGaussians(2, components=3, learn=True).double()
    weights, means = (
        torch.tensor([0.5, 0.2, 0.3]).double(),
        torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.0, -3.0]]).double(),
    )
    scales = torch.tensor([[0.3, 0.1], [0.7, 0.2], [1.0, 1.5]]).double()
    with torch.no_grad():
        prior.logits.copy_(weights.log())
        prior.means.copy_(means)
        prior.log_scales.copy_(scales.log())
    Identity(prior).expectation(weigh, 300_000).backward()
    value = Identity(prior).expectation(weigh, 300_000)
    of_each = means[:, 0] ** 2 + scales[:, 0] ** 2 + 3 * means[:, 1] + means[:, 0] * means[:, 1]
    mean = (weights * of_each).sum()
    assert value.item() == pytest.approx(mean.item(), abs=0.02)
    torch.testing.assert_close(prior.logits.grad, weights * (of_each - mean), rtol=0, atol=0.02)
    by_means = weights[:, None] * torch.stack(
        [2 * means[:, 0] + means[:, 1], 3 + means[:, 0]], dim=1
    )
    torch.testing.assert_close(prior.means.grad, by_means, rtol=0, atol=0.02)
    by_log_scales = weights[:, None] * torch.stack(
        [2 * scales[:, 0] ** 2, torch.zeros(3).double()], dim=1
    )
    torch.testing.assert_close(prior.log_scales.grad, by_log_scales, rtol=0, atol=0.02)


def test_expectation_under_a_prior_without_parameters_is_a_mean_over_draws():
    calls = []
    value = Identity(Normal(2)).expectation(lambda z: calls.append(z) or weigh(z), 100_000)
    assert value.item() == pytest.approx(1, abs=0.05)
    assert calls[0].shape == (100_000, 2)


def test_a_prior_is_learned_if_it_has_parameters():
    assert not learned(MixtureOfGaussians(2))
    assert learned(MixtureOfGaussians(2, learn=True))


def test_positive_everywhere_of_each_prior():
    assert positive_everywhere(Normal(2))
    assert positive_everywhere(MixtureOfGaussians(2))
    assert not any(positive_everywhere(prior) for prior in (Uniform(2), Sphere(2)))
