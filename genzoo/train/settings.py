"""How to train: the settings of a recipe's `[train]` section and of `fit`, with their defaults."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from genzoo.contract import NonNegativeFloat, Positive, PositiveFloat
from genzoo.errors import SettingError, TrainingError
from genzoo.registry.validation import check, validate

SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * t)),
}
"""Fraction of training in [0, 1] -> factor on the learning rate; cosine ends at 2 %."""

Schedule = Literal["constant", "linear", "cosine"] | Callable[[float], float]
_CALLABLE = "callable "
"""How the words begin by which a recipe records a schedule that is a Python function."""

_MOST = 10_000_000
"""Steps that `epochs` may stand for: a player's number of steps may differ in each round, so they are counted."""
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
        ema: decay of an exponential moving average of the weights, such as 0.999; after n steps at most (1 + n) / (10 + n),
            so that short runs average their last weights only. `load` then returns the average, whose batch norms have
            statistics of their own.
        freeze: patterns on parameter names, such as `["encoder.*"]`: what matches keeps its values in this run. A part that
            is frozen as a whole also stays in eval mode.
        clip_grad_norm: largest norm of a player's gradient.
        schedule: of the learning rate, over all players: "constant", "linear" (to 0), "cosine" (to 2 %), or, from Python, a
            function of the fraction of training that is done, which returns the factor on the rate; else each player's.
        warmup: fraction of training over which the learning rate rises from 0.
        microbatches: microbatches a batch is split into, to save memory; the gradient of a mean over examples is the batch's.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the last checkpoints to keep.
        log_every: steps between lines of the log.
        sample_every: steps between sheets of samples.
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
    clip_grad_norm: PositiveFloat | None = None
    freeze: tuple[str, ...] = ()
    schedule: Schedule | None = None
    warmup: Annotated[NonNegativeFloat, Ge(0), Lt(1)] = 0.0
    microbatches: Positive = 1
    checkpoint_every: Positive = 1000
    keep_checkpoints: Positive = 3
    log_every: Positive = 50
    sample_every: Positive = 500
    gradient_norms: bool = False
    resident: bool | None = None

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Settings:
        """Checked settings.

        Raises:
            SettingError: an unknown setting, a value of another type, or both `steps` and `epochs`.
        """
        schedule = check_schedule(table.get("schedule"), "train.schedule")
        settings = cls(**check(cls, {**table, "schedule": schedule}, "train", "train"))
        if settings.steps is not None and settings.epochs is not None:
            raise SettingError(
                f"train.steps = {settings.steps} and train.epochs = {settings.epochs:g}: give one of them"
            )
        return settings

    def total(self, batches_per_epoch: int, batches: Callable[[int], int]) -> int:
        """Rounds in all: the fewest that read `epochs` passes, where `batches` says how many batches a round reads.

        Raises:
            SettingError: the rounds stop reading before that, or there are too many.
        """
        if self.epochs is None:
            return self.steps or 2000
        left, rounds, idle = (
            self.epochs * batches_per_epoch - 1e-9,
            0,
            0,
        )  # 1.1 * 10 is a little more than 11
        while left > 0:
            read = batches(rounds)
            rounds, left, idle = rounds + 1, left - read, 0 if read else idle + 1
            if rounds > _MOST:
                raise SettingError(
                    f"train.epochs = {self.epochs:g} takes more than {_MOST:,} steps, which are counted one by one; "
                    "give train.steps."
                )
            if idle == _PATIENCE:
                raise SettingError(
                    f"train.epochs = {self.epochs:g} is not reached: no player makes a step in {idle:,} rounds; give train.steps"
                )
        return max(1, rounds)

    def factor(self, schedule: Callable[[float], float], progress: float, label: str) -> float:
        """Return the factor on a player's learning rate after a fraction of training.

        Raises:
            TrainingError: the schedule returns no number, or one that is negative or not finite.
        """
        rise = min(1.0, progress / self.warmup) if self.warmup else 1.0
        return rise * _factor(schedule, progress, label)

    def table(self) -> dict[str, Any]:
        """Return the settings as a recipe holds them."""
        return {**vars(self), "schedule": in_words(self.schedule)}


def check_schedule(schedule: Any, label: str) -> Any:
    """Return a schedule from a setting.

    Raises:
        SettingError: it is neither a known name nor a function, or words that stand for a function.
        TrainingError: a function that returns no number, or one that is negative or not finite.
    """
    if isinstance(schedule, str) and schedule.startswith(_CALLABLE):
        raise SettingError(
            f'{label} = "{schedule}": this run has a Python function for a schedule, which a recipe cannot hold. Go on from '
            "Python with the same function, as in genzoo.fit(model, data, out=RUN, resume=True, schedule=function)."
        )
    if callable(schedule):
        in_words(schedule, label)
    return validate(schedule, Schedule | None, label)


def in_words(schedule: Any, label: str = "schedule") -> Any:
    """Return a schedule as a recipe records it: a function by its name and its values, so that another one is noticed."""
    if not callable(schedule):
        return schedule
    values = ", ".join(f"{_factor(schedule, i / 10, label):.6g}" for i in range(11))
    return f"{_CALLABLE}{getattr(schedule, '__qualname__', type(schedule).__name__)}: {values} at 0, 0.1, ..., 1 of training"


def _factor(schedule: Callable[[float], float], progress: float, label: str) -> float:
    value: Any = schedule(progress)
    try:
        factor = float(value)
    except (TypeError, ValueError):
        factor = math.nan
    if not 0 <= factor < math.inf:
        raise TrainingError(
            f"{label} returned {value!r} after {progress:.4g} of training; expected a finite factor of 0 or more on the "
            "learning rate."
        )
    return factor
