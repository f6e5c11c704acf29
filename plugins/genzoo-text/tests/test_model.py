"""Losses computed by hand, samples as text, and unsuitable data."""

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from genzoo import build
from genzoo.contract import Critic, Decoder
from genzoo.errors import DataError, SettingError

SHAPE = (3, 4)
SMALL = {"width": 8, "depth": 1}
VOCABULARY = "␀�ab"


class Fixed(Decoder):
    """A decoder with the same logits for every latent vector."""

    def __init__(self, dim: int = 2, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__()
        self.dim, self.shape = dim, shape
        self.logits = nn.Parameter(torch.randn(*shape, dtype=torch.float64))

    def forward(self, z):
        return self.logits.expand(len(z), *self.shape)


class Linear(Critic):
    """A critic with the score <w, x>, whose slope is |w| everywhere."""

    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__()
        self.shape = shape
        self.weight = nn.Parameter(torch.randn(*shape, dtype=torch.float64))

    def forward(self, x):
        return (x * self.weight).sum(dim=(1, 2))


def model(**settings):
    return build(
        {"name": "char-wgan-gp", "generator": SMALL, "critic": SMALL, **settings}, shape=SHAPE
    )


def test_the_losses_with_a_linear_critic_equal_the_hand_calculation():
    game = model(generator=Fixed(), critic=Linear(), latent_dim=2, penalty_weight=7.0).double()
    x = one_hot(torch.tensor([[0, 1, 2], [3, 3, 0]]), 4).double()
    w, logits = game.critic.weight.detach(), game.generator.logits.detach()
    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    real = (
        sum(
            w[place, symbol].item()
            for row in ([0, 1, 2], [3, 3, 0])
            for place, symbol in enumerate(row)
        )
        / 2
    )
    fake, penalty = (w * p).sum().item(), (w.square().sum().sqrt().item() - 1) ** 2
    expected = {
        "loss": fake - real + 7 * penalty,
        "real": real,
        "fake": fake,
        "gap": real - fake,
        "sample_variance_ratio": 0.0,  # both samples are equal
        "penalty": penalty,
    }
    assert {name: value.item() for name, value in game.critic_loss(x).items()} == pytest.approx(
        expected
    )
    loss = game.generator_loss(x)["loss"]
    assert loss.item() == pytest.approx(-fake)
    loss.backward()  # the gradient of -<w, p> by the logits is -p (w - <w, p>)
    torch.testing.assert_close(
        game.generator.logits.grad, -p * (w - (w * p).sum(dim=1, keepdim=True))
    )


def test_the_penalty_uses_a_separate_point_for_each_line():
    """For D(x) = |x|^2 / 2, the slope at x is |x|. Each line has its weight e ~ U[0, 1]."""

    class Square(Linear):
        def forward(self, x):
            return x.square().sum(dim=(1, 2)) / 2 + 0 * self.weight.sum()

    game = model(generator=Fixed(), critic=Square(), latent_dim=2).double()
    x = one_hot(torch.zeros(20_000, 3, dtype=torch.long), 4).double()
    penalty = game.critic_loss(x)["penalty"].item()
    p = game.generator.logits.detach().softmax(1)
    e = (torch.arange(20_000, dtype=torch.float64) / 20_000)[:, None, None]
    expected = ((e * x[0] + (1 - e) * p).flatten(1).norm(dim=1) - 1).square().mean().item()
    assert penalty == pytest.approx(expected, rel=0.05)


def test_the_defaults_match_the_authors_code():
    game = build("char-wgan-gp", shape=(32, 10))
    critic, generator = game.players()
    assert game.latent_dim == 128
    assert game.penalty_weight == 10
    assert (critic.steps_per_round, generator.steps_per_round) == (10, 1)
    for player in (critic, generator):
        assert dict(player.optimizer) == {"name": "Adam", "lr": 1e-4, "betas": (0.5, 0.9)}
    assert weight_shapes(game.generator) == [
        (512 * 32, 128), *[(512, 512, 5)] * 10, (10, 512, 1)
    ]  # fmt: skip
    assert weight_shapes(game.critic) == [
        (512, 10, 1), *[(512, 512, 5)] * 10, (1, 512 * 32)
    ]  # fmt: skip


def weight_shapes(network):
    named = network.named_parameters()
    return [tuple(parameter.shape) for name, parameter in named if "weight" in name]


def test_samples_are_the_most_likely_symbols():
    game = model()
    torch.manual_seed(3)
    x = game.sample(5)
    torch.manual_seed(3)
    soft = game.decode(game.prior.sample(5))
    assert soft.sum(dim=-1).sub(1).abs().max() < 1e-6
    for line, distribution in zip(x, soft, strict=True):
        for place in range(3):
            likeliest = max(range(4), key=lambda k: distribution[place, k].item())
            assert line[place].tolist() == [float(k == likeliest) for k in range(4)]


def test_text_is_decoded_with_the_vocabulary():
    x = one_hot(torch.tensor([[2, 3, 0], [0, 2, 1], [0, 0, 0]]), 4).float()
    assert model(vocabulary=VOCABULARY).text(x) == ["ab", "␀a�", ""]
    assert model(vocabulary=VOCABULARY).text(x / 2 + 0.1) == ["ab", "␀a�", ""]
    assert model().text(x) == ["⠂⠃", "⠀⠂⠁", ""]


@pytest.mark.parametrize("vocabulary", ["abc", "abcde", "abca"])
def test_a_vocabulary_of_another_size_is_refused(vocabulary):
    with pytest.raises(
        SettingError, match=rf"'{vocabulary}' has {len(set(vocabulary))} different symbols"
    ):
        model(vocabulary=vocabulary)


def test_unsuitable_data_are_refused():
    game = model()
    for batch in (torch.rand(2, 3, 4), torch.zeros(2, 3, 4), torch.eye(4)[None, :3] * 2):
        with pytest.raises(DataError, match="reads one-hot symbols"):
            game.check_batch(batch)
    game.check_batch(game.example(3))
    with pytest.raises(SettingError, match=r"shape \(length, symbols\), not for shape \(1, 8, 8\)"):
        build("char-wgan-gp", shape=(1, 8, 8))
    with pytest.raises(SettingError, match="penalty = MMD"):
        model(penalty="mmd")
