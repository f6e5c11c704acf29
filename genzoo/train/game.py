"""The players of a model in training: their optimizers, their turns, and their learning rates."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.contract import Batch, Model, Player
from genzoo.errors import RunError
from genzoo.train.engine import Engine
from genzoo.train.frozen import frozen_modules
from genzoo.train.ownership import Ownership
from genzoo.train.players import trainers
from genzoo.train.settings import Settings

__all__ = ["Game", "Norms"]

Norms = dict[nn.Parameter, Tensor]
"""The norm of each parameter's gradient."""


class Game:
    """All players of a model, ready to train.

    Arguments:
        model: the model, on the device of the run.
        overrides: for each player, the settings of its optimizer that replace the model's.
        engine: the device and processes.
        settings: the settings of the run.

    Raises:
        SettingError: an override has an unknown player, setting, or value.
        TrainingError: players own the same parameters, or all parameters are frozen.
    """

    def __init__(
        self,
        model: Model,
        overrides: Mapping[str, Mapping[str, Any]],
        engine: Engine,
        settings: Settings,
    ) -> None:
        self.model = model
        ready = trainers(model, overrides, engine, settings)
        self.ownership = Ownership(model, ready)
        self.trainers = {trainer.player.name: trainer for trainer in ready}
        self.players = model.players()
        self.idle = [player.name for player in self.players if player.name not in self.trainers]
        self.frozen = frozen_modules(model)

    def plan(self, round: int) -> list[tuple[Player, int]]:
        """Return each player with the number of steps that it makes in a round.

        Raises:
            TrainingError: two players would move the same parameter in this round.
        """
        plan = [(player, self._steps(player.name, round)) for player in self.players]
        self.ownership.check(plan, round)
        return plan

    def batches(self, round: int) -> int:
        """Return the number of batches that a round reads."""
        return max(trainer.steps(round) for trainer in self.trainers.values())

    def step(
        self, player: Player, batch: Batch, progress: float, norms: Norms | None
    ) -> dict[str, Tensor]:
        """Make one step of a player and return the values of its loss; see `PlayerTrainer.step`."""
        self.ownership.activate(player.name)
        return self.trainers[player.name].step(batch, progress, norms)

    def warn_idle(self) -> None:
        """Warn about players that cannot train because all their parameters are frozen."""
        if self.idle:
            names = " and ".join(map(repr, self.idle))
            warnings.warn(
                f"skipping player {names}: all parameters are frozen, so the loss is not computed.",
                stacklevel=4,
            )

    def learning_rates(self, names: Iterable[str]) -> dict[str, float]:
        """Return the learning rates of some players, by their names in the log.

        A parameter group has an entry with its number if its rate differs from the first one's.
        """
        prefixed = len(self.players) > 1
        rates: dict[str, float] = {}
        for name, trainer in self.trainers.items():
            if name not in names:
                continue
            for number, group in enumerate(trainer.optimizer.param_groups):
                if number and trainer.rates[number] == trainer.rates[0]:
                    continue
                parts = [name] if prefixed else []
                parts.append("lr")
                if number:
                    parts.append(str(number))
                rates["/".join(parts)] = float(group["lr"])
        return rates

    def gradient_norms(self, norms: Norms) -> dict[str, float]:
        """Return gradient norms by their names in the log."""
        named = {
            f"gradient/{name}": norms[parameter]
            for name, parameter in self.model.named_parameters()
            if parameter in norms
        }
        if not named:
            return {}
        values = torch.stack([*named.values()]).tolist()
        return dict(zip(named, values, strict=True))

    def state(self) -> dict[str, Any]:
        """Return the state of the players for a checkpoint."""
        return {name: trainer.state() for name, trainer in self.trainers.items()}

    def restore(self, state: Mapping[str, Any], path: Path) -> None:
        """Restore the players from a checkpoint.

        Raises:
            RunError: the checkpoint has other players, or other optimizers.
        """
        if set(state) != set(self.trainers):
            raise RunError(
                f"{path} has the players {sorted(state)}; this model has {sorted(self.trainers)}."
            )
        try:
            for name, trainer in self.trainers.items():
                trainer.restore(state[name])
        except RunError as error:
            raise RunError(f"{path} cannot be resumed from: {error}") from None

    def _steps(self, name: str, round: int) -> int:
        return self.trainers[name].steps(round) if name in self.trainers else 0
