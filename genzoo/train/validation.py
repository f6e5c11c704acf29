"""Validation during training: losses and a monitored number, the best weights, early stopping."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from genzoo.contract import Dataset, Measurement, Metric, Model
from genzoo.data.stream import iterate_split
from genzoo.data.validation import set_aside
from genzoo.distributed import replicated
from genzoo.distributed.keyed_draws import draws
from genzoo.errors import SettingError
from genzoo.metrics.evaluate import measure, requested
from genzoo.metrics.evidence import Evidence
from genzoo.runs.modes import eval_mode
from genzoo.runs.result import Best
from genzoo.train.engine import Engine
from genzoo.train.settings import Settings

__all__ = ["Validation", "has_loss", "with_validation"]

LOSS = "loss"
"""The monitor that stands for the validation loss."""

_MOST_ROWS = 10_000
"""The largest number of validation rows, and of samples, for a monitored metric."""
_TRIAL_ROWS = 200
"""The number of rows on which a monitor is tried before training."""


def with_validation(dataset: Dataset, settings: Settings) -> Dataset:
    """Return the dataset of a run, with a validation split if the settings ask for one.

    Raises:
        DataError: the fraction gives no validation row, or leaves no training row.
    """
    fraction = settings.validation_fraction
    if fraction:
        return set_aside(dataset, fraction)
    for name in ("monitor", "patience"):
        if getattr(settings, name) is not None:
            raise SettingError(
                f"train.{name} = {getattr(settings, name)!r} needs validation rows, but "
                "train.validation = 0; leave out train.validation, or set a fraction such as 0.1."
            )
    return replace(dataset, validation={}) if dataset.validation else dataset


def has_loss(model: Model) -> bool:
    """Return whether a model has a loss of its own, in addition to those of its players."""
    return type(model).loss is not Model.loss


class Validation:
    """The measurements of one run on its validation rows.

    Arguments:
        model: the model of the run.
        dataset: a dataset with a validation split.
        settings: the settings of the run.
        engine: the device and processes.

    Raises:
        SettingError: the monitor is unknown, the model does not support it, or neither higher nor
            lower values of it are better.
        DataError: a column that the model reads has no validation rows.
    """

    def __init__(self, model: Model, dataset: Dataset, settings: Settings, engine: Engine) -> None:
        self.dataset = replace(dataset, test=dataset.validation, validation={})
        self.settings, self.engine = settings, engine
        self.measures_loss = has_loss(model)
        self.monitor = settings.monitor
        if self.monitor is None and settings.patience is not None:
            self.monitor = LOSS
        self.metric: Metric | None = None
        self.best: Best | None = None
        self.waited = 0
        """The number of evaluations since the best one."""
        if self.monitor == LOSS and not self.measures_loss:
            raise SettingError(
                f"train.monitor = {self.monitor!r}: {type(model).__name__} has no single loss to "
                'monitor; choose a metric, as in train.monitor = "frechet".'
            )
        if self.monitor not in (None, LOSS):
            _, self.metric = requested(self.monitor.partition("/")[0], model)
            # an error is better before training than after the first steps
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._monitored(model, n=_TRIAL_ROWS)

    @property
    def patience_is_over(self) -> bool:
        """True if the monitored number has not improved for `patience` evaluations."""
        return self.settings.patience is not None and self.waited >= self.settings.patience

    def measure(self, model: Model, round: int) -> tuple[dict[str, float], bool]:
        """Measure a model.

        Arguments:
            model: the model as it would be if training ended in this round.
            round: the round.

        Returns:
            The numbers for the log, and whether the model is the best one so far.
        """
        numbers = self._losses(model) if self.measures_loss else {}
        if self.monitor is None:
            return numbers, False
        name, sign = f"validation/{LOSS}", -1
        if self.metric is not None:
            row = self._monitored(model)
            name, sign = (
                f"validation/{row.metric}/{row.quantity}",
                1 if row.higher_is_better else -1,
            )
            numbers[name] = row.value
        # rounding may differ between ranks, and they must decide the same
        value = numbers[name] = self.engine.agree(numbers[name])
        improves = self.best is None or sign * value > sign * self.best.value
        if improves and not math.isnan(value):
            self.best, self.waited = Best(step=round, quantity=name, value=value), 0
        else:
            self.waited += 1
        return numbers, self.waited == 0

    @torch.no_grad()
    def _losses(self, model: Model) -> dict[str, float]:
        """Return the mean of each value of the loss over the validation rows.

        Batches have the size of training, because some losses depend on it. An incomplete batch is
        used only if there is no other.
        """
        size, device = self.settings.batch_size, self.engine.device
        totals: dict[str, torch.Tensor] = {}
        number = 0
        batches = iterate_split(self.dataset, model.inputs, size, model)
        for number, batch in enumerate(batches, start=1):
            if number > 1 and model.batch_size(batch) < size:
                number -= 1
                break
            key = (self.settings.seed, "validation", number)
            with eval_mode(model), replicated(), draws(device, *key), self.engine.autocast():
                report = model.loss(batch)
            for name, value in report.items():
                totals[name] = totals.get(name, torch.zeros_like(value).double()) + value
        return {f"validation/{name}": float(total) / number for name, total in totals.items()}

    def _monitored(self, model: Model, n: int = _MOST_ROWS) -> Measurement:
        """Return the measurement that is monitored.

        Raises:
            SettingError: the metric does not measure this quantity, or neither higher nor lower
                values of it are better.
        """
        assert self.metric is not None
        assert self.monitor is not None
        name, _, quantity = self.monitor.partition("/")
        with replicated():
            evidence = Evidence(model, self.dataset, n=n, seed=self.settings.seed)
            rows = {row.quantity: row for row in measure(self.metric, evidence, name)}
        if not rows or quantity not in ("", *rows):
            options = ", ".join(f"{name}/{option}" for option in rows)
            raise SettingError(
                f"train.monitor = {self.monitor!r}: the metric measures {options or 'nothing'}; "
                "monitor one of these."
            )
        row = rows[quantity] if quantity else next(iter(rows.values()))
        if row.higher_is_better is None:
            raise SettingError(
                f"train.monitor = {self.monitor!r}: neither higher nor lower values of "
                f"{row.quantity!r} are better; monitor another quantity."
            )
        return row

    def state(self) -> dict[str, Any]:
        """Return the state that an exact resume needs."""
        return {"best": None if self.best is None else vars(self.best), "waited": self.waited}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Restore the state of a checkpoint; None is the state before the first evaluation."""
        if state is not None:
            self.best = None if state["best"] is None else Best(**state["best"])
            self.waited = state["waited"]
