"""Critics with a known fixed point: two points, one-dimensional pairs, and 25 modes."""

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import nn

import genzoo
from genzoo.errors import SettingError
from genzoo.models.wgan_gp import WGANGP
from tests.models.distributions import Sample, Shift, quantiles, train_critic

SMALL = {"name": "mlp", "hidden": (8,)}
RELU = {"name": "mlp", "hidden": (32, 32), "activation": "relu"}


POINTS = torch.full((64, 1), 5.0), torch.zeros(64, 1)


def between(real, fake, critic, weight, **penalty):
    """Return a model whose real and generated examples are fixed points on the line."""
    penalty = {"name": "gradient-penalty", **penalty}
    return WGANGP(
        1, weight, penalty=penalty, generator=Shift(), critic=critic, prior=Sample(fake), shape=(1,)
    )


@pytest.mark.slow
@pytest.mark.parametrize(("start", "slope"), [(0.5, 1.25), (-0.5, -0.75)])
def test_two_points_and_a_linear_critic_reach_the_fixed_point(start, slope):
    # -w W + L (|w| - 1)^2 is least at w = 1 + W / 2 L, with the gap W + W^2 / 2 L. On the wrong
    # side, it has a minimum at -1 + W / 2 L.
    model = between(*POINTS, {"name": "mlp", "hidden": ()}, 10.0)
    (layer,) = (m for m in model.critic.modules() if isinstance(m, nn.Linear))
    nn.init.constant_(layer.weight, start)
    report = train_critic(model, POINTS[0], 300, lr=0.05, betas=(0.5, 0.9))
    assert layer.weight.item() == pytest.approx(slope, rel=1e-4)
    assert report["gap"] == pytest.approx(5 * slope, rel=1e-4)
    assert report["penalty"] == pytest.approx((5 / 20) ** 2, rel=1e-3)
    assert report["loss"] == pytest.approx(-5 * slope + 10 / 16, rel=1e-3)


@pytest.mark.slow
def test_two_points_and_a_network_reach_the_fixed_point():
    report = train_critic(between(*POINTS, RELU, 10.0), POINTS[0], 500, lr=0.01, betas=(0.5, 0.9))
    assert report["gap"] == pytest.approx(6.25, rel=0.02)


PAIRS = {
    "shifted": (quantiles(512), quantiles(512, 2.0), 2.0),
    "wider": (quantiles(512), quantiles(512, 0.0, 2.0), 0.797885),
    "two points": (torch.full((64, 1), 2.0), torch.zeros(64, 1), 2.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_the_gap_is_the_wasserstein_distance(name):
    real, fake, distance = PAIRS[name]
    expected = wasserstein_distance(real[:, 0], fake[:, 0])
    assert expected == pytest.approx(distance, rel=0.01)
    report = train_critic(
        between(real, fake, RELU, 200.0, sides="one"), real, 500, lr=0.01, betas=(0.5, 0.9)
    )
    assert report["gap"] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_batch_norm_in_the_critic_is_refused_in_either_mode(kind):
    with pytest.raises(
        SettingError,
        match=r'critic: .*\(BatchNorm.d\) mixes the examples .* take norm = "layer", .* or "none"',
    ):
        WGANGP(2, critic={"name": kind, "norm": "batch"}, shape=(1, 8, 8))
    critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4)).eval()
    with pytest.raises(SettingError, match=r"critic: 2 \(BatchNorm1d\)"):
        WGANGP(2, critic=critic, shape=(1, 8, 8))


def test_the_generator_may_have_batch_norm():
    net = {"name": "conv", "channels": (4, 8)}
    model = WGANGP(
        2, generator={**net, "norm": "batch"}, critic={**net, "norm": "layer"}, shape=(1, 8, 8)
    )
    run = genzoo.fit(model, torch.rand(32, 1, 8, 8), steps=3, batch_size=8)
    assert all(p.isfinite().all() for p in run.model.parameters())


@pytest.mark.parametrize(
    "penalty", ["gradient-penalty", {"name": "gradient-penalty", "sides": "one"}, "dragan", "r1"]
)
def test_penalties_are_built_from_a_name_or_a_table(penalty):
    model = WGANGP(2, 3.0, penalty=penalty, generator=SMALL, critic=SMALL, shape=(3,))
    report = {name: value.item() for name, value in model.critic_loss(torch.rand(20, 3)).items()}
    assert report["loss"] == pytest.approx(-report["gap"] + 3 * report["penalty"], abs=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_trains_in_other_precisions(precision):
    model = WGANGP(2, generator=SMALL, critic={**SMALL, "norm": "layer"}, shape=(3,))
    run = genzoo.fit(model, torch.rand(40, 3), steps=3, batch_size=8, precision=precision)
    assert all(p.isfinite().all() for p in run.model.parameters())


@pytest.mark.slow
def test_twenty_five_gaussians_are_covered():
    net = {"name": "mlp", "hidden": (128, 128, 128), "activation": "relu"}
    # the authors' penalty weight for this distribution
    model = WGANGP(2, 0.1, generator=net, critic=net, shape=(2,))
    adam = {"lr": 3e-3, "betas": (0.5, 0.9)}
    players = {"critic": adam, "generator": adam}
    data = {"name": "toy", "distribution": "25-gaussians"}
    samples = (
        genzoo.fit(model, data, steps=700, batch_size=128, schedule="linear", players=players)
        .model.sample(10_000)
        .numpy()
    )
    axis = np.array([-4, -2, 0, 2, 4]) / 2.828
    modes = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(25, 2)
    distances = np.linalg.norm(samples[:, None] - modes, axis=2)
    good = distances.min(1) < 3 * 0.05 / 2.828
    # the modes cover about 2 % of the area; recipes/wgan-gp-toy.toml trains longer
    assert good.mean() >= 0.1
    # As in VEEGAN and PacGAN, samples within three standard deviations of a mode belong to it.
    assert np.bincount(distances.argmin(1)[good], minlength=25).min() >= 1
