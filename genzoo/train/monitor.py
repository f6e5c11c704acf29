"""Check losses and weights during training. Each warning is given once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from genzoo.contract import Batch, Model
from genzoo.errors import TrainingError
from genzoo.runs.checkpoint import nan_buffers, not_finite
from genzoo.train.engine import Engine
from genzoo.train.log import LogBuffer, resume_hint
from genzoo.train.scales import unscaled

__all__ = ["Monitor"]


class Monitor:
    """The checks of one run, which stop training if a loss or a weight is not finite.

    Arguments:
        model: the model that is trained.
        engine: the device and processes; only the main process warns.
        first_batch: a function that returns the first batch of the training data.
    """

    def __init__(self, model: Model, engine: Engine, first_batch: Callable[[], Batch]) -> None:
        self.model, self.engine, self.first_batch = model, engine, first_batch
        self.placeholders = nan_buffers(model)
        self.warnings_given: set[str] = set()

    def check_losses(self, log: LogBuffer, round: int, last_checkpoint: Path | None) -> None:
        """Check that the latest losses are finite; warn if one explodes because of unscaled data.

        Raises:
            TrainingError: a loss is NaN or infinite.
        """
        player = log.check(last_checkpoint, self._cause)
        if player is None or "scales" in self.warnings_given:
            return
        self.warnings_given.add("scales")
        cause = self._cause() if self.engine.main else None
        if cause:
            warnings.warn(
                f"step {round:,}: the loss of player {player!r} explodes. {cause}", stacklevel=3
            )

    def check_weights(self, round: int, last_checkpoint: Path | None) -> None:
        """Check that the weights are finite: a finite loss may have a gradient that is not.

        Raises:
            TrainingError: a parameter is NaN or infinite, or a buffer is NaN.
        """
        broken = not_finite(self.model, self.model.state_dict(), self.placeholders)
        if not broken:
            return
        advice = "Lower the learning rate, or set train.clip_grad_norm, and start again."
        raise TrainingError(
            f"{broken[0]} is not finite after step {round}, although the losses were finite. "
            f"{resume_hint(last_checkpoint)} {self._cause() or advice}"
        )

    def diagnose(self, line: Mapping[str, float], round: int, total: int) -> None:
        """Warn with the model's advice about a line of the log, once for each text."""
        if not self.engine.main:
            return
        text = self.model.diagnose(line, round / total)
        if text and text not in self.warnings_given:
            self.warnings_given.add(text)
            warnings.warn(f"step {round:,}: {text}", stacklevel=2)

    def _cause(self) -> str | None:
        """Return a message about the data if they are the likely cause of the failure, or None."""
        return None if self.model.is_standardized else unscaled(self.first_batch())
