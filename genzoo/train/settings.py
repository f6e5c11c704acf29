"""The training settings: the `[train]` section of a recipe, and the keyword arguments of `fit`."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from genzoo.contract import Dataset, NonNegativeFloat, Positive, PositiveFloat
from genzoo.errors import SettingError, TrainingError
from genzoo.registry.validation import check, validate
from genzoo.train.loggers import recorded_loggers

__all__ = ["SCHEDULES", "Schedule", "Settings", "check_schedule", "recorded_schedule"]

SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * t)),
}
"""Functions from the fraction of training in [0, 1] to a factor on the learning rate.

The cosine ends at 2 %.
"""

Schedule = Literal["constant", "linear", "cosine"] | Callable[[float], float]
_CALLABLE = "callable "
"""The first word of a recipe's entry for a schedule that is a Python function."""

_MOST_STEPS = 10_000_000
"""The maximum number of steps for `epochs`. Players may skip rounds, so steps are counted."""
_FRACTION = 0.1
"""The fraction of the training rows that is set aside if a setting needs them."""
_PATIENCE = 100_000
"""The number of rounds in a row without a step after which players count as stopped forever."""


@dataclass(frozen=True)
class Settings:
    """The settings of a training run. Every field is a setting of `fit` and of `[train]`.

    Arguments:
        steps: the number of rounds to train for, in all; 2,000 if `epochs` is not given either.
        epochs: the number of passes through the training data, instead of `steps`.
        batch_size: examples per batch, over all processes and microbatches together; by default
            128, or all training rows if there are fewer.
        seed: the seed of everything: weights, order of the data, and noise.
        device: "auto", "cpu", "cuda", "cuda:1", or "mps".
        precision: "32-true", "64-true", "bf16-true", "bf16-mixed", or "16-mixed".
        compile: compile the losses with `torch.compile`.
        ema: the decay of an exponential moving average of the weights, such as 0.999. After n steps
            it is at most (1 + n) / (10 + n), so short runs average their last weights only. `load`
            then returns the averaged weights, with batch-norm statistics computed for them.
        freeze: patterns of parameter names, such as `["encoder.*"]`. Parameters that match keep
            their values in this run. A part whose parameters are all frozen stays in eval mode.
        clip_grad_norm: the largest norm of a player's gradient.
        schedule: the schedule of the learning rate, for all players: "constant", "linear" (to 0),
            "cosine" (to 2 %), or, from Python, a function from the fraction of training that is
            done to a factor on the rate. By default, each player has its own.
        warmup: the fraction of training over which the learning rate rises from 0.
        microbatches: the number of parts that a batch is split into, to save memory. The gradient
            of a mean over examples does not change.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: the number of checkpoints to keep; older ones are removed.
        log_every: steps between lines of the log.
        loggers: the receivers of the log and of the pictures, in addition to `metrics.jsonl`: names
            or tables of registered loggers (see `genzoo.loggers`) and, from Python, objects. By
            default "tensorboard", if it is installed and the run has a folder.
        sample_every: steps between pictures of samples.
        validation: the fraction of the training rows that is set aside for validation. They are the
            same rows for every seed. A validation split of the dataset is used instead, if there is
            one. By default 0, and 0.1 if `monitor` or `patience` is set. The losses of the rows are
            logged as `validation/NAME` for each model that has a `loss`.
        evaluate_every: steps between evaluations on the validation rows.
        monitor: the number that decides which weights are the best: "loss", the name of a metric,
            such as "frechet", or a quantity of a metric, such as "precision-recall/recall". The
            best weights are kept in `best.safetensors`.
        patience: the number of evaluations in a row without an improvement after which training
            stops. Without `monitor`, the validation loss decides.
        gradient_norms: log the norm of each parameter's gradient, before clipping, as
            `gradient/NAME`.
        resident: keep the data on the device. By default, do so if they fit, and stream them
            otherwise.
        workers: the number of processes that read data which are streamed. 0 reads them in the
            training process.

    Example:
        >>> import genzoo
        >>> settings = {"steps": 2, "schedule": "cosine", "warmup": 0.1, "clip_grad_norm": 1.0}
        >>> genzoo.fit("vae", "digits", progress=False, **settings).steps
        2
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
    loggers: tuple[Any, ...] | None = None
    sample_every: Positive = 500
    validation: Annotated[NonNegativeFloat, Ge(0), Lt(1)] | None = None
    evaluate_every: Positive = 500
    monitor: str | None = None
    patience: Positive | None = None
    gradient_norms: bool = False
    resident: bool | None = None
    workers: Annotated[int, Ge(0), Le(1024)] = 0

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Settings:
        """Return checked settings from a table.

        Raises:
            SettingError: a setting is unknown or has a wrong value, or the table has both `steps`
                and `epochs`.
        """
        schedule = check_schedule(table.get("schedule"), "train.schedule")
        settings = cls(**check(cls, {**table, "schedule": schedule}, "train", "train"))
        if settings.steps is not None and settings.epochs is not None:
            raise SettingError(
                f"train.steps = {settings.steps} and train.epochs = {settings.epochs:g}: "
                "give one of them."
            )
        return settings

    def total(self, batches_per_epoch: int, batches: Callable[[int], int]) -> int:
        """Return the number of rounds in all: the fewest that read `epochs` passes.

        Arguments:
            batches_per_epoch: the number of batches in one pass.
            batches: a function from a round to the number of batches that it reads.

        Raises:
            SettingError: the rounds stop reading before that, or there are too many.
        """
        if self.epochs is None:
            return self.steps or 2000
        # 1.1 * 10 is a little more than 11
        left = self.epochs * batches_per_epoch - 1e-9
        rounds = idle = 0
        while left > 0:
            read = batches(rounds)
            rounds += 1
            left -= read
            idle = 0 if read else idle + 1
            if rounds > _MOST_STEPS:
                raise SettingError(
                    f"train.epochs = {self.epochs:g} takes more than {_MOST_STEPS:,} steps, which "
                    "are counted one by one; give train.steps instead."
                )
            if idle == _PATIENCE:
                raise SettingError(
                    f"train.epochs = {self.epochs:g} is never reached: no player makes a step in "
                    f"{idle:,} rounds; give train.steps instead."
                )
        return max(1, rounds)

    @property
    def validation_fraction(self) -> float:
        """The fraction of the training rows that is set aside."""
        if self.validation is not None:
            return self.validation
        return _FRACTION if self.monitor is not None or self.patience is not None else 0.0

    def with_fitting_batch(self, dataset: Dataset, processes: int) -> Settings:
        """Return settings whose batch is no larger than the training rows of a dataset."""
        rows = min(len(dataset.train[group[0]]) for group in dataset.groups)
        if not dataset.validation:
            rows -= round(rows * self.validation_fraction)
        unit = self.microbatches * processes
        fitting = rows // unit * unit
        if not 0 < fitting < self.batch_size:
            return self
        warnings.warn(
            f"train.batch_size = {fitting}, because {dataset.name} has only {rows} training rows.",
            stacklevel=3,
        )
        return replace(self, batch_size=fitting)

    def factor(self, schedule: Callable[[float], float], progress: float, label: str) -> float:
        """Return the factor on a player's learning rate after a fraction of training.

        Arguments:
            schedule: the player's schedule.
            progress: the fraction of training that is done.
            label: the setting that holds the schedule, for error messages.

        Raises:
            TrainingError: the schedule does not return a finite number of at least 0.
        """
        rise = min(1.0, progress / self.warmup) if self.warmup else 1.0
        return rise * _factor(schedule, progress, label)

    def table(self) -> dict[str, Any]:
        """Return the settings as a recipe holds them."""
        return {
            **vars(self),
            "schedule": recorded_schedule(self.schedule),
            "loggers": recorded_loggers(self.loggers),
            # `patience` may change in a resume, and the training rows may not
            "validation": self.validation_fraction,
        }


def check_schedule(schedule: Any, label: str) -> Any:
    """Return a schedule from a setting, once it is checked.

    Arguments:
        schedule: the name of a schedule, a function, or None.
        label: the setting that holds it, for error messages.

    Raises:
        SettingError: it is not a known name or a function of one argument, or it is a recipe's
            record of a function.
        TrainingError: the function does not return a finite number of at least 0.
    """
    if isinstance(schedule, str) and schedule.startswith(_CALLABLE):
        raise SettingError(
            f'{label} = "{schedule}": the schedule of this run is a Python function, which a '
            "recipe cannot hold. Resume from Python with the same function, as in "
            "genzoo.fit(model, data, out=RUN, resume=True, schedule=function)."
        )
    if callable(schedule):
        _check_signature(schedule, label)
        recorded_schedule(schedule, label)
    return validate(schedule, Schedule | None, label)


def _check_signature(schedule: Callable[..., Any], label: str) -> None:
    try:
        signature = inspect.signature(schedule)
    # some callables written in C have no signature
    except (TypeError, ValueError):
        return
    try:
        signature.bind(0.5)
    except TypeError as error:
        raise SettingError(
            f"{label} = {_name(schedule)}{signature}: it cannot be called with one argument "
            f"({error}); expected a function from the fraction of training in [0, 1] to a factor "
            "on the learning rate, as in lambda t: 1 - t."
        ) from None


def recorded_schedule(schedule: Any, label: str = "schedule") -> Any:
    """Return a schedule as a recipe records it.

    The record of a function is its name and some values, so that a resume notices another function.
    """
    if not callable(schedule):
        return schedule
    values = ", ".join(f"{_factor(schedule, i / 10, label):.6g}" for i in range(11))
    return f"{_CALLABLE}{_name(schedule)}: {values} at 0, 0.1, ..., 1 of training"


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))


def _factor(schedule: Callable[[float], float], progress: float, label: str) -> float:
    value: Any = schedule(progress)
    try:
        factor = float(value)
    except (TypeError, ValueError):
        factor = math.nan
    if not 0 <= factor < math.inf:
        raise TrainingError(
            f"{label} returned {value!r} after {progress:.4g} of training; expected a finite "
            "factor on the learning rate, 0 or more."
        )
    return factor
