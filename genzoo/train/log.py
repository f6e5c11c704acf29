"""What a run keeps of its losses while it trains, since the last line of the log, and its clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.errors import TrainingError
from genzoo.train.engine import Engine

_GROWN = 1e3
"""How many times its start, or 1, a loss has to reach before the run looks for a cause."""


def resume_hint(last_good: Path | None) -> str:
    """Where training can be taken up again, as the tail of an error message."""
    return (
        f"The last good checkpoint is {last_good}."
        if last_good
        else "There is no checkpoint before it."
    )


class Reports:
    """The losses since the last line of the log; they stay on the device until somebody asks."""

    def __init__(self, alone: bool) -> None:
        self.alone = alone
        self.values: dict[str, list[Tensor]] = {}
        self.rounds: dict[str, list[int]] = {}
        self.starts: dict[str, float] = {}
        """The size of each player's first loss since training began or was resumed."""

    def _key(self, player: str, name: str) -> str:
        return name if self.alone else f"{player}/{name}"

    def add(self, player: str, round: int, report: Mapping[str, Tensor]) -> None:
        """Keep what a step reported; a game of several players says whose it is."""
        for name, value in report.items():
            self.values.setdefault(self._key(player, name), []).append(value)
        self.rounds.setdefault(player, []).append(round)

    def check(self, last_good: Path | None, cause: Callable[[], str | None]) -> str | None:
        """Stop where a loss was not finite, naming the player, the step, the cause if it is known, and the way back.

        Returns:
            A player whose loss has grown a thousandfold since its first step, if there is one.

        Raises:
            TrainingError: some loss is NaN or infinite.
        """
        grown = None
        for player, rounds in self.rounds.items():
            losses = torch.stack(self.values[self._key(player, "loss")])
            finite = torch.isfinite(losses)
            if not bool(finite.all()):
                first = int((~finite).nonzero()[0])
                step = rounds[first] + 1
                advice = "Lower the learning rate, or set train.clip_grad_norm, and start again."
                if step == 1 and first == 0:
                    advice = "No step was made before: look for the cause in the data or the loss, not in the learning rate."
                raise TrainingError(
                    f"the loss of player {player!r} was {float(losses[first])} at step {step}. "
                    f"{resume_hint(last_good)} {cause() or advice}"
                )
            start = self.starts.setdefault(player, float(losses[0].abs()))
            if float(losses[-1].abs()) > _GROWN * max(1.0, start):
                grown = player
        return grown

    def pool(self, engine: Engine) -> None:
        """Make every value the mean over ranks, so that one rank's checkpoint speaks for all."""
        if engine.size > 1:
            self.values = {
                name: list(engine.mean(torch.stack(values).float()).unbind())
                for name, values in self.values.items()
            }

    def means(self, engine: Engine) -> dict[str, float]:
        """The mean of each since the last call, over ranks too; then forget them."""
        if not self.values:
            return {}
        names = list(self.values)
        flat = engine.mean(
            torch.stack([torch.stack(self.values[name]).float().mean() for name in names])
        )
        self.values, self.rounds = {}, {}
        return dict(zip(names, flat.tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "values": {k: torch.stack(v) for k, v in self.values.items()},
            "rounds": self.rounds,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a kept state."""
        self.values = {k: list(v.unbind()) for k, v in state["values"].items()}
        self.rounds = {k: list(v) for k, v in state["rounds"].items()}


class Clock:
    """Time spent training, over all sessions of a run, and images a second since the last look."""

    def __init__(self, before: float = 0.0) -> None:
        self.start = self.mark = time.perf_counter()
        self.before, self.images = before, 0

    def rate(self) -> float:
        """Images a second since the last call."""
        now = time.perf_counter()
        rate = self.images / max(now - self.mark, 1e-9)
        self.mark, self.images = now, 0
        return rate

    def seconds(self) -> float:
        """Seconds in all."""
        return self.before + time.perf_counter() - self.start
