"""Small games whose every step can be computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

import genzoo
from genzoo import Model, Player

DATA = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
"""Training data for these games."""
FAST = {"batch_size": 8, "checkpoint_every": 2, "log_every": 2}
"""Settings for short runs."""


@genzoo.models.register("test-mean")
class Mean(Model):
    """A vector that moves to the mean of the data. Its gradient is `w - mean(x)`."""

    def __init__(
        self,
        lr: float = 0.1,
        momentum: float = 0.0,
        nan_at: int = -1,
        shape: tuple[int, ...] = (2,),
    ) -> None:
        super().__init__()
        self.shape, self.lr, self.momentum, self.nan_at = shape, lr, momentum, nan_at
        self.w = nn.Parameter(torch.zeros(shape))
        self.register_buffer("pool", torch.zeros(3))
        self.calls = 0

    training_state = ("pool",)

    def players(self) -> tuple[Player, ...]:
        return (
            Player(
                name="mean",
                owns=(self,),
                loss=self.loss,
                optimizer={"name": "SGD", "lr": self.lr, "momentum": self.momentum},
            ),
        )

    def loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        self.pool += 1
        self.calls += 1
        loss = 0.5 * (self.w - batch).square().flatten(1).sum(1).mean()
        return {"loss": loss * (float("nan") if self.calls == self.nan_at else 1.0)}

    @torch.no_grad()
    def sample(self, n: int, given: None = None) -> Tensor:
        return self.w.expand(n, *self.shape).clone()


@genzoo.models.register("test-game")
class Game(Model):
    """A critic and a generator that record which player saw which batch.

    Noise and dropout make the result depend on the seed.
    """

    def __init__(self, critic_steps: int = 1, shape: tuple[int, ...] = (2,)) -> None:
        super().__init__()
        self.shape, self.critic_steps = shape, critic_steps
        self.generator = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.3), nn.Linear(8, *shape))
        self.critic = nn.Sequential(nn.Linear(*shape, 8), nn.Tanh(), nn.Linear(8, 1))
        self.seen: dict[str, list[Tensor]] = {"critic": [], "generator": []}
        self.gradients: dict[str, list[set[str]]] = {"critic": [], "generator": []}
        """The names of the parameters that take gradients, for each loss."""
        self.steps: int | Callable[[int], int] = critic_steps

    def players(self) -> tuple[Player, ...]:
        return (
            Player(
                name="critic",
                owns=(self.critic,),
                loss=self.critic_loss,
                steps_per_round=self.steps,
                optimizer={"name": "Adam", "lr": 1e-2},
            ),
            Player(
                name="generator",
                owns=(self.generator,),
                loss=self.generator_loss,
                optimizer={"name": "Adam", "lr": 1e-2},
            ),
        )

    def critic_loss(self, x: Tensor) -> Mapping[str, Tensor]:
        self._record("critic", x)
        fake = self.generator(genzoo.distributed.noise(len(x), 2, like=x)).detach()
        return {
            "loss": nn.functional.softplus(-self.critic(x)).mean()
            + nn.functional.softplus(self.critic(fake)).mean()
        }

    def generator_loss(self, x: Tensor) -> Mapping[str, Tensor]:
        self._record("generator", x)
        fake = self.generator(torch.randn(len(x), 2, dtype=x.dtype))
        return {
            "loss": nn.functional.softplus(-self.critic(fake)).mean(),
            "score": self.critic(x).mean(),
        }

    def _record(self, player: str, x: Tensor) -> None:
        self.seen[player].append(x.clone())
        names = {name for name, p in self.named_parameters() if p.requires_grad}
        self.gradients[player].append(names)

    @torch.no_grad()
    def sample(self, n: int, given: None = None) -> Tensor:
        return self.generator(torch.randn(n, 2, dtype=self.reference_tensor.dtype))


class Point(nn.Module):
    """A vector that moves to the mean of the data."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(shape))

    def distance(self, x: Tensor) -> Tensor:
        return 0.5 * (self.w - x).square().sum(1).mean()


@genzoo.models.register("test-phases")
class Phases(Model):
    """Two vectors that move to the mean of the data by gradient descent: first one, then both."""

    def __init__(
        self, until: int = 3, after: int | None = None, shape: tuple[int, ...] = (2,)
    ) -> None:
        super().__init__()
        self.shape, self.until, self.after = shape, until, until if after is None else after
        self.first, self.second = Point(shape), Point(shape)
        self.gradients: list[tuple[bool, bool]] = []

    def players(self) -> tuple[Player, ...]:
        return (
            Player(
                name="pretraining",
                owns=(self.first,),
                loss=self.early,
                steps_per_round=lambda r: int(r < self.until),
                optimizer={"name": "SGD", "lr": 0.5},
            ),
            Player(
                name="joint",
                owns=(self,),
                loss=self.late,
                steps_per_round=lambda r: int(r >= self.after),
                optimizer={"name": "SGD", "lr": 0.25},
            ),
        )

    def early(self, x: Tensor) -> Mapping[str, Tensor]:
        self.gradients.append((self.first.w.requires_grad, self.second.w.requires_grad))
        return {"loss": self.first.distance(x)}

    def late(self, x: Tensor) -> Mapping[str, Tensor]:
        self.gradients.append((self.first.w.requires_grad, self.second.w.requires_grad))
        return {"loss": self.first.distance(x) + self.second.distance(x)}

    @torch.no_grad()
    def sample(self, n: int, given: None = None) -> Tensor:
        return self.first.w.expand(n, *self.shape).clone()
