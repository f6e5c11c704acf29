"""Games with a known optimal critic: tables of probabilities, and pairs of Gaussians."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from torch import nn

from genzoo.models.gan import DCGAN, GAN, LSGAN
from genzoo.models.wgan import WGAN
from genzoo.models.wgan_gp import WGANGP
from tests.models.distributions import Sample, Shift, quantiles, train_critic

SMALL = {"name": "mlp", "hidden": (8,)}
# 20 real and 20 generated examples on four points
P, Q = torch.tensor([8, 6, 5, 1]), torch.tensor([2, 4, 4, 10])


def gan(**settings):
    settings = {"generator": SMALL, "critic": SMALL, "penalty": "none", **settings}
    return GAN(1, **{"shape": (1,), **settings})


def on_table(model, scores):
    """Return the critic's objective, given a score for each of the four points."""
    return model.critic_objective(scores.repeat_interleave(P), scores.repeat_interleave(Q))


BEST = [
    ({}, lambda p, q: (p / q).log()),
    ({"loss": "minimax"}, lambda p, q: (p / q).log()),
    # sigmoid(D) = (1 - s) p / (p + q)
    ({"smoothing": 0.1}, lambda p, q: (0.9 * p / (q + 0.1 * p)).log()),
    ({"loss": "least-squares"}, lambda p, q: p / (p + q)),
    ({"loss": "least-squares", "labels": (-1.0, 1.0, 0.0)}, lambda p, q: (p - q) / (p + q)),
    (
        {"loss": "least-squares", "labels": (0.2, 0.9, 0.5)},
        lambda p, q: (0.9 * p + 0.2 * q) / (p + q),
    ),
]


@pytest.mark.parametrize(("settings", "best"), BEST, ids=[str(settings) for settings, _ in BEST])
def test_the_best_critic_of_a_table(settings, best):
    p, q = P.double() / 20, Q.double() / 20
    scores = best(p, q).requires_grad_()
    model = gan(**settings)
    value = on_table(model, scores)
    (gradient,) = torch.autograd.grad(value, scores)
    torch.testing.assert_close(gradient, torch.zeros(4).double(), rtol=0, atol=1e-15)
    for _ in range(20):
        assert on_table(model, scores + 0.3 * torch.randn(4)) > value


@pytest.mark.parametrize("loss", ["non-saturating", "minimax"])
def test_the_value_of_the_game_at_the_best_critic_is_the_jensen_shannon_divergence(loss):
    p, q = P.double() / 20, Q.double() / 20
    divergence = jensenshannon(p, q) ** 2
    value = -on_table(gan(loss=loss), (p / q).log()).item()
    assert value == pytest.approx(2 * divergence - math.log(4), abs=1e-14)


def test_the_labels_of_lsgan_give_the_pearson_chi_squared_divergence():
    # chi-squared of p + q from 2q, if the generator's objective includes real examples
    p, q = P.double() / 20, Q.double() / 20
    model = gan(loss="least-squares", labels=(-1.0, 1.0, 0.0))
    scores = (p - q) / (p + q)
    value = 2 * ((p + q) * model.generator_objective(scores)).sum()
    assert value.item() == pytest.approx((((p + q) - 2 * q) ** 2 / (p + q)).sum().item(), rel=1e-14)


@pytest.mark.parametrize("score", [-3.0, -0.5, 0.0, 1.5])
def test_generator_objectives_and_their_gradients_match_formulas(score):
    chance = 1 / (1 + math.exp(-score))
    for settings, value, slope in (
        ({"loss": "minimax"}, math.log(1 - chance), -chance),
        ({"loss": "non-saturating"}, -math.log(chance), chance - 1),
        ({"loss": "least-squares"}, 0.5 * (score - 1) ** 2, score - 1),
        ({"loss": "least-squares", "labels": (-1.0, 1.0, 0.0)}, 0.5 * score**2, score),
    ):
        x = torch.tensor([score], dtype=torch.float64, requires_grad=True)
        objective = gan(**settings).generator_objective(x)
        assert objective.shape == (1,)
        assert objective.item() == pytest.approx(value, rel=1e-12)
        assert torch.autograd.grad(objective.sum(), x)[0].item() == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize(
    "settings", [{"loss": "minimax"}, {"loss": "non-saturating"}, {"smoothing": 0.2}], ids=str
)
def test_extreme_scores_give_finite_losses(settings):
    x = torch.tensor([-500.0, 500.0], requires_grad=True)
    model = gan(**settings)
    total = model.critic_objective(x, x) + model.generator_objective(x).sum()
    assert total.isfinite()
    assert torch.autograd.grad(total, x)[0].isfinite().all()


class Logit(nn.Module):
    """A critic that returns the optimal logit of N(0, 1) against N(d, 1)."""

    def __init__(self, d):
        super().__init__()
        self.d = nn.Parameter(torch.tensor(d))

    def forward(self, x):
        return self.d**2 / 2 - self.d * x[:, 0]


@pytest.mark.parametrize(
    ("d", "js"),
    [
        (0.1, 0.001248),
        (0.5, 0.030311),
        (1.0, 0.111421),
        (2.0, 0.336831),
        (4.0, 0.632720),
        (8.0, 0.693054),
    ],
)
def test_jensen_shannon_of_gaussians(d, js):
    model = gan(generator=Shift(d), critic=Logit(d), prior="normal")
    report = model.critic_loss(torch.randn(200_000, 1))
    assert report["js"].item() == pytest.approx(js, abs=5e-4 if d < 0.5 else 3e-3)
    assert report["loss"].item() == pytest.approx(math.log(4) - 2 * js, abs=6e-3)


def test_js_excludes_the_penalty_and_is_not_logged_with_smoothing():
    x = torch.randn(50, 1)
    plain = gan(generator=Shift(1.0), critic=Logit(1.0), prior="normal")
    penalized = gan(
        generator=Shift(1.0), critic=Logit(1.0), prior="normal", penalty="r1", penalty_weight=7.0
    )
    reports = []
    for model in (plain, penalized):
        torch.manual_seed(4)
        reports.append(model.critic_loss(x))
    without, with_penalty = reports
    assert with_penalty["penalty"].item() == pytest.approx(0.5)  # the slope is 1
    assert with_penalty["loss"].item() == pytest.approx(without["loss"].item() + 3.5)
    assert with_penalty["js"].item() == pytest.approx(without["js"].item(), abs=1e-6)
    assert "js" not in gan(smoothing=0.1).critic_loss(x)
    assert "js" not in gan(loss="least-squares").critic_loss(x)


@pytest.mark.slow
def test_a_linear_critic_learns_the_logit_of_two_gaussians():
    real, fake, d = quantiles(1000), quantiles(1000, 1.5), 1.5
    model = gan(generator=Shift(), critic={"name": "mlp", "hidden": ()}, prior=Sample(fake))
    report = train_critic(model, real, 600, lr=0.05)
    (layer,) = (m for m in model.critic.modules() if isinstance(m, nn.Linear))
    points, labels = np.concatenate([real, fake]), np.repeat([1, 0], 1000)
    other = LogisticRegression(C=1e8, tol=1e-10).fit(points, labels)
    assert layer.weight.item() == pytest.approx(other.coef_.item(), rel=1e-3)
    assert layer.bias.item() == pytest.approx(other.intercept_.item(), rel=1e-3)
    assert layer.weight.item() == pytest.approx(-d, rel=0.02)
    assert layer.bias.item() == pytest.approx(d**2 / 2, rel=0.02)
    assert report["gap"] == pytest.approx(d**2, rel=0.02)


def twice_js(d):
    """Return 2 JS(N(0, 1), N(d, 1)) by numerical integration."""
    p, q = norm(0, 1).pdf, norm(d, 1).pdf
    return quad(
        lambda x: (
            p(x) * math.log(2 * p(x) / (p(x) + q(x))) + q(x) * math.log(2 * q(x) / (p(x) + q(x)))
        ),
        -9,
        9 + d,
    )[0]


@pytest.mark.parametrize("d", [0.5, 1.0, 2.0])
def test_with_the_best_critic_the_minimax_gradient_is_that_of_jensen_shannon(d):
    model = gan(loss="minimax", generator=Shift(d), critic=Logit(d), prior="normal")
    value = model.generator_loss(torch.zeros(200_000, 1))["loss"]
    (slope,) = torch.autograd.grad(value, model.generator.offset)
    assert slope.item() == pytest.approx((twice_js(d + 1e-4) - twice_js(d - 1e-4)) / 2e-4, abs=5e-3)
    assert model.generator.offset.grad is model.critic.d.grad is None


def test_presets_match_the_papers():
    model = DCGAN(shape=(3, 64, 64), channels=(2, 4, 8, 16), latent_dim=5)
    convolutions = [m for m in model.generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m.out_channels for m in convolutions] == [8, 4, 2, 3]  # four levels, from 4 x 4 pixels
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 4 + 3  # in both networks, except for the layers next to the data
    assert model.output == "tanh"
    (critic, generator) = model.players()
    for player in (critic, generator):
        assert dict(player.optimizer) == {"name": "Adam", "lr": 2e-4, "betas": (0.5, 0.999)}
    wide = DCGAN(shape=(1, 28, 28), channels=(32, 64))
    weights = torch.cat(
        [
            m.weight.flatten()
            for m in wide.modules()
            if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
        ]
    )
    gains = torch.cat([m.weight for m in wide.modules() if isinstance(m, nn.BatchNorm2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert weights.mean().item() == pytest.approx(0, abs=1e-3)
    assert (gains.mean().item(), gains.std().item()) == (
        pytest.approx(1, abs=0.01),
        pytest.approx(0.02, rel=0.3),
    )
    least = LSGAN(channels=(4,), labels=(-1.0, 1.0, 0.0), shape=(1, 8, 8))
    assert (least.loss_name, least.labels) == ("least-squares", (-1.0, 1.0, 0.0))
    scores = torch.tensor([0.0, 2.0])
    assert least.critic_objective(scores, scores).item() == 0.5 * (1 + 5)


@pytest.mark.parametrize(
    ("kind", "optimizer", "steps"),
    [
        (WGAN, {"name": "RMSprop", "lr": 5e-5}, 5),
        (WGANGP, {"name": "Adam", "lr": 5e-4, "betas": (0.0, 0.9)}, 5),
        (GAN, {"name": "Adam", "lr": 5e-4, "betas": (0.0, 0.9)}, 1),
    ],
)
def test_optimizers_match_the_papers(kind, optimizer, steps):
    critic, generator = kind(2, generator=SMALL, critic=SMALL, shape=(3,)).players()
    assert dict(critic.optimizer) == dict(generator.optimizer) == optimizer
    assert (critic.steps_per_round, generator.steps_per_round) == (steps, 1)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (1, 25, 31)])
@pytest.mark.parametrize("kind", [GAN, DCGAN, LSGAN])
def test_shapes(kind, shape):
    model = kind(3, shape=shape)
    x = model.sample(4)
    assert x.shape == (4, *shape)
    assert 0 <= x.min() <= x.max() <= 1
    assert model.score(x).shape == (4,)
