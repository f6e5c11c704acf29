"""Two third-party models that show what the contract allows besides autoencoders."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from genzoo import Model, Player, build
from genzoo.contract import Part, PositiveFloat
from genzoo.distributed import uniform


class Translator(Model):
    """A translator that learns from pairs: a generator against a critic that sees both images."""

    inputs = ("x", "y")
    given = ("x",)

    def __init__(
        self,
        critic: Part = "conv",
        weight: PositiveFloat = 10.0,
        shape: tuple[int, ...] = (1, 28, 28),
    ) -> None:
        super().__init__()
        self.shape, self.weight = shape, weight
        channels, height, width = shape
        self.generator = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(8, channels, 3, padding=1),
            nn.Sigmoid(),
        )
        self.critic = build(critic, "critics", shape=(2 * channels, height, width))

    def score(self, x: Tensor, given: Tensor) -> Tensor:
        return self.critic(torch.cat([x, given], dim=1))

    def generator_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        output = self.generator(batch["x"])
        error = (output - batch["y"]).abs().mean()
        return {
            "loss": softplus(-self.score(batch["x"], output)).mean() + self.weight * error,
            "error": error,
        }

    def critic_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        real, fake = (
            self.score(batch["x"], batch["y"]),
            self.score(batch["x"], self.generator(batch["x"]).detach()),
        )
        return {"loss": softplus(-real).mean() + softplus(fake).mean()}

    def players(self) -> tuple[Player, ...]:
        return (
            Player(name="critic", owns=(self.critic,), loss=self.critic_loss),
            Player(name="generator", owns=(self.generator,), loss=self.generator_loss),
        )

    @torch.no_grad()
    def sample(self, n: int, given: Any = None) -> Tensor:
        return self.generator(given[:n])

    def example(self, n: int) -> Mapping[str, Tensor]:
        x = uniform(n, *self.shape, like=self.reference_tensor)
        return {"x": x, "y": 1 - x}


class Bigrams(Model):
    """A model of text in which each symbol depends on the one before it.

    Texts are one-hot, `(batch, length, vocabulary)`.
    """

    def __init__(self, shape: tuple[int, int] = (16, 27)) -> None:
        super().__init__()
        self.shape = shape
        self.first = nn.Parameter(torch.zeros(shape[1]))
        self.following = nn.Linear(shape[1], shape[1])

    def log_prob(self, x: Tensor) -> Tensor:
        """Return exact log-probabilities in nats: `(batch, length, vocabulary)` -> `(batch,)`."""
        first = (x[:, 0] * self.first.log_softmax(-1)).sum(-1)
        rest = (x[:, 1:] * self.following(x[:, :-1]).log_softmax(-1)).sum((-2, -1))
        return first + rest

    def loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        return {"loss": -self.log_prob(batch).mean()}

    def draw(self, logits: Tensor) -> Tensor:
        """Sample one symbol per row with the Gumbel trick."""
        gumbel = -torch.log(-torch.log(uniform(*logits.shape, like=logits).clamp(1e-6, 1 - 1e-6)))
        return one_hot((logits + gumbel).argmax(-1), self.shape[1]).to(logits.dtype)

    @torch.no_grad()
    def sample(self, n: int, given: Any = None) -> Tensor:
        text = [self.draw(self.first.expand(n, -1))]
        while len(text) < self.shape[0]:
            text.append(self.draw(self.following(text[-1])))
        return torch.stack(text, dim=1)

    def example(self, n: int) -> Tensor:
        return one_hot(
            uniform(n, *self.shape, like=self.reference_tensor).argmax(-1), self.shape[1]
        ).to(self.reference_tensor.dtype)
