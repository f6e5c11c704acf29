import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

import genzoo
from genzoo.errors import SettingError
from genzoo.models.wae import WAEGAN
from genzoo.priors.simple import Normal
from tests.models.distributions import Sample, quantiles, train_critic
from tests.models.linear import LINEAR


@pytest.fixture
def x():
    return torch.rand(6, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def wae_gan(latent_dim=2, **settings):
    return WAEGAN(
        latent_dim,
        **{
            "encoder": LINEAR,
            "decoder": LINEAR,
            "critic": {"name": "mlp", "hidden": (8,)},
            "shape": (5,),
            **settings,
        },
    )


def test_wae_gan_penalizes_the_variances_of_a_random_encoder(x):
    wae = wae_gan(random_encoder=True, variance_penalty=3.0, weight=7.0, shape=(1, 4, 5)).double()
    report = {name: value.item() for name, value in wae.autoencoder_loss(x).items()}
    paid = wae.encoder(x)[:, 2:].abs().sum(1).mean().item()
    assert report["loss"] == pytest.approx(
        report["reconstruction"] + 7 * report["match"] + 3 * paid
    )


def test_wae_gan_logs_in_full_precision_under_autocast():
    wae = wae_gan()
    with torch.autocast("cpu", torch.bfloat16):
        reports = {**wae.autoencoder_loss(torch.rand(6, 5)), **wae.critic_loss(torch.rand(6, 5))}
        codes, _ = wae.draw_codes(torch.rand(6, 5))
    assert {value.dtype for value in (*reports.values(), codes)} == {torch.float32}


def test_wae_gan_costs_match_the_formulas_of_the_paper(x):
    wae = wae_gan(3, weight=7.0, shape=(1, 4, 5)).double()
    codes, reconstructions = wae.encode(x).detach(), wae.reconstruct(x).detach()
    chances = wae.critic(codes).sigmoid().detach().tolist()
    values = {name: value.item() for name, value in wae.autoencoder_loss(x).items()}
    assert values["reconstruction"] == pytest.approx(((x - reconstructions) ** 2).sum().item() / 6)
    assert values["match"] == pytest.approx(-sum(map(math.log, chances)) / 6)
    assert values["loss"] == pytest.approx(values["reconstruction"] + 7 * values["match"])
    torch.manual_seed(5)
    loss = wae.critic_loss(x)["loss"].item()
    torch.manual_seed(5)
    true = wae.critic(torch.randn(6, 3, dtype=torch.float64)).sigmoid().tolist()
    assert loss == pytest.approx(
        -sum(map(math.log, true)) / 6 - sum(math.log(1 - chance) for chance in chances) / 6
    )


@pytest.mark.parametrize(
    "prior", ["normal", {"name": "mog", "components": 3, "learn": True}], ids=["fixed", "learned"]
)
def test_no_gradient_leaks_from_the_latent_critic(prior):
    wae = wae_gan(prior=prior)
    wae.critic_loss(torch.rand(6, 5))["loss"].backward()
    assert all(
        p.grad is None for part in (wae.encoder, wae.decoder, wae.prior) for p in part.parameters()
    )
    assert all(p.grad is not None for p in wae.critic.parameters())
    gradients = []
    inner = wae.autoencoder_loss
    wae.autoencoder_loss = lambda batch: (
        gradients.append(any(p.requires_grad for p in wae.critic.parameters())) or inner(batch)
    )
    genzoo.fit(wae, torch.rand(20, 5), steps=3, batch_size=5)
    assert gradients == [False] * 3


def test_a_learned_prior_is_trained_by_the_game():
    wae = wae_gan(prior={"name": "mog", "learn": True, "components": 4}).double()
    x = torch.rand(6, 5, dtype=torch.float64)
    wae.autoencoder_loss(x)["loss"].backward()
    assert {name for name, p in wae.prior.named_parameters() if p.grad.abs().max() > 0} == {
        "logits",
        "means",
        "log_scales",
    }
    # the prior's part of the loss: samples that the critic scores as codes
    (critic,) = (m for m in wae.critic.modules() if isinstance(m, nn.Sequential))
    for layer in critic:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, 0.7)
    chance = 1 / (1 + math.exp(-0.7))
    report = wae.autoencoder_loss(x)
    assert report["match"].item() == pytest.approx(-math.log(chance))
    assert report["prior"].item() == pytest.approx(-math.log(1 - chance))


@pytest.mark.slow
def test_with_the_log_density_the_critic_learns_only_the_density_of_codes():
    """With h = -log q, including its constant, the logit is log p - log q, which is optimal."""
    codes = 1 + 0.5 * quantiles(1000)  # q = N(1, 0.5^2)
    wae = wae_gan(
        1,
        log_density=True,
        critic={"name": "mlp", "hidden": (64, 64), "activation": "tanh"},
        shape=(1,),
    )
    wae.prior.sample = Sample(quantiles(1000)).sample
    (layer,) = (m for m in wae.encoder.modules() if isinstance(m, nn.Linear))
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    train_critic(wae, codes, 600, lr=0.01, betas=(0.5, 0.999))
    # two standard deviations of q, where p is not small
    bulk = torch.linspace(0.0, 2.0, 21)[:, None]
    scores = wae.critic(bulk).detach()
    expected = -torch.distributions.Normal(1.0, 0.5).log_prob(bulk)[:, 0]
    torch.testing.assert_close(scores, expected, rtol=0, atol=0.15)
    logit = (
        torch.distributions.Normal(0.0, 1.0).log_prob(bulk)[:, 0]
        - torch.distributions.Normal(1.0, 0.5).log_prob(bulk)[:, 0]
    )
    torch.testing.assert_close(wae.logit(bulk).detach(), logit, rtol=0, atol=0.15)


def test_the_log_density_is_added_per_example():
    prior = {"name": "mog", "components": 3}
    wae, z = wae_gan(2, prior=prior, log_density=True), torch.randn(7, 2)
    with torch.no_grad():
        difference = wae.logit(z) - wae.critic(z)
    weights, means, scales = (t.numpy() for t in wae.prior.gaussians())
    densities = [
        sum(w * norm(m, s).pdf(row).prod() for w, m, s in zip(weights, means, scales, strict=True))
        for row in z.numpy()
    ]
    assert difference.shape == (7,)
    assert difference.tolist() == pytest.approx([math.log(d) for d in densities], rel=1e-4)


@pytest.mark.parametrize("prior", ["uniform", "sphere"])
def test_a_log_density_with_bounded_support_is_refused(prior):
    message = (
        r"log_density = true: the density of (Uniform|Sphere) is not positive everywhere"
        r'.*; take the prior "normal" or "mog"'
    )
    with pytest.raises(SettingError, match=message):
        wae_gan(prior=prior, log_density=True)


def test_a_learned_log_density_is_refused():
    with pytest.raises(
        SettingError, match=r"log_density = true with a learned prior.*; leave log_density out, or"
    ):
        wae_gan(prior={"name": "mog", "learn": True}, log_density=True)


def test_invalid_settings_of_wae_gan_are_refused():
    with pytest.raises(SettingError, match=r"pretrain = -1: expected greater than or equal to 0"):
        wae_gan(pretrain=-1)
    with pytest.raises(SettingError, match=r"weight = 0\.0: expected greater than 0"):
        wae_gan(weight=0.0)
    with pytest.raises(SettingError, match=r"variance_penalty = 0\.1 .* random_encoder"):
        wae_gan(variance_penalty=0.1)
    with pytest.raises(
        SettingError, match=r"prior: this Normal has dim = 5, but its owner needs 2"
    ):
        wae_gan(prior=Normal(5))


class Quadratic(nn.Module):
    """A critic that depends only on means and covariances."""

    def __init__(self, dim):
        super().__init__()
        self.constant, self.linear = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(dim))
        self.square = nn.Parameter(torch.zeros(dim, dim))

    def forward(self, z):
        return self.constant + z @ self.linear + ((z @ self.square) * z).sum(1)


@pytest.mark.slow
def test_linear_wae_gan_finds_the_principal_subspace(digits):
    """With matched codes, the least cost is the sum of the discarded eigenvalues (see WAE-MMD)."""
    torch.manual_seed(0)
    x = digits.x.float()
    wae = WAEGAN(8, 0.3, encoder=LINEAR, decoder=LINEAR, critic=Quadratic(8), shape=(64,))
    players = wae.players()
    # no momentum, because the game would circle its fixed point
    optimizers = [
        torch.optim.Adam(p.parameters(), lr=lr, betas=(0.0, 0.999))
        for p, lr in zip(players, (0.1, 0.03), strict=True)
    ]
    schedules = [
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2500) for optimizer in optimizers
    ]
    for _ in range(2500):
        batch = x[torch.randint(len(x), (500,))]
        for player, optimizer in zip(players, optimizers, strict=True):
            optimizer.zero_grad()
            player.loss(batch)["loss"].backward()
            optimizer.step()
        for schedule in schedules:
            schedule.step()
    cost = (x - wae.reconstruct(x)).square().sum(1).mean().item()
    assert 1.530448 - 1e-4 < cost < 1.530448 * 1.01
    codes = wae.encode(x).detach()
    torch.testing.assert_close(codes.mean(0), torch.zeros(8), rtol=0, atol=0.06)
    torch.testing.assert_close(codes.T.cov(), torch.eye(8), rtol=0, atol=0.06)
    (layer,) = (m for m in wae.decoder.modules() if isinstance(m, nn.Linear))
    kept = torch.linalg.svdvals(layer.weight.detach()).square()
    torch.testing.assert_close(kept.double(), digits.eigenvalues[:8], rtol=0.08, atol=0)


def moments(codes):
    """Return the distance of a sample from mean 0 and covariance I, as the authors define it."""
    return (
        codes.mean(0).square().mean() + (codes.T.cov() - torch.eye(codes.shape[1])).square().mean()
    ).item()


def test_the_pretraining_loss_is_the_difference_of_moments():
    wae = wae_gan(2).double()
    x = torch.rand(40, 5, dtype=torch.float64)
    codes = wae.encode(x).detach().numpy()
    torch.manual_seed(5)
    loss = wae.pretraining_loss(x)["loss"].item()
    torch.manual_seed(5)
    samples = torch.randn(40, 2, dtype=torch.float64).numpy()
    means = ((codes.mean(0) - samples.mean(0)) ** 2).mean()
    assert loss == pytest.approx(
        means + ((np.cov(codes.T, ddof=0) - np.cov(samples.T, ddof=0)) ** 2).mean()
    )


def test_pretraining_comes_first_and_moves_the_codes_to_the_prior(digits):
    x = digits.x.float()
    wae = wae_gan(4, pretrain=100, shape=(64,))
    start, decoder = moments(wae.encode(x).detach()), [p.clone() for p in wae.decoder.parameters()]
    critic = [p.clone() for p in wae.critic.parameters()]
    run = genzoo.fit(
        wae, x, steps=100, batch_size=256, log_every=1, players={"pretraining": {"lr": 0.01}}
    )
    assert all(
        {name.split("/")[0] for name in line if "/" in name} == {"pretraining"}
        for line in run.history
    )
    assert moments(wae.encode(x).detach()) < min(0.1, start / 5)
    assert all(
        torch.equal(p, q)
        for p, q in zip(
            (*wae.decoder.parameters(), *wae.critic.parameters()), (*decoder, *critic), strict=True
        )
    )
    run = genzoo.fit(wae_gan(4, pretrain=2, shape=(64,)), x, steps=5, batch_size=256, log_every=1)
    logged_players = [{name.split("/")[0] for name in line if "/" in name} for line in run.history]
    assert logged_players == [{"pretraining"}] * 2 + [{"critic", "autoencoder"}] * 3


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (5,)])
@pytest.mark.parametrize(
    "settings",
    [{}, {"random_encoder": True, "variance_penalty": 0.1}, {"log_density": True}],
    ids=str,
)
def test_shapes_of_wae_gan(shape, settings):
    wae = WAEGAN(3, shape=shape, **settings)
    wae.autoencoder_loss(torch.rand(4, *shape))["loss"].backward()
    assert all(p.grad is not None for part in (wae.encoder, wae.decoder) for p in part.parameters())
    assert wae.encode(torch.rand(1, *shape)).shape == (1, 3)
    samples = wae.sample(2, truncation=1.0)
    assert samples.shape == (2, *shape)
    assert len(shape) == 1 or 0 <= samples.min() <= samples.max() <= 1


def test_optimizers_of_wae_gan_match_the_authors_code():
    critic, autoencoder = wae_gan().players()
    assert dict(critic.optimizer) == {"name": "Adam", "lr": 5e-4, "betas": (0.5, 0.999)}
    assert dict(autoencoder.optimizer) == {"name": "Adam", "lr": 1e-3, "betas": (0.5, 0.999)}
