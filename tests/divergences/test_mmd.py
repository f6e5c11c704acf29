import math

import numpy as np
import pytest
import torch
from scipy import integrate
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from genzoo.divergences import kernels
from genzoo.divergences.analytic import expectation, gaussian_kernels
from genzoo.divergences.mmd import MMD
from genzoo.errors import SettingError
from genzoo.priors.mixture import MixtureOfGaussians
from genzoo.priors.simple import Normal as NormalPrior
from genzoo.priors.simple import Sphere, Uniform
from genzoo.registry.build import build

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
KERNELS = ("imq", "rbf", "linear", "quadratic")


def plain_kernel(x, y, name, c, scales=SCALES):
    gap = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    if name == "imq":
        return sum(s * c / (s * c + gap) for s in scales)
    if name == "rbf":
        return sum(math.exp(-gap / (s * c)) for s in scales)
    inner = sum(a * b for a, b in zip(x, y, strict=True))
    return inner if name == "linear" else (1 + inner) ** 2


def plain_mmd(x, y, name="imq", c=1.0, scales=SCALES):
    """Compute the definition, pair by pair."""
    within = [
        sum(
            plain_kernel(u, v, name, c, scales)
            for i, u in enumerate(z)
            for j, v in enumerate(z)
            if i != j
        )
        / (len(z) * (len(z) - 1))
        for z in (x, y)
    ]
    return sum(within) - 2 * np.mean([plain_kernel(u, v, name, c, scales) for u in x for v in y])


def uneven(dim=2, components=3):
    """Return a learned mixture with unequal weights and scales."""
    prior = MixtureOfGaussians(dim, components, learn=True).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(torch.randn_like(parameter) / 2)
    return prior


def draws(prior, n):
    """Return independent samples of a mixture from torch.distributions."""
    weights, means, scales = (t.detach() for t in prior.gaussians())
    return MixtureSameFamily(Categorical(weights), Independent(Normal(means, scales), 1)).sample(
        (n,)
    )


@pytest.mark.parametrize("pairs", [2**17, 30], ids=["at once", "in blocks"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_equals_its_definition(kernel, pairs, monkeypatch):
    monkeypatch.setattr(kernels, "_PAIRS", pairs)
    x, y = torch.randn(9, 3).double(), 2 * torch.randn(6, 3).double() + 1
    value = MMD(kernel, bandwidth=3.0)(x, y)
    assert float(value) == pytest.approx(plain_mmd(x.tolist(), y.tolist(), kernel, 3.0), abs=1e-12)


@pytest.mark.parametrize("pairs", [2**17, 30], ids=["at once", "in blocks"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradient_in_both_samples_is_correct(kernel, pairs, monkeypatch):
    monkeypatch.setattr(kernels, "_PAIRS", pairs)
    x, y = (
        torch.randn(6, 2).double().requires_grad_(),
        (torch.randn(4, 2).double() + 1).requires_grad_(),
    )
    assert torch.autograd.gradcheck(MMD(kernel, bandwidth=3.0), (x, y))


def test_linear_kernel_compares_means():
    x, y = torch.randn(20, 3).double(), torch.randn(30, 3).double() + 1
    gap = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    # minus the part of the difference that is due to chance
    expected = gap - x.var(dim=0).sum() / 20 - y.var(dim=0).sum() / 30
    torch.testing.assert_close(MMD("linear")(x, y), expected)


def test_quadratic_kernel_compares_moments():
    x, y = 0.9 * torch.randn(4000, 2).double(), torch.randn(4000, 2).double() + 0.5
    moments = [z.T @ z / len(z) for z in (x, y)]
    expected = (
        2 * (x.mean(dim=0) - y.mean(dim=0)).square().sum()
        + (moments[0] - moments[1]).square().sum()
    )
    torch.testing.assert_close(MMD("quadratic")(x, y), expected, rtol=0, atol=0.02)


def test_the_default_bandwidth_is_twice_the_variance():
    x, y = torch.randn(5, 2).double(), torch.randn(7, 2).double()
    c = 2 * float(np.trace(np.cov(y.numpy().T)))
    assert float(MMD()(x, y)) == pytest.approx(plain_mmd(x.tolist(), y.tolist(), c=c), abs=1e-12)
    prior = Uniform(2, 0.0, 3.0).double()
    torch.manual_seed(5)
    value = MMD(estimator="sampled")(x, prior)
    torch.manual_seed(5)
    z = prior.sample(5)
    assert float(value) == pytest.approx(
        plain_mmd(x.tolist(), z.tolist(), c=2 * 2 * 3.0**2 / 12), abs=1e-12
    )


def test_strata_are_weighted():
    prior, x = uneven(), torch.randn(7, 2).double()
    torch.manual_seed(5)
    value = MMD(estimator="sampled", bandwidth=3.0)(x, prior)
    torch.manual_seed(5)
    z, w = (t.detach().tolist() for t in prior.strata(7))
    points = x.tolist()
    k = lambda u, v: plain_kernel(u, v, "imq", 3.0)  # noqa: E731
    expected = np.mean([k(points[i], points[j]) for i in range(7) for j in range(7) if i != j])
    for a, (wa, za) in enumerate(zip(w, z, strict=True)):
        expected -= 2 * wa * np.mean([k(u, v) for u in points for v in za])
        for b, (wb, zb) in enumerate(zip(w, z, strict=True)):
            expected += (
                wa
                * wb
                * np.mean(
                    [
                        k(u, v)
                        for i, u in enumerate(za)
                        for j, v in enumerate(zb)
                        if a != b or i != j
                    ]
                )
            )
    assert value.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["sampled", "analytic"])
def test_equal_distributions_have_no_bias(estimator):
    mmd, normal, mixture = (
        MMD(estimator=estimator),
        NormalPrior(8),
        uneven(dim=8, components=5).float(),
    )
    for prior, sample in (
        (normal, lambda: torch.randn(128, 8)),
        (mixture, lambda: draws(mixture, 128)),
    ):
        with torch.no_grad():
            values = np.array([float(mmd(sample(), prior)) for _ in range(300)])
        # a V-statistic would be at 0.054
        assert abs(values.mean()) < 4 * values.std() / math.sqrt(300)
        assert values.std() < 0.03


@pytest.mark.slow
def test_the_analytic_prior_halves_the_noise():
    prior, spread = NormalPrior(8), {}
    for estimator in ("sampled", "analytic"):
        with torch.no_grad():
            spread[estimator] = np.std(
                [float(MMD(estimator=estimator)(torch.randn(100, 8), prior)) for _ in range(300)]
            )
    assert spread["sampled"] == pytest.approx(1.20e-2, rel=0.2)
    assert spread["analytic"] == pytest.approx(6.2e-3, rel=0.2)


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("c", "expected"), [(1.6, 0.112862602497), (16.0, 0.529252270888), (160.0, 0.910899358475)]
)
def test_imq_between_normal_samples(c, expected):
    # (1/a) e^(1/a) E_4(1/a) with a = 4/C and the exponential integral E_4
    nodes = gaussian_kernels("imq", (c,))
    assert float(expectation(torch.zeros(8), torch.full((8,), 2.0), *nodes)) == pytest.approx(
        expected, abs=1e-8
    )


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("distance", [0.0, 1.0, 5.0, 100.0])
def test_imq_expectation_equals_numerical_quadrature(distance):
    delta, variance = distance * torch.tensor([0.6, 0.0, -0.8]), torch.tensor([0.01, 0.3, 2.0])

    def smoothed(log_t, c):
        t = math.exp(log_t)
        widened = 1 + 2 * t / c * variance.numpy()
        return (
            t
            * math.exp(-t - float((t / c * delta.numpy() ** 2 / widened).sum()))
            / math.sqrt(float(widened.prod()))
        )

    exact = sum(
        integrate.quad(smoothed, -45, 5, args=(s * 6,), limit=500, epsabs=1e-13, epsrel=1e-13)[0]
        for s in SCALES
    )
    nodes = gaussian_kernels("imq", tuple(6 * s for s in SCALES))
    assert float(expectation(delta, variance, *nodes)) == pytest.approx(exact, abs=1e-7)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_expectations_equal_monte_carlo_estimates(kernel):
    rng, delta, scale = np.random.default_rng(0), np.array([0.5, -1.0]), np.array([0.3, 1.2])
    squares = ((delta + scale * rng.normal(size=(400_000, 2))) ** 2).sum(axis=1)
    values = sum(
        s * 4 / (s * 4 + squares) if kernel == "imq" else np.exp(-squares / (s * 4)) for s in SCALES
    )
    actual = expectation(
        torch.from_numpy(delta),
        torch.from_numpy(scale**2),
        *gaussian_kernels(kernel, tuple(4 * s for s in SCALES)),
    )
    assert float(actual) == pytest.approx(values.mean(), abs=4 * values.std() / math.sqrt(400_000))


@pytest.mark.usefixtures("double")
def test_analytic_rbf_is_the_closed_form_for_gaussians():
    prior, x, c = uneven(), torch.randn(6, 2), 3.0
    w, m, s = (t.detach().numpy() for t in prior.gaussians())

    def smoothed(gap, covariance):  # k = exp(-r^2 / 2g) with 2g = s c
        total = 0.0
        for g in (scale * c / 2 for scale in SCALES):
            wide = g * np.eye(2) + covariance
            total += (
                g / math.sqrt(np.linalg.det(wide)) * math.exp(-gap @ np.linalg.solve(wide, gap) / 2)
            )
        return total

    points = x.numpy()
    within = np.mean(
        [plain_kernel(points[i], points[j], "rbf", c) for i in range(6) for j in range(6) if i != j]
    )
    cross = np.mean(
        [sum(w[k] * smoothed(p - m[k], np.diag(s[k] ** 2)) for k in range(3)) for p in points]
    )
    prior_term = sum(
        w[k] * w[l] * smoothed(m[k] - m[l], np.diag(s[k] ** 2 + s[l] ** 2))
        for k in range(3)
        for l in range(3)  # noqa: E741
    )
    value = MMD("rbf", estimator="analytic", bandwidth=c)(x, prior).detach()
    assert float(value) == pytest.approx(within - 2 * cross + prior_term, abs=1e-12)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_analytic_gradients_equal_finite_differences(kernel):
    prior, x = uneven(), torch.randn(4, 2).requires_grad_()
    mmd = MMD(kernel, estimator="analytic", bandwidth=3.0)

    def value(x, *state):
        return torch.func.functional_call(Pair(mmd, prior), dict(zip(names, state, strict=True)), x)

    names = [f"prior.{name}" for name, _ in prior.named_parameters()]
    assert torch.autograd.gradcheck(value, (x, *prior.parameters()))


class Pair(torch.nn.Module):
    def __init__(self, mmd, prior):
        super().__init__()
        self.mmd, self.prior = mmd, prior

    def forward(self, x):
        return self.mmd(x, self.prior)


@pytest.mark.slow
def test_sampled_gradients_of_a_mixture_average_to_the_analytic_ones():
    prior, x = uneven(), torch.randn(20, 2).double()
    parameters = tuple(prior.parameters())
    exact = torch.autograd.grad(MMD(estimator="analytic").double()(x, prior), parameters)
    sampled = [
        torch.autograd.grad(MMD(estimator="sampled")(x, prior), parameters) for _ in range(300)
    ]
    for name, expected, *gradients in zip(
        ("logits", "means", "log_scales"), exact, *sampled, strict=True
    ):
        gradients = torch.stack(gradients)
        error = (gradients.mean(dim=0) - expected).abs() / (
            gradients.std(dim=0) / math.sqrt(300) + 1e-7
        )
        assert error.max() < 4.5, name


def test_a_shift_far_from_the_origin_keeps_precision():
    x, y = torch.randn(50, 4).double(), torch.randn(50, 4).double() + 0.3
    exact = MMD(bandwidth=8.0)(x, y)
    shifted = MMD(bandwidth=8.0)((x + 100).float(), (y + 100).float())
    assert float(shifted) == pytest.approx(float(exact), abs=2e-4)


def test_half_precision_codes_are_compared_in_single_precision():
    x, y = torch.randn(30, 4).bfloat16(), torch.randn(30, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = MMD(bandwidth=8.0)(x, y)
    torch.testing.assert_close(value, MMD(bandwidth=8.0)(x.float(), y))


HALF = {
    "normal": lambda: NormalPrior(4),
    "mog": lambda: MixtureOfGaussians(4, 3),
    "learned mog": lambda: MixtureOfGaussians(4, 3, learn=True),
}


@pytest.mark.parametrize("estimator", ["sampled", "analytic"])
@pytest.mark.parametrize("prior", HALF)
def test_half_precision_priors_and_codes_match_single_precision(prior, estimator):
    prior, x = HALF[prior]().bfloat16(), (1.5 * torch.randn(16, 4)).bfloat16().requires_grad_()
    mmd = MMD(estimator=estimator, bandwidth=8.0 if estimator == "sampled" else None).bfloat16()
    torch.manual_seed(5)
    value = mmd(x, prior)
    value.backward()
    assert all(t.grad.isfinite().all() and t.grad.any() for t in (x, *prior.parameters()))
    if estimator == "sampled":
        torch.manual_seed(5)
        z, weights = (t.float() for t in prior.strata(16))
        c = 8.0
        k = lambda a, b: sum(s * c / (s * c + (a[:, None] - b).square().sum(dim=2)) for s in SCALES)  # noqa: E731
        codes, m = x.detach().float(), z.shape[1]
        prior_term = (
            k(z.flatten(0, 1), z.flatten(0, 1))
            .fill_diagonal_(0)
            .reshape(len(z), m, len(z), m)
            .sum(dim=(1, 3))
        )
        prior_term = prior_term / (m * m - m * torch.eye(len(z)))
        expected = (
            k(codes, codes).fill_diagonal_(0).sum() / (16 * 15) + weights @ prior_term @ weights
        )
        expected = expected - 2 * weights @ k(z.flatten(0, 1), codes).reshape(len(z), -1).mean(
            dim=1
        )
        torch.testing.assert_close(value, expected, rtol=0, atol=2e-5)
    else:
        single = MMD(estimator=estimator)(x.float(), prior.float())
        torch.testing.assert_close(value, single, rtol=0, atol=5e-3)


@pytest.mark.parametrize("scale", [1e-6, 1e-5, 1e5])
@pytest.mark.parametrize("estimator", ["sampled", "analytic"])
def test_mmd_is_invariant_to_a_common_scale(estimator, scale):
    x, values = torch.randn(30, 8), []
    for s in (1.0, scale):
        for prior in (NormalPrior(8, s), MixtureOfGaussians(8, 3, scale=s)):
            torch.manual_seed(5)
            values.append(MMD(estimator=estimator)(1.5 * s * x, prior))
    torch.testing.assert_close(values[2:], values[:2], rtol=0, atol=1e-5)


def test_equal_samples_give_finite_values():
    x = torch.randn(5, 8).requires_grad_()
    # with bandwidth zero, any other point is infinitely far away
    value = MMD()(x, torch.ones(4, 8))
    (gradient,) = torch.autograd.grad(value, x)
    assert value.item() == pytest.approx(len(SCALES), abs=1e-6)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("distance", [0.0, 10.0, 100.0, 300.0])
def test_a_tight_cluster_far_away_keeps_its_gradient(distance):
    x, y = torch.randn(64, 8), torch.randn(64, 8)
    x[:, 0] += distance
    (gradient,) = torch.autograd.grad(MMD(bandwidth=16.0)(x.requires_grad_(), y), x)
    x, y = x.detach().double().requires_grad_(), y.double()
    k = lambda a, b: sum(s * 16 / (s * 16 + (a[:, None] - b).square().sum(dim=2)) for s in SCALES)  # noqa: E731
    within = k(x, x).sum() / (64 * 63)  # the diagonal is constant
    (expected,) = torch.autograd.grad(within - 2 * k(x, y).mean(), x)
    torch.testing.assert_close(
        gradient.double(), expected, rtol=0, atol=2e-6 * float(expected.abs().max())
    )
    pull = expected.sum(dim=0)  # what remains when the forces within the cluster cancel
    assert float((gradient.double().sum(dim=0) - pull).norm() / pull.norm()) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["sampled", "analytic"])
def test_compiles_without_graph_breaks(estimator):
    mmd, prior = MMD(estimator=estimator), MixtureOfGaussians(4, 3, learn=True)
    compiled = torch.compile(lambda x: mmd(x, prior), fullgraph=True, backend="eager")
    results = []
    for function in (lambda x: mmd(x, prior), compiled):
        torch.manual_seed(0)
        x = torch.randn(16, 4).requires_grad_()
        value = function(x)
        results.append((value.detach(), *torch.autograd.grad(value, (x, prior.logits))))
    for plain, traced in zip(*results, strict=True):
        torch.testing.assert_close(plain, traced)


def test_other_priors_and_one_dimension_are_supported():
    for prior in (Sphere(1), Uniform(1), NormalPrior(1), MixtureOfGaussians(1)):
        x = torch.randn(2, 1).requires_grad_()
        value = MMD()(x, prior)
        value.backward()
        assert value.isfinite()
        assert x.grad.isfinite().all()


def test_equal_points_have_a_gradient():
    x = torch.zeros(4, 2).requires_grad_()
    MMD()(x, torch.zeros(3, 2)).backward()
    assert x.grad.isfinite().all()


def test_refusals():
    with pytest.raises(SettingError, match=r"shape \(1, 2\): expected \(n, 2\) with n >= 2"):
        MMD()(torch.zeros(1, 2), NormalPrior(2))
    with pytest.raises(SettingError, match=r"shape \(1, 2\)"):
        MMD()(torch.zeros(5, 2), torch.zeros(1, 2))
    with pytest.raises(SettingError, match=r"shape \(5, 1\): expected \(n, 3\)"):
        MMD(estimator="analytic")(torch.zeros(5, 1), NormalPrior(3))
    for other in (Uniform(2), torch.randn(5, 2)):
        with pytest.raises(SettingError, match='"sampled"'):
            MMD(estimator="analytic")(torch.zeros(5, 2), other)
    with pytest.raises(SettingError, match="'linear' kernel"):
        MMD("linear", estimator="analytic")
    with pytest.raises(SettingError, match=r"MMD\.kernel"):
        MMD("cosine")
    x = torch.randn(3, 2).requires_grad_()
    with pytest.raises(NotImplementedError, match="differentiable only once"):
        torch.autograd.grad(MMD()(x, NormalPrior(2)), x, create_graph=True)


def test_is_rebuilt_from_its_config():
    mmd = build({"name": "mmd", "kernel": "rbf", "scales": [1, 2]}, "divergences")
    assert mmd.scales == (1.0, 2.0)
    assert build(mmd.config, "divergences").config == mmd.config


def test_auto_is_analytic_where_that_is_possible():
    """Only a sampled value depends on the random state."""
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    for kernel, prior, analytic in [
        ("imq", NormalPrior(2), True),
        ("rbf", MixtureOfGaussians(2), True),
        ("imq", Uniform(2), False),
        ("quadratic", NormalPrior(2), False),
    ]:
        values = {MMD(kernel)(x, prior).item() for _ in range(3)}
        assert (len(values) == 1) == analytic, (kernel, prior)


@pytest.mark.parametrize("scales", [(1.0,), SCALES, (1e-3, 1.0, 1e3)])
def test_the_quadrature_is_accurate_over_decades_of_distances_and_scales(scales):
    rates, masses = gaussian_kernels("imq", scales)
    squared = torch.cat([torch.zeros(1), torch.logspace(-6, 10, 2000)]).double()[:, None]
    exact = sum(s / (s + squared[:, 0]) for s in scales)
    torch.testing.assert_close(
        (masses * torch.exp(-rates * squared)).sum(1), exact, rtol=0, atol=1e-6
    )


def test_auto_samples_where_the_closed_form_is_large():
    x = torch.randn(20, 16)
    for components, analytic in ((32, True), (33, False)):
        prior = MixtureOfGaussians(16, components)
        values = {MMD()(x, prior).item() for _ in range(3)}
        assert (len(values) == 1) == analytic
