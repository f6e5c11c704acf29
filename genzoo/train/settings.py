"""How to train: the settings of a recipe's `[train]` section and of `fit`, with their defaults."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from genzoo.build import check
from genzoo.contract import NonNegativeFloat, Positive, PositiveFloat
from genzoo.errors import SettingError

SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * t)),
}
"""Fraction of training in [0, 1] -> factor on the learning rate; cosine ends at 2 %."""

_PATIENCE = 100_000
"""Rounds in a row without a step after which players are held to have stopped for ever."""


@dataclass(frozen=True)
class Settings:
    """How to train; every field is a setting of `fit` and of `[train]`.

    Arguments:
        steps: rounds to train for, in all; 2,000 where neither this nor `epochs` is given.
        epochs: passes through the training data instead of `steps`.
        batch_size: examples a batch, over all processes and microbatches together.
        seed: of everything: weights, order of the data, noise.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: "32-true", "64-true", "bf16-true", "bf16-mixed" or "16-mixed".
        compile: compile the losses with `torch.compile`.
        ema: decay of an exponential moving average of the weights, such as 0.999; `load` then returns the average, whose batch
            norms have statistics of their own.
        clip: largest norm of a player's gradient.
        schedule: of the learning rate, over all players: "constant", "linear" (to 0), "cosine" (to 2 %); else each player's.
        warmup: fraction of training over which the learning rate rises from 0.
        accumulate: microbatches a batch is split into, to save memory.
        checkpoint: steps between checkpoints.
        keep: how many of the last checkpoints to keep.
        log: steps between lines of the log.
        samples: steps between sheets of samples.
        gradient_norms: log the norm of each parameter's gradient, before clipping, as `gradient/NAME`.
        resident: keep the data on the device; by default where they fit, else they stream.
    """

    steps: Positive | None = None
    epochs: PositiveFloat | None = None
    batch_size: Positive = 128
    seed: int = 0
    device: str = "auto"
    precision: Literal["32-true", "64-true", "bf16-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False
    ema: Annotated[float, Gt(0), Lt(1)] | None = None
    clip: PositiveFloat | None = None
    schedule: Literal["constant", "linear", "cosine"] | None = None
    warmup: Annotated[NonNegativeFloat, Ge(0), Lt(1)] = 0.0
    accumulate: Positive = 1
    checkpoint: Positive = 1000
    keep: Positive = 3
    log: Positive = 50
    samples: Positive = 500
    gradient_norms: bool = False
    resident: bool | None = None

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Settings:
        """Checked settings.

        Raises:
            SettingError: an unknown setting, a value of another type, or both `steps` and `epochs`.
        """
        settings = cls(**check(cls, table, "train", "train"))
        if settings.steps is not None and settings.epochs is not None:
            raise SettingError(f"train.steps = {settings.steps} and train.epochs = {settings.epochs:g}: give one of them")
        return settings

    def total(self, batches_per_epoch: int, batches: Callable[[int], int]) -> int:
        """Rounds in all: the fewest that read `epochs` passes, where `batches` says how many batches a round reads.

        Raises:
            SettingError: the rounds stop reading before that.
        """
        if self.epochs is None:
            return self.steps or 2000
        left, rounds, idle = self.epochs * batches_per_epoch - 1e-9, 0, 0  # 1.1 * 10 is a little more than 11
        while left > 0:
            read = batches(rounds)
            rounds, left, idle = rounds + 1, left - read, 0 if read else idle + 1
            if idle == _PATIENCE:
                raise SettingError(
                    f"train.epochs = {self.epochs:g} is not reached: no player makes a step in {idle:,} rounds; give train.steps"
                )
        return max(1, rounds)

    def factor(self, own: Callable[[float], float] | None, progress: float) -> float:
        """The factor on a player's learning rate after a fraction of training."""
        rise = min(1.0, progress / self.warmup) if self.warmup else 1.0
        shape = SCHEDULES[self.schedule] if self.schedule else own or SCHEDULES["constant"]
        return rise * shape(progress)
