"""Losses computed by hand, with networks whose outputs are known."""

import numpy as np
import pytest
import torch
from genzoo_translation.critics import PatchCritic
from genzoo_translation.cyclegan import CycleGAN
from genzoo_translation.discogan import DiscoGAN
from genzoo_translation.game import judge
from genzoo_translation.pix2pix import Pix2Pix
from torch import nn

from genzoo import build
from genzoo.errors import SettingError

SHAPE = (1, 8, 8)
UNET, RESNET, PATCH = (
    {"name": "unet", "width": 2},
    {"name": "resnet", "width": 2, "blocks": 1},
    {"name": "patch", "width": 2},
)
NET = {"name": "conv", "channels": (2,)}
BOTTLENECK, PYRAMID = (
    {"name": "bottleneck", "encoder": NET, "decoder": NET},
    {"name": "pyramid", "width": 2},
)


class Affine(nn.Module):
    """The map a x + b, as a translator before the output function or as a critic of patches."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x):
        return self.a * x + self.b

    def patches(self, x):
        return self(x).sum(dim=1)

    def features(self, x):
        return [self(x), self(x) ** 2, self(x) ** 3]


class Score(Affine):
    """A critic with the score a times the mean, plus b."""

    def forward(self, x):
        return self.a * x.mean(dim=(1, 2, 3)) + self.b

    patches = None

    def features(self, x):
        return [x, 2 * x, x**2]


def softplus(x):
    return np.log1p(np.exp(x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def batch():
    return {"x": torch.rand(3, *SHAPE).double(), "y": torch.rand(3, *SHAPE).double()}


def test_pix2pix_losses_equal_the_hand_calculation(batch):
    model = Pix2Pix(UNET, PATCH, adversarial_weight=0.5, l1_weight=7.0, shape=SHAPE)
    model.translator, model.critic = Affine(0.5, 0.1), Affine(1.5, -0.2)
    x, y = (2 * batch[name].numpy() - 1 for name in "xy")
    output = np.tanh(0.5 * x + 0.1)
    # the critic sums over both images
    real, fake = (1.5 * (x + other) - 0.4 for other in (y, output))
    losses = model.critic_loss(batch)
    assert losses["loss"].item() == pytest.approx(
        0.5 * (softplus(-real).mean() + softplus(fake).mean())
    )
    assert (losses["real"].item(), losses["fake"].item()) == (
        pytest.approx(real.mean()),
        pytest.approx(fake.mean()),
    )
    losses = model.generator_loss(batch)
    error = np.abs(output - y).mean()
    assert losses["l1"].item() == pytest.approx(error)
    assert losses["loss"].item() == pytest.approx(0.5 * softplus(-fake).mean() + 7 * error)
    assert torch.allclose(model.translate(batch["x"]), torch.from_numpy(output + 1) / 2)


def test_pix2pix_without_a_critic_is_a_regression(batch):
    model = Pix2Pix(UNET, adversarial_weight=0.0, l1_weight=3.0, shape=SHAPE)
    (player,) = model.players()
    model.translator = Affine(0.5, 0.1)
    error = np.abs(
        np.tanh(0.5 * (2 * batch["x"].numpy() - 1) + 0.1) - (2 * batch["y"].numpy() - 1)
    ).mean()
    assert player.name == "generator"
    assert player.loss(batch)["loss"].item() == pytest.approx(3 * error)


def test_cyclegan_losses_equal_the_hand_calculation(batch):
    model = CycleGAN(RESNET, PATCH, cycle_weight=3.0, identity=0.25, pool=0, shape=SHAPE)
    model.to_y, model.to_x = Affine(0.5, 0.1), Affine(-0.7, 0.2)
    model.critic_x, model.critic_y = Affine(2.0, 0.3), Affine(-1.0, 0.4)
    x, y = (2 * batch[name].numpy() - 1 for name in "xy")

    def to_y(z):
        return np.tanh(0.5 * z + 0.1)

    def to_x(z):
        return np.tanh(-0.7 * z + 0.2)

    fooled = np.mean((-to_y(x) + 0.4 - 1) ** 2) + np.mean((2 * to_x(y) + 0.3 - 1) ** 2)
    cycle = np.abs(to_x(to_y(x)) - x).mean() + np.abs(to_y(to_x(y)) - y).mean()
    same = np.abs(to_y(y) - y).mean() + np.abs(to_x(x) - x).mean()
    losses = model.generators_loss(batch)
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(
        {
            "loss": fooled + 3 * cycle + 0.25 * 3 * same,
            "fooled": fooled,
            "cycle": cycle,
            "identity": same,
        }
    )
    of_x = 0.5 * (np.mean((2 * x + 0.3 - 1) ** 2) + np.mean((2 * to_x(y) + 0.3) ** 2))
    of_y = 0.5 * (np.mean((-y + 0.4 - 1) ** 2) + np.mean((-to_y(x) + 0.4) ** 2))
    losses = model.critics_loss(batch)
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(
        {"loss": of_x + of_y, "x": of_x, "y": of_y}
    )
    back = model.cycle(batch["x"]).numpy()
    assert np.allclose(back, (to_x(to_y(x)) + 1) / 2)


def test_cyclegan_learning_rates_decay_in_the_second_half():
    for player in CycleGAN(RESNET, PATCH, shape=SHAPE).players():
        assert [player.schedule(t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)] == [
            1.0,
            1.0,
            1.0,
            0.5,
            0.0,
        ]


@pytest.mark.parametrize(
    ("model", "decay"),
    [
        (Pix2Pix(UNET, PATCH, shape=SHAPE), 0),
        (CycleGAN(RESNET, PATCH, shape=SHAPE), 0),
        (DiscoGAN("paper", BOTTLENECK, PYRAMID, shape=SHAPE), 1e-4),
        (DiscoGAN("code", BOTTLENECK, PYRAMID, shape=SHAPE), 1e-5),
    ],
)
def test_optimizers_match_the_papers(model, decay):
    for player in model.players():
        expected = {
            "name": "Adam",
            "lr": 2e-4,
            "betas": (0.5, 0.999),
            **({"weight_decay": decay} if decay else {}),
        }
        assert dict(player.optimizer) == expected


@pytest.mark.parametrize("model", [Pix2Pix, CycleGAN])
def test_initial_weights_are_small(model):
    """Weights follow N(0, 0.02^2); torch's default would be several times as wide."""
    instance = model(shape=(1, 16, 16))
    weights = torch.cat([p.flatten() for p in instance.parameters() if p.dim() == 4])
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)


def test_a_cycle_may_start_in_either_domain(batch):
    model = CycleGAN(RESNET, PATCH, shape=SHAPE)
    model.to_y, model.to_x = Affine(0.5, 0.1), Affine(-0.7, 0.2)
    y = 2 * batch["y"].numpy() - 1
    expected = (np.tanh(0.5 * np.tanh(-0.7 * y + 0.2) + 0.1) + 1) / 2
    assert np.allclose(model.cycle(batch["y"], reverse=True), expected)


def test_scores_are_computed_in_full_precision():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert judge(PatchCritic(SHAPE, width=2), torch.rand(2, *SHAPE)).dtype == torch.float32


@pytest.mark.parametrize(("calls", "rate"), [(0, 0.01), (6665, 0.01), (6666, 0.5), (9000, 0.5)])
def test_discogan_losses_match_the_authors_code(batch, calls, rate):
    model = DiscoGAN("code", BOTTLENECK, PYRAMID, shape=SHAPE)
    model.to_y, model.to_x = Affine(0.5, 0.1), Affine(-0.7, 0.2)
    model.critic_x, model.critic_y = Score(2.0, 0.3), Score(-1.0, 0.4)
    model.critic_x.__dict__["patches"] = model.critic_x
    model.critic_y.__dict__["patches"] = model.critic_y
    model.iterations.fill_(calls)
    x, y = batch["x"].numpy(), batch["y"].numpy()
    fake_y, fake_x = sigmoid(0.5 * x + 0.1), sigmoid(-0.7 * y + 0.2)

    def matched(real, fake):
        return sum(
            np.mean((f(real).mean(0) - f(fake).mean(0)) ** 2)
            for f in (lambda z: z, lambda z: 2 * z, lambda z: z**2)
        )

    fooled = (
        softplus(fake_y.mean((1, 2, 3)) - 0.4).mean()
        + softplus(-2 * fake_x.mean((1, 2, 3)) - 0.3).mean()
    )
    features = matched(y, fake_y) + matched(x, fake_x)
    cycle = np.mean((sigmoid(-0.7 * fake_y + 0.2) - x) ** 2) + np.mean(
        (sigmoid(0.5 * fake_x + 0.1) - y) ** 2
    )
    losses = model.generators_loss(batch)
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(
        {
            "loss": (1 - rate) * (0.1 * fooled + 0.9 * features) + rate * cycle,
            "fooled": fooled,
            "cycle": cycle,
            "features": features,
        }
    )
    assert int(model.iterations) == calls  # counts steps, not microbatches
    model.players()[1].after()
    assert int(model.iterations) == calls + 1


def test_discogan_losses_match_the_paper(batch):
    model = DiscoGAN("paper", BOTTLENECK, PYRAMID, shape=SHAPE)
    model.to_y, model.to_x = Affine(0.5, 0.1), Affine(-0.7, 0.2)
    model.critic_x, model.critic_y = Affine(2.0, 0.3), Affine(-1.0, 0.4)
    x, y = batch["x"].numpy(), batch["y"].numpy()
    fake_y, fake_x = sigmoid(0.5 * x + 0.1), sigmoid(-0.7 * y + 0.2)
    fooled = softplus(fake_y - 0.4).mean() + softplus(-2 * fake_x - 0.3).mean()
    cycle = np.mean((sigmoid(-0.7 * fake_y + 0.2) - x) ** 2) + np.mean(
        (sigmoid(0.5 * fake_x + 0.1) - y) ** 2
    )
    assert model.generators_loss(batch)["loss"].item() == pytest.approx(fooled + cycle)
    of_x = 0.5 * (softplus(-2 * x - 0.3).mean() + softplus(2 * fake_x + 0.3).mean())
    of_y = 0.5 * (softplus(y - 0.4).mean() + softplus(-fake_y + 0.4).mean())
    losses = model.critics_loss(batch)
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(
        {"loss": of_x + of_y, "x": of_x, "y": of_y}
    )


@pytest.mark.parametrize(
    ("variant", "plays"), [("paper", [(1, 1)] * 6), ("code", [(1, 0), (0, 1), (0, 1)] * 2)]
)
def test_discogan_players_take_turns_as_in_the_authors_code(variant, plays):
    players = DiscoGAN(variant, BOTTLENECK, PYRAMID, shape=SHAPE).players()
    assert [tuple(steps_in(player, r) for player in players) for r in range(6)] == plays


def steps_in(player, round):
    steps = player.steps_per_round
    return steps(round) if callable(steps) else steps


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Pix2Pix(adversarial_weight=0.0, l1_weight=0.0, shape=SHAPE),
            "the loss would be zero",
        ),
        (
            lambda: Pix2Pix(shape=(1, 8, 8), given_shape=(1, 8, 9)),
            r"given_shape = \(1, 8, 9\).*the same height and width",
        ),
        (lambda: Pix2Pix(shape=(5,)), "between images"),
        (lambda: CycleGAN(shape=(3, 8, 8), given_shape=(1, 8, 8)), "set identity = 0"),
        (
            lambda: CycleGAN(
                build(RESNET, "translators", given_shape=SHAPE, shape=SHAPE), shape=SHAPE
            ),
            "two are needed",
        ),
        (lambda: DiscoGAN("code", critic="conv", shape=SHAPE), 'choose "pyramid"'),
    ],
)
def test_unsuitable_settings_are_refused(make, message):
    with pytest.raises(SettingError, match=message):
        make()


@pytest.mark.parametrize("given", [None, torch.rand(2, *SHAPE), torch.rand(3, 1, 8, 9)])
def test_sampling_needs_images(given):
    with pytest.raises(SettingError, match=r"Pix2Pix\.sample\(3, given\).*\(3, 1, 8, 8\)"):
        Pix2Pix(UNET, PATCH, shape=SHAPE).sample(3, given)
