import math
import warnings

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats
from torch import nn

import genzoo
from genzoo.contract import Prior
from genzoo.distributed import emulate_rank
from genzoo.errors import SettingError
from genzoo.models.vae import VAE
from tests.models.linear import LINEAR


class Constant(nn.Module):
    """A decoder that ignores the latent code."""

    def __init__(self, output):
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, z):
        return self.output.expand(len(z), *self.output.shape)


def seeded_loss(model, x, seed=0):
    torch.manual_seed(seed)
    return {name: value.item() for name, value in model.loss(x).items()}


def alike(model, **settings):
    """Return a model with the weights of another one and with other settings."""
    other = VAE(model.latent_dim, shape=model.shape, **settings).double()
    other.load_state_dict(
        {k: v for k, v in model.state_dict().items() if "sigma" not in k}, strict=False
    )
    return other


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return VAE(3, sigma=0.5, shape=(1, 4, 5)).double()


@pytest.fixture
def x():
    return torch.rand(6, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# --- warm-up and free bits


def test_the_weight_of_the_kl_grows_during_the_warmup(vae, x):
    model = alike(vae, sigma=0.5, beta=3.0, kl_warmup=4)
    (player,) = model.players()
    full = seeded_loss(vae, x)
    for step, weight in enumerate((0, 0.25, 0.5, 0.75, 1, 1)):
        player.before(step)
        report = seeded_loss(model, x)
        player.after()
        assert report["kl_weight"] == weight
        assert report["kl"] == pytest.approx(full["kl"])
        expected = full["reconstruction"] + 3 * weight * full["kl"]
        assert report["loss"] == pytest.approx(expected)
    # outside of training steps
    expected = full["reconstruction"] + 3 * full["kl"]
    assert seeded_loss(model, x)["loss"] == pytest.approx(expected)


def test_coordinates_below_the_free_bits_are_free(vae, x):
    with torch.no_grad():
        q = vae.posterior(x)
    mean, scale = q.mean.numpy(), q.stddev.numpy()
    kls = ((mean**2 + scale**2 - 1) / 2 - np.log(scale)).mean(0)
    plain = seeded_loss(vae, x)
    assert plain["kl"] == pytest.approx(kls.sum())
    for free in (kls.min() / 2, np.sort(kls)[1] * 1.01, kls.max() * 2):
        model = alike(vae, sigma=0.5, beta=2.0, free_bits=float(free))
        report = seeded_loss(model, x)
        expected = plain["reconstruction"] + 2 * np.maximum(kls, free).sum()
        assert report["loss"] == pytest.approx(expected)
        assert report["kl"] == pytest.approx(kls.sum())
    # all coordinates are free, so the KL has no gradient
    without = alike(vae, sigma=0.5, beta=0.0)
    gradients = []
    for one in (model, without):
        one.zero_grad()
        torch.manual_seed(0)
        one.loss(x)["loss"].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in one.encoder.parameters()]))
    torch.testing.assert_close(*gradients)


def test_warmup_and_free_bits_do_not_change_the_bound(vae, x):
    model = alike(vae, sigma=0.5, free_bits=5.0, kl_warmup=10)
    for call in (VAE.elbo, VAE.log_prob_bound):
        values = []
        for one in (vae, model):
            torch.manual_seed(2)
            values.append(call(one, x))
        assert torch.equal(*values)


@pytest.mark.parametrize(
    "settings", [{"prior": "mog"}, {"divergence": {"name": "kl", "estimator": "monte-carlo"}}]
)
def test_free_bits_need_a_kl_in_closed_form(settings):
    with pytest.raises(SettingError, match=r'free_bits = 0.1 needs .* use prior = "normal"'):
        VAE(free_bits=0.1, **settings)


@pytest.mark.slow
def test_a_resumed_warmup_continues(tmp_path):
    table = {"name": "vae", "latent_dim": 2, "kl_warmup": 5, "encoder": LINEAR, "decoder": LINEAR}
    settings = {"batch_size": 8, "log_every": 1, "progress": False}
    data = torch.rand(32, 6, generator=torch.Generator().manual_seed(0))
    whole = genzoo.fit(table, data, steps=7, **settings)
    genzoo.fit(table, data, tmp_path, steps=3, **settings)
    rest = genzoo.fit(table, data, tmp_path, steps=7, resume=True, **settings)
    weights = [line["kl_weight"] for line in rest.history]
    assert weights == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1])
    for name, value in whole.model.state_dict().items():
        assert torch.equal(rest.model.state_dict()[name], value)


def test_a_warmup_that_does_not_end_is_named():
    data = torch.rand(16, 6, generator=torch.Generator().manual_seed(0))
    settings = {"encoder": LINEAR, "decoder": LINEAR, "latent_dim": 2}
    train = {"batch_size": 8, "steps": 4, "log_every": 2, "progress": False}
    with pytest.warns(UserWarning, match="kl_warmup = 5 is more than the number of training steps"):
        genzoo.fit({"name": "vae", "kl_warmup": 5, **settings}, data, **train)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        genzoo.fit({"name": "vae", "kl_warmup": 4, **settings}, data, **train)
    # 25 * (7 / 25) > 7 in floating point
    vae = genzoo.load("vae", shape=(6,), kl_warmup=25, **settings)
    assert vae.diagnose({"step": 7}, 7 / 25) is None


# --- the linear VAE is probabilistic PCA (Lucas et al., 2019)


def ppca(digits, rotation):
    """Return the maximum-likelihood linear VAE of a rotated W, and the loss of its posterior."""
    variance = digits.eigenvalues[8:].mean()
    w = digits.axes[:, :8] * (digits.eigenvalues[:8] - variance).sqrt() @ rotation
    precision = w.T @ w / variance + torch.eye(8).double()
    vae = VAE(
        8, sigma=variance.sqrt().item(), encoder=LINEAR, decoder=LINEAR, shape=(digits.dim,)
    ).double()
    (encoder,), (decoder,) = (
        [m for m in part.modules() if isinstance(m, nn.Linear)]
        for part in (vae.encoder, vae.decoder)
    )
    with torch.no_grad():
        decoder.weight.copy_(w)
        decoder.bias.copy_(digits.mean)
        to_mean = torch.linalg.solve(precision, w.T / variance)
        encoder.weight.copy_(torch.cat([to_mean, torch.zeros_like(to_mean)]))
        encoder.bias.copy_(torch.cat([-to_mean @ digits.mean, -precision.diag().log()]))
    gap = (precision.diag().log().sum() - torch.logdet(precision)).item() / 2
    log_p = stats.multivariate_normal(
        digits.mean.numpy(), (w @ w.T).numpy() + variance.item() * np.eye(digits.dim)
    ).logpdf
    return vae, gap, log_p


def test_the_bound_is_tight_at_the_true_posterior(digits):
    vae, gap, log_p = ppca(digits, torch.eye(8, dtype=torch.float64))
    assert gap == pytest.approx(0, abs=1e-9)
    exact = log_p(digits.x.numpy())
    assert exact.mean() == pytest.approx(14.209788, abs=1e-6)
    assert exact.mean() == pytest.approx(digits.score, abs=1e-4)
    for samples in (1, 7):
        np.testing.assert_allclose(vae.log_prob_bound(digits.x, samples), exact, rtol=1e-9)
    # in several passes
    np.testing.assert_allclose(vae.log_prob_bound(digits.x[:3], 3000), exact[:3], rtol=1e-9)
    assert np.mean([vae.elbo(digits.x).mean().item() for _ in range(50)]) == pytest.approx(
        exact.mean(), abs=0.05
    )


@pytest.mark.slow
def test_bounds_are_ordered_below_the_likelihood(digits, rotation):
    vae, gap, log_p = ppca(digits, rotation)
    exact = log_p(digits.x.numpy()).mean()
    assert exact == pytest.approx(14.209788, abs=1e-6)  # W is determined only up to a rotation
    assert gap > 0.3
    torch.manual_seed(0)
    elbo = np.mean([vae.elbo(digits.x).mean().item() for _ in range(100)])
    assert elbo == pytest.approx(exact - gap, abs=0.03)
    bounds = [vae.log_prob_bound(digits.x, k).mean().item() for k in (1, 4, 16, 64, 256)]
    assert elbo - 0.1 < bounds[0]
    assert all(low < high + 0.01 for low, high in zip(bounds, [*bounds[1:], exact], strict=True))
    assert bounds[-1] > exact - 0.1


def fit(model, x, steps, lr, batch):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        values = model.loss(x[torch.randint(len(x), (batch,))])
        values["loss"].backward()
        optimizer.step()
        schedule.step()
    return {name: value.item() for name, value in values.items()}


@pytest.mark.slow
def test_training_reaches_the_likelihood_of_ppca(digits):
    torch.manual_seed(0)
    x = digits.x.float()
    vae = VAE(8, encoder=LINEAR, decoder=LINEAR, shape=(digits.dim,))
    fit(vae, x, steps=3000, lr=0.03, batch=400)
    elbo = np.mean([vae.elbo(x).mean().item() for _ in range(100)])
    assert elbo == pytest.approx(14.209788, abs=0.05)
    assert vae.log_sigma.exp().square().item() == pytest.approx(0.027329, rel=0.02)


@pytest.mark.slow
def test_the_posterior_collapses_with_the_mean_squared_error_but_not_with_optimal_sigma(digits):
    x = digits.x.float()
    for sigma, collapses in ((math.sqrt(digits.dim / 2), True), ("optimal", False)):
        torch.manual_seed(0)
        vae = VAE(8, sigma=sigma, encoder=LINEAR, decoder=LINEAR, shape=(digits.dim,))
        kl = fit(vae, x, steps=300, lr=0.02, batch=256)["kl"]
        assert kl < 0.05 if collapses else kl > 5


# --- likelihoods


def test_the_gaussian_constant_is_included():
    vae = VAE(2, sigma=1.0, shape=(1, 28, 28)).double()
    z = torch.randn(3, 2, dtype=torch.float64)
    np.testing.assert_allclose(
        -vae.conditional(z).log_prob(vae.decode(z)).detach(), 720.4478, atol=1e-4
    )


def test_gaussian_log_likelihood_equals_scipy(vae, x):
    z = torch.randn(6, 3, dtype=torch.float64)
    expected = stats.norm(vae.decode(z).detach().numpy(), 0.5).logpdf(x.numpy()).sum((1, 2, 3))
    np.testing.assert_allclose(vae.conditional(z).log_prob(x).detach(), expected)


def test_mean_squared_error_plus_kl_equals_sigma_squared_of_half_the_pixels(vae, x):
    vae = alike(vae, sigma=math.sqrt(10))
    vae.decoder = Constant(torch.zeros(1, 4, 5, dtype=torch.float64))
    values = seeded_loss(vae, x)
    mean_squared_error = np.square(x.numpy() - 0.5).mean()
    assert values["loss"] - 10 * math.log(2 * math.pi * 10) == pytest.approx(
        mean_squared_error + values["kl"]
    )


def test_the_minimum_of_the_bernoulli_loss_is_the_entropy_of_gray_values(x):
    vae = VAE(3, "bernoulli", decoder=Constant(x[0].logit()), shape=(1, 4, 5)).double()
    floor = (special.entr(x.numpy()) + special.entr(1 - x.numpy())).sum((1, 2, 3))
    cross_entropy = (
        -vae.conditional(torch.zeros(6, 3, dtype=torch.float64)).log_prob(x).detach().numpy()
    )
    assert (cross_entropy >= floor - 1e-9).all()
    assert cross_entropy[0] == pytest.approx(floor[0])


def test_bernoulli_on_bits_is_a_probability():
    vae = VAE(2, "bernoulli", shape=(3,)).double()
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3).double()
    for code in torch.randn(4, 1, 2, dtype=torch.float64):
        assert vae.conditional(code.expand(8, 2)).log_prob(
            bits
        ).exp().sum().item() == pytest.approx(1)


# --- sigma


def test_optimal_sigma_is_the_mean_squared_error(x):
    output = torch.randn(1, 4, 5, dtype=torch.float64)
    vae = VAE(3, decoder=Constant(output), shape=(1, 4, 5)).double()
    values = vae.loss(x)
    error = special.expit(output.numpy()) - x.numpy()
    variance = np.square(error).mean()
    assert values["reconstruction"].item() == pytest.approx(
        20 / 2 * (math.log(2 * math.pi * variance) + 1)
    )
    values["loss"].backward()
    slope = special.expit(output.numpy()) * special.expit(-output.numpy())
    # the gradient of D/2 log(mean squared error)
    np.testing.assert_allclose(vae.decoder.output.grad, error.mean(0) / variance * slope)


def test_no_fixed_sigma_beats_the_optimal_one(vae, x):
    def fixed(log_sigma):
        return seeded_loss(alike(vae, sigma=math.exp(log_sigma)), x)["loss"]

    best = optimize.minimize_scalar(fixed, bounds=(-3, 1), method="bounded")
    assert seeded_loss(alike(vae, sigma="optimal"), x)["loss"] == pytest.approx(best.fun)


def test_learned_sigma_is_stationary_at_the_mean_squared_error(x):
    vae = VAE(3, sigma="learned", decoder=Constant(torch.zeros(1, 4, 5)), shape=(1, 4, 5)).double()
    nn.init.constant_(vae.log_sigma, math.log(np.square(x.numpy() - 0.5).mean()) / 2)
    vae.loss(x)["loss"].backward()
    assert vae.log_sigma.grad.item() == pytest.approx(0, abs=1e-9)


def test_bounds_use_the_running_sigma(x):
    vae = VAE(3, decoder=Constant(torch.zeros(1, 4, 5)), shape=(1, 4, 5)).double()
    variances = [np.square(part.numpy() - 0.5).mean() for part in (x[:2], x[2:])]
    vae.loss(x[:2]), vae.loss(x[2:])
    running = math.sqrt(variances[0] * variances[1])
    vae.eval().loss(x)  # evaluation does not change it
    assert vae.log_sigma.exp().square().item() == pytest.approx(running)
    expected = stats.norm(0.5, math.sqrt(running)).logpdf(x.numpy()).sum((1, 2, 3))
    kl = torch.distributions.kl_divergence(
        vae.posterior(x).base_dist, torch.distributions.Normal(0, 1)
    ).sum(1)
    np.testing.assert_allclose(vae.elbo(x).detach(), expected - kl.detach().numpy())


def test_running_sigma_survives_half_precision():
    """It is the mean of the first 100 batches, then a moving average with weight 1/100 per batch.

    One batch has log 1, and the others log 1/2.
    """
    vae = VAE(3, decoder=Constant(torch.zeros(4)), shape=(4,)).bfloat16()
    for error in [1.0] + [0.5] * 300:
        vae.loss(torch.full((8, 4), error, dtype=torch.bfloat16))
    expected = (1 - 0.01 * 0.99**201) * math.log(0.5)
    assert vae.log_sigma.item() == pytest.approx(expected, rel=1e-5)
    vae.loss(torch.full((8, 4), 2.0**-9, dtype=torch.bfloat16))
    assert vae.log_sigma.item() == pytest.approx(
        0.99 * expected + 0.01 * math.log(2.0**-9), rel=1e-5
    )


# --- the KL


@pytest.mark.parametrize("beta", [0.25, 4.0])
def test_beta_is_equivalent_to_another_sigma(vae, x, beta):
    def without_constant(model, sigma):
        return seeded_loss(model, x)["loss"] - 20 / 2 * math.log(2 * math.pi * sigma**2)

    scaled = alike(vae, sigma=0.5 * math.sqrt(beta))
    assert without_constant(alike(vae, sigma=0.5, beta=beta), 0.5) == pytest.approx(
        beta * without_constant(scaled, 0.5 * math.sqrt(beta))
    )


def test_mean_kl_is_mutual_information_plus_kl_of_the_aggregate(x):
    vae = VAE(1, shape=(1, 4, 5)).double()
    with torch.no_grad():
        q = vae.posterior(10 * x[:4])
    distributions = [
        stats.norm(m, s) for m, s in zip(q.mean[:, 0].numpy(), q.stddev[:, 0].numpy(), strict=True)
    ]

    def aggregate(z):
        return np.mean([distribution.pdf(z) for distribution in distributions])

    def kl(p, r):
        return integrate.quad(lambda z: p(z) * math.log(p(z) / r(z)), -9, 9, limit=200)[0]

    information = np.mean([kl(distribution.pdf, aggregate) for distribution in distributions])
    assert information > 1e-5
    assert seeded_loss(vae, 10 * x[:4])["kl"] == pytest.approx(
        information + kl(aggregate, stats.norm.pdf), rel=1e-6
    )


class Laplace(Prior):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.distribution = torch.distributions.Laplace(0.0, 1.0)

    def sample(self, n):
        return self.distribution.sample((n, self.dim)).double()

    def log_prob(self, z):
        return self.distribution.log_prob(z).sum(1)


@pytest.mark.parametrize(
    "prior", ["normal", {"name": "normal", "scale": 1e-3}, "mog", Laplace(2)], ids=str
)
def test_priors_with_a_density(x, prior):
    vae = VAE(2, sigma=0.5, prior=prior, shape=(1, 4, 5)).double()
    vae.loss(x)["loss"].backward()
    assert vae.sample(3).shape == (3, 1, 4, 5)
    assert vae.log_prob_bound(x, 500).mean() >= np.mean(
        [vae.elbo(x).mean().item() for _ in range(100)]
    )


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"prior": "sphere"}, "prior = Sphere: .* density"),
        ({"prior": "uniform"}, "prior = Uniform: .* positive everywhere"),
        ({"divergence": "mmd"}, "divergence = MMD does not compare distributions"),
    ],
)
def test_unsuitable_parts_are_refused(settings, names):
    with pytest.raises(SettingError, match=rf"^{names}.*; (take|use) .*$"):
        VAE(2, shape=(5,), **settings)


# --- the rest of the contract


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (1, 25, 31), (5,)])
@pytest.mark.parametrize(
    "settings", [{}, {"likelihood": "bernoulli"}, {"sigma": "learned"}, {"sigma": 0.1}], ids=str
)
def test_shapes(shape, settings):
    vae = VAE(3, shape=shape, **settings)
    x = torch.rand(1, *shape)
    vae.loss(x)["loss"].backward()
    assert all(p.grad is not None for p in vae.parameters())
    assert vae.encode(x).shape == (1, 3)
    assert vae.elbo(x).shape == vae.log_prob_bound(x, 5).shape == (1,)
    for images in (vae.sample(4), vae.reconstruct(x.repeat(4, *[1] * len(shape)))):
        assert images.shape == (4, *shape)
        if len(shape) == 3 or "likelihood" in settings:
            assert 0 <= images.min() <= images.max() <= 1


def test_vectors_are_not_bounded():
    vae = VAE(2, encoder=LINEAR, decoder=LINEAR, shape=(5,)).double()
    a, b, zero = (
        vae.decode(z) for z in (*torch.eye(2).double()[:, None], torch.zeros(1, 2).double())
    )
    torch.testing.assert_close(
        vae.decode(torch.tensor([[30.0, -20.0]]).double()), 30 * (a - zero) - 20 * (b - zero) + zero
    )


def test_memory_of_the_bound_does_not_grow_with_the_number_of_samples(vae, x):
    rows = []
    vae.decoder.register_forward_hook(lambda part, z, output: rows.append(len(output)))
    vae.log_prob_bound(x, 2000)
    assert sum(rows) == 12000
    assert max(rows) <= 4096


def test_two_ranks_have_the_noise_of_one(vae, x):
    whole = seeded_loss(vae, x)["loss"]
    halves = []
    for rank in range(2):
        with emulate_rank(rank, 2):
            halves.append(seeded_loss(vae, x[3 * rank : 3 * rank + 3])["loss"])
    assert np.mean(halves) == pytest.approx(whole)


def test_a_bound_needs_samples_but_no_examples(vae, x):
    with pytest.raises(SettingError, match="samples = 0: expected a whole number from 1 on"):
        vae.log_prob_bound(x, 0)
    assert vae.log_prob_bound(x[:0]).shape == (0,)


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
@pytest.mark.parametrize(
    "settings", [{}, {"likelihood": "bernoulli"}, {"sigma": "learned", "prior": "mog"}], ids=str
)
def test_trains_in_half_precision(precision, settings):
    data = torch.rand(64, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    run = genzoo.fit(
        {"name": "vae", "latent_dim": 3, **settings},
        data,
        steps=3,
        batch_size=16,
        precision=precision,
    )
    assert all(tensor.isfinite().all() for tensor in run.model.state_dict().values())
    assert (
        run.model.conditional(torch.zeros(2, 3, dtype=run.model.reference_tensor.dtype))
        .sample()
        .isfinite()
        .all()
    )
