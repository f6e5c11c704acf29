import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from genzoo import distributed
from genzoo.errors import DataError, SettingError
from genzoo.priors.mixture import MixtureOfGaussians
from genzoo.registry.build import build


def uneven(dim=3, components=4):
    """Return a learned mixture with random parameters, in double precision."""
    prior = MixtureOfGaussians(dim, components, learn=True).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(torch.randn_like(parameter) / 2)
    return prior


def torchs(prior):
    normals = Independent(Normal(prior.means, prior.log_scales.exp()), 1)
    return MixtureSameFamily(Categorical(logits=prior.logits), normals)


def sklearns(prior):
    weights, means, scales = (t.detach().numpy() for t in prior.gaussians())
    distribution = GaussianMixture(len(weights), covariance_type="diag")
    (
        distribution.weights_,
        distribution.means_,
        distribution.covariances_,
        distribution.precisions_cholesky_,
    ) = weights, means, scales**2, 1 / scales
    return distribution


@pytest.mark.parametrize("dim", [1, 3])
def test_log_prob_and_responsibilities_equal_torch_and_scikit_learn(dim):
    prior, z = uneven(dim), 2 * torch.randn(9, dim).double()
    torch.testing.assert_close(prior.log_prob(z), torchs(prior).log_prob(z), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        prior.log_prob(z).detach(), sklearns(prior).score_samples(z.numpy()), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(
        prior.component(z).detach(), sklearns(prior).predict_proba(z.numpy()), rtol=0, atol=1e-12
    )


def test_log_prob_equals_pyro():
    from pyro.distributions import MixtureOfDiagNormals

    prior, z = uneven(), torch.randn(9, 3).double()
    distribution = MixtureOfDiagNormals(prior.means, prior.log_scales.exp(), prior.logits)
    torch.testing.assert_close(prior.log_prob(z), distribution.log_prob(z), rtol=0, atol=1e-12)


def test_mean_and_variance_equal_torch():
    prior = uneven()
    torch.testing.assert_close(prior.mean, torchs(prior).mean)
    torch.testing.assert_close(prior.variance, torchs(prior).variance)


def test_samples_are_independent_draws_from_the_mixture():
    prior = uneven(dim=1, components=3)
    z = prior.sample(8000).detach()[:, 0]
    weights, means, scales = (t.detach().numpy() for t in prior.gaussians())
    distribution = lambda x: (  # noqa: E731
        stats.norm(means[:, 0], scales[:, 0]).cdf(np.asarray(x)[..., None]) @ weights
    )
    assert stats.kstest(z.numpy(), distribution).pvalue > 0.01
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.04  # samples are not sorted by component


@pytest.mark.parametrize("threshold", [0.5, 1.5, 20.0])
def test_truncated_draws_are_truncated_around_their_means(threshold):
    prior = uneven(dim=1, components=3)
    z = prior.truncated(8000, threshold).detach()[:, 0]
    weights, means, scales = (t.detach().numpy() for t in prior.gaussians())
    distributions = [
        stats.truncnorm(-threshold, threshold, loc=m, scale=s)
        for m, s in zip(means[:, 0], scales[:, 0], strict=True)
    ]
    distribution = lambda x: sum(  # noqa: E731
        w * each.cdf(x) for w, each in zip(weights, distributions, strict=True)
    )
    assert stats.kstest(z.numpy(), distribution).pvalue > 0.01
    mean = sum(w * each.mean() for w, each in zip(weights, distributions, strict=True))
    second = sum(
        w * (each.var() + each.mean() ** 2) for w, each in zip(weights, distributions, strict=True)
    )
    assert float(z.mean()) == pytest.approx(mean, abs=4 * math.sqrt((second - mean**2) / 8000))
    assert float(z.var()) == pytest.approx(second - mean**2, rel=0.05)


def test_truncation_holds_in_each_coordinate():
    prior = MixtureOfGaussians(2, components=8, means="ring", radius=2.0, scale=0.3)
    # from the nearest mean
    offset = (prior.truncated(5000, 1.0)[:, None] - prior.means).abs().amax(dim=2).amin(dim=1)
    assert 0.29 < float(offset.max()) <= 0.3 + 1e-6
    with pytest.raises(SettingError, match="truncation at 0 standard deviations"):
        prior.truncated(3, 0.0)


def test_a_ring_of_eight_separates_its_components():
    prior = MixtureOfGaussians(2, components=8, means="ring", radius=2.0, scale=0.3)
    torch.testing.assert_close(prior.variance, torch.full((2,), 2.0**2 / 2 + 0.3**2))
    z, weights = prior.strata(40_000)
    label = torch.arange(8).repeat_interleave(z.shape[1])
    probability = prior.component(z.flatten(0, 1))
    usage = probability.mean(dim=0)
    assert float(torch.exp(-(usage * usage.log()).sum())) == pytest.approx(7.999, abs=0.002)
    # beyond the half-way line to either neighbor: 0.0107
    wrong = 2 * stats.norm.cdf(-2 * math.sin(math.pi / 8) / 0.3)
    assert float((probability.argmax(dim=1) == label).double().mean()) == pytest.approx(
        1 - wrong, abs=0.002
    )
    doubt = -(1 - wrong) * math.log(1 - wrong) - wrong * math.log(wrong / 2)
    assert normalized_mutual_info_score(label, probability.argmax(dim=1)) == pytest.approx(
        1 - doubt / math.log(8), abs=0.005
    )
    torch.testing.assert_close(weights, torch.full((8,), 1 / 8))


def test_strata_are_the_components_and_their_weights_learn():
    prior = uneven(dim=2, components=3)
    weights, means, scales = (t.detach() for t in prior.gaussians())
    inside = (means**2 + scales**2).sum(dim=1)  # E |z|^2 of each component
    exact = weights * (inside - weights @ inside)  # the gradient of the mean by the logits
    z, w = prior.strata(60_000)
    assert z.shape == (3, 20_000, 2)
    (gradient,) = torch.autograd.grad(w @ z.square().sum(dim=2).mean(dim=1), prior.logits)
    torch.testing.assert_close(gradient, exact, rtol=0, atol=0.03)


def test_strata_have_at_least_two_samples():
    z, _ = MixtureOfGaussians(2, components=5).strata(3)
    assert z.shape == (5, 2, 2)


def test_samples_carry_gradients_to_means_and_scales():
    prior = uneven()
    prior.sample(50).square().sum().backward()
    assert prior.means.grad.any()
    assert prior.log_scales.grad.any()


@pytest.mark.parametrize(
    "make",
    [
        lambda p, n: p.sample(n),
        lambda p, n: p.truncated(n, 1.0),
        lambda p, n: p.strata(3 * n)[0].transpose(0, 1),
    ],
    ids=["sample", "truncated", "strata"],
)
def test_samples_agree_across_ranks(make):
    prior = MixtureOfGaussians(2, components=3)
    torch.manual_seed(1)
    whole = make(prior, 6)
    parts = []
    for rank in range(2):
        torch.manual_seed(1)
        with distributed.emulate_rank(rank, 2):
            parts.append(make(prior, 3))
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(
    ("dim", "components"), [(1, 10), (2, 10), (8, 10), (64, 20), (3, 1), (2, 2)]
)
def test_by_default_variance_is_one_and_components_are_apart(dim, components):
    prior = MixtureOfGaussians(dim, components)
    assert float(prior.variance.mean()) == pytest.approx(1, abs=1e-5)
    scale = prior.log_scales.exp()
    assert float(scale.std(unbiased=False)) == pytest.approx(0, abs=1e-6)
    if components > 1:
        assert float(torch.pdist(prior.means).min() / scale[0, 0]) == pytest.approx(5, abs=1e-3)


def test_radius_and_scale_imply_each_other():
    nearest = 2 * math.sin(math.pi / 8)
    by_radius = MixtureOfGaussians(2, 8, "ring", radius=2.0)
    assert float(by_radius.log_scales.exp()[0, 0]) == pytest.approx(2 * nearest / 5, abs=1e-6)
    by_scale = MixtureOfGaussians(2, 8, "ring", scale=0.3)
    assert float(by_scale.means.norm(dim=1).mean()) == pytest.approx(0.3 * 5 / nearest, abs=1e-5)


@pytest.mark.parametrize("learn", [False, True])
def test_fit_equals_scikit_learn(learn):
    rng = np.random.default_rng(0)
    codes = np.concatenate(
        [
            rng.normal(m, s, size=(n, 2))
            for m, s, n in ((-3, 0.5, 100), (0, 1.0, 300), (4, 0.2, 200))
        ]
    )
    prior = MixtureOfGaussians(2, 3, learn=learn).double()
    means = prior.means
    assert prior.fit(torch.from_numpy(codes)) is prior
    assert prior.means is means  # in place, because optimizers and checkpoints refer to it
    weights, means, scales = (t.detach() for t in prior.gaussians())
    order = means[:, 0].argsort()
    torch.testing.assert_close(
        means[order], torch.tensor([[-3.0], [0.0], [4.0]]).double().expand(3, 2), rtol=0, atol=0.3
    )
    torch.testing.assert_close(
        scales[order], torch.tensor([[0.5], [1.0], [0.2]]).double().expand(3, 2), rtol=0.2, atol=0
    )
    torch.testing.assert_close(
        weights[order], torch.tensor([1 / 6, 1 / 2, 1 / 3]).double(), rtol=0, atol=0.03
    )
    floor = 1e-6 * codes.var(axis=0).mean()
    oracle = GaussianMixture(3, covariance_type="diag", random_state=0, reg_covar=floor).fit(codes)
    np.testing.assert_allclose(
        prior.log_prob(torch.from_numpy(codes)).detach(), oracle.score_samples(codes), atol=1e-9
    )


def test_fit_refuses_codes_that_cannot_be_fitted():
    prior = MixtureOfGaussians(2, 3)
    with pytest.raises(DataError, match=r"3 components in 2 dimensions .* shape \(2, 2\)"):
        prior.fit(torch.zeros(2, 2))
    with pytest.raises(DataError, match=r"\(9, 4\)"):
        prior.fit(torch.zeros(9, 4))


def test_fit_refuses_unusable_codes():
    codes = torch.randn(9, 2)
    codes[3, 0], codes[5] = math.nan, math.inf
    with pytest.raises(DataError, match="2 of 9 codes are not finite"):
        MixtureOfGaussians(2, 3).fit(codes)
    with pytest.raises(DataError, match="all 9 codes are equal"):
        MixtureOfGaussians(2, 3).fit(torch.full((9, 2), 0.3))


def test_fit_follows_the_scale_of_the_codes():
    codes = torch.cat([torch.randn(60, 2) - 4, torch.randn(60, 2) + 4]).double()
    large, small = (MixtureOfGaussians(2, 2).double().fit(s * codes) for s in (1.0, 1e-5))
    torch.testing.assert_close(1e5 * small.means, large.means)
    torch.testing.assert_close(1e5 * small.log_scales.exp(), large.log_scales.exp())


def test_a_mixture_can_be_learned_or_fixed():
    assert {name for name, _ in MixtureOfGaussians(2, 1, learn=True).named_parameters()} == {
        "means",
        "log_scales",
    }
    assert set(MixtureOfGaussians(2, 1, learn=True).state_dict()) == {
        "logits",
        "means",
        "log_scales",
    }
    assert {name for name, _ in MixtureOfGaussians(2, learn=True).named_parameters()} == {
        "logits",
        "means",
        "log_scales",
    }
    fixed = MixtureOfGaussians(2)
    assert not list(fixed.parameters())
    # the values that `fit` sets are saved
    assert set(fixed.state_dict()) == {
        "logits",
        "means",
        "log_scales",
    }


def test_is_rebuilt_from_its_config():
    prior = build({"name": "mog", "components": 4, "means": "grid", "radius": 3}, "priors", dim=2)
    again = build(prior.config, "priors")
    assert torch.equal(again.means, prior.means)
    with pytest.raises(SettingError, match="simplex"):
        MixtureOfGaussians(2, 4, "simplex")
    with pytest.raises(SettingError, match="means"):
        MixtureOfGaussians(2, 4, "circle")


def test_samples_follow_the_modules_dtype():
    assert MixtureOfGaussians(1, 2).double().sample(1).dtype == torch.float64
    assert (
        MixtureOfGaussians(2).double().log_prob(torch.zeros(1, 2).double()).dtype == torch.float64
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rare_components_are_as_rare_in_half_precision(dtype):
    torch.manual_seed(0)
    prior = MixtureOfGaussians(2, components=3)
    prior.logits.copy_(torch.tensor([0.499, 0.001, 0.5]).log())
    k = prior.to(dtype)._draw_components(100_000)
    # 100 draws, with a standard deviation of 10
    assert (k == 1).float().mean().item() == pytest.approx(1e-3, rel=0.4)
