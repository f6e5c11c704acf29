"""The losses since the last line of the log, and the clock of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.errors import TrainingError
from genzoo.train.engine import Engine

__all__ = ["Clock", "LogBuffer", "resume_hint"]

_EXPLODED = 1e3
"""A loss explodes when it reaches this many times its first value, or times 1 if that is larger."""


def resume_hint(last_checkpoint: Path | None) -> str:
    """Return a sentence about the last checkpoint, for the end of an error message."""
    if last_checkpoint is None:
        return "There is no checkpoint before it."
    return f"The last good checkpoint is {last_checkpoint}."


class LogBuffer:
    """The values that losses have reported since the last line of the log.

    They stay on the device until a line is due, so that training does not wait for them.

    Arguments:
        prefixed: name values `player/value`, as games of several players do.
    """

    def __init__(self, *, prefixed: bool) -> None:
        self.prefixed = prefixed
        self.values: dict[str, list[Tensor]] = {}
        self.rounds: dict[str, list[int]] = {}
        self.first_losses: dict[str, float] = {}
        """The size of each player's first loss since training began or was resumed."""
        self.clock = Clock()

    def _key(self, player: str, name: str) -> str:
        return f"{player}/{name}" if self.prefixed else name

    def add(self, player: str, round: int, report: Mapping[str, Tensor]) -> None:
        """Add the values of a player's loss in a step."""
        for name, value in report.items():
            self.values.setdefault(self._key(player, name), []).append(value)
        self.rounds.setdefault(player, []).append(round)

    def check(
        self, last_checkpoint: Path | None, find_cause: Callable[[], str | None]
    ) -> str | None:
        """Check that all losses are finite.

        Arguments:
            last_checkpoint: the checkpoint to name in an error.
            find_cause: a function that returns a sentence about the cause, or None.

        Returns:
            A player whose loss has grown a thousandfold since its first step, if there is one.

        Raises:
            TrainingError: a loss is NaN or infinite; the message names the player and the step.
        """
        exploding = None
        for player, rounds in self.rounds.items():
            losses = torch.stack(self.values[self._key(player, "loss")])
            finite = torch.isfinite(losses)
            if not bool(finite.all()):
                index = int((~finite).nonzero()[0])
                step = rounds[index] + 1
                advice = "Lower the learning rate, or set train.clip_grad_norm, and start again."
                if step == 1 and index == 0:
                    advice = (
                        "This was the first step, so the cause is the data or the loss, not the "
                        "learning rate."
                    )
                raise TrainingError(
                    f"the loss of player {player!r} was {float(losses[index])} at step {step}. "
                    f"{resume_hint(last_checkpoint)} {find_cause() or advice}"
                )
            first = self.first_losses.setdefault(player, float(losses[0].abs()))
            if float(losses[-1].abs()) > _EXPLODED * max(1.0, first):
                exploding = player
        return exploding

    def pool(self, engine: Engine) -> None:
        """Replace every value by its mean over ranks, so that rank 0 can save it for all."""
        if engine.size > 1:
            self.values = {
                name: list(engine.mean(torch.stack(values).float()).unbind())
                for name, values in self.values.items()
            }

    def flush(self, engine: Engine) -> dict[str, float]:
        """Return the mean of each value over steps and ranks, and empty the buffer."""
        if not self.values:
            return {}
        names = list(self.values)
        means = [torch.stack(self.values[name]).float().mean() for name in names]
        pooled = engine.mean(torch.stack(means))
        self.values, self.rounds = {}, {}
        return dict(zip(names, pooled.tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """Return the state of the buffer for a checkpoint."""
        values = {name: torch.stack(tensors) for name, tensors in self.values.items()}
        return {"values": values, "rounds": self.rounds}

    def restore(self, state: Mapping[str, Any], seconds: float) -> None:
        """Restore the buffer from a checkpoint, and set the clock."""
        self.values = {name: list(tensor.unbind()) for name, tensor in state["values"].items()}
        self.rounds = {name: list(rounds) for name, rounds in state["rounds"].items()}
        self.clock = Clock(seconds)


class Clock:
    """The time spent on training, over all calls of `fit` for a run, and the images per second.

    Arguments:
        before: seconds spent before this call of `fit`.
    """

    def __init__(self, before: float = 0.0) -> None:
        self.before, self.images = before, 0
        self.restart()

    def restart(self) -> None:
        """Start measuring now."""
        self._start = self._last_rate = time.perf_counter()

    def rate(self) -> float:
        """Return the images per second since the last call."""
        now = time.perf_counter()
        rate = self.images / max(now - self._last_rate, 1e-9)
        self._last_rate, self.images = now, 0
        return rate

    def seconds(self) -> float:
        """Return the seconds spent so far."""
        return self.before + time.perf_counter() - self._start
