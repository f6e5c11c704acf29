import math

import numpy as np
import pytest
import torch
from scipy import stats

import genzoo.distributed as ranks
from genzoo import distributed
from genzoo.errors import SettingError
from genzoo.priors.simple import Normal, Sphere, Uniform
from genzoo.registry.build import build

ALL = [lambda dim: Normal(dim, 1.5), lambda dim: Uniform(dim, -0.5, 2.0), lambda dim: Sphere(dim)]


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("make", ALL)
def test_samples_have_the_stated_variance(make, dim):
    prior = make(dim)
    z = prior.sample(20_000)
    assert z.shape == (20_000, dim)
    torch.testing.assert_close(z.var(dim=0), prior.variance, rtol=0.04, atol=0)


def test_the_normal_density_equals_scipy():
    z = np.random.default_rng(0).normal(size=(7, 3))
    log_prob = Normal(3, 0.7).double().log_prob(torch.from_numpy(z))
    np.testing.assert_allclose(
        log_prob, stats.norm(scale=0.7).logpdf(z).sum(axis=1), rtol=0, atol=1e-13
    )


def test_the_uniform_density_equals_scipy_inside_and_outside():
    z = np.array([[0.0, 0.1], [-0.5, 2.0], [2.1, 0.0]])
    log_prob = Uniform(2, -0.5, 2.0).double().log_prob(torch.from_numpy(z))
    np.testing.assert_allclose(
        log_prob, stats.uniform(-0.5, 2.5).logpdf(z).sum(axis=1), rtol=0, atol=1e-13
    )


def test_normal_and_uniform_samples_follow_their_distributions():
    assert stats.kstest(Normal(1, 0.7).sample(5000)[:, 0], stats.norm(scale=0.7).cdf).pvalue > 0.01
    assert (
        stats.kstest(Uniform(1, -0.5, 2.0).sample(5000)[:, 0], stats.uniform(-0.5, 2.5).cdf).pvalue
        > 0.01
    )


def test_the_sphere_is_uniform():
    z = Sphere(3, radius=2.0).sample(5000)
    torch.testing.assert_close(z.norm(dim=1), torch.full((5000,), 2.0))
    for (
        axis
    ) in z.T:  # Archimedes: each coordinate of a uniform point on the sphere in space is uniform
        assert stats.kstest(axis, stats.uniform(-2, 4).cdf).pvalue > 0.01


def test_the_sphere_in_one_dimension_is_two_points():
    z = Sphere(1, radius=2.0).sample(1000)
    assert set(z.flatten().tolist()) == {-2.0, 2.0}
    assert abs(z.mean()) < 0.2


def test_the_sphere_has_no_density():
    with pytest.raises(SettingError, match="Sphere has no density"):
        Sphere(3).log_prob(torch.ones(1, 3))


@pytest.mark.parametrize("threshold", [0.01, 0.7, 2.0])
def test_the_truncated_normal_equals_scipy(threshold):
    z = Normal(2, 0.5).double().truncated(20_000, threshold)
    distribution = stats.truncnorm(-threshold, threshold, scale=0.5)
    assert z.shape == (20_000, 2)
    assert z.abs().max() <= 0.5 * threshold
    assert stats.kstest(z.flatten(), distribution.cdf).pvalue > 0.01
    assert float(z.mean()) == pytest.approx(0, abs=4 * distribution.std() / math.sqrt(z.numel()))
    assert float(z.var()) == pytest.approx(distribution.var(), rel=0.02)
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.03


@pytest.mark.parametrize("threshold", [6.0, 60.0])
def test_a_large_truncation_threshold_has_no_effect(threshold):
    z = Normal(1, 0.7).truncated(20_000, threshold)
    assert z.isfinite().all()
    assert stats.kstest(z[:, 0], stats.norm(scale=0.7).cdf).pvalue > 0.01


def test_truncation_keeps_its_bounds_at_the_edges_of_the_noise(monkeypatch):
    for u in (0.0, 1 - 2**-53):
        monkeypatch.setattr(ranks, "uniform", lambda n, dim, like, u=u: like.new_full((n, dim), u))
        for threshold in (0.3, 60.0):
            z = Normal(2).truncated(3, threshold)
            assert z.abs().max() <= threshold
            assert (z < 0).all() == (u == 0)


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan, math.inf])
def test_truncation_needs_a_positive_number(threshold):
    with pytest.raises(SettingError, match=f"truncation at {threshold:g} standard deviations"):
        Normal(2).truncated(3, threshold)


@pytest.mark.parametrize("make", ALL[1:])
def test_priors_without_tails_are_not_truncated(make):
    with pytest.raises(SettingError, match="cannot be truncated"):
        make(2).truncated(3, 1.0)


def test_truncated_samples_follow_the_module_and_agree_across_ranks():
    prior = Normal(2).double()
    torch.manual_seed(3)
    whole = prior.truncated(6, 1.5)
    assert whole.dtype == torch.float64
    parts = []
    for rank in range(2):
        torch.manual_seed(3)
        with distributed.emulate_rank(rank, 2):
            parts.append(prior.truncated(3, 1.5))
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("make", ALL)
def test_samples_follow_the_module_and_agree_across_ranks(make):
    prior = make(2).double()
    assert prior.sample(1).dtype == torch.float64
    torch.manual_seed(3)
    whole = prior.sample(6)
    parts = []
    for rank in range(2):
        torch.manual_seed(3)
        with distributed.emulate_rank(rank, 2):
            parts.append(prior.sample(3))
    assert torch.equal(torch.cat(parts), whole)


def test_simple_priors_have_one_stratum():
    z, weights = Normal(2).strata(5)
    assert z.shape == (1, 5, 2)
    assert weights.tolist() == [1.0]


def test_gaussians_describe_the_normal():
    weights, means, scales = Normal(2, 0.5).gaussians()
    assert weights.tolist() == [1.0]
    assert means.tolist() == [[0.0, 0.0]]
    assert scales.tolist() == [[0.5, 0.5]]


def test_settings_of_simple_priors_are_checked():
    assert Sphere(9).radius == math.sqrt(9)
    assert build({"name": "uniform", "low": 0}, "priors", dim=2).config == {
        "name": "uniform",
        "dim": 2,
        "low": 0.0,
        "high": 1.0,
    }
    with pytest.raises(SettingError, match="low = 1 is not below high = 1"):
        Uniform(2, low=1.0)
    with pytest.raises(SettingError, match=r"scale = -1.0: expected greater than 0"):
        Normal(2, scale=-1.0)
