"""The parameters that take gradients in each player's turn."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from genzoo.contract import Player
from genzoo.errors import TrainingError
from genzoo.train.players import PlayerTrainer

__all__ = ["Ownership"]


class Ownership:
    """The parameters that take gradients: those of the active player, and no others.

    Two players may own the same parameter if they never play in the same round, as in a phase of
    pretraining and the training after it.

    Arguments:
        model: the model.
        trainers: its players.

    Raises:
        TrainingError: two players have the same name, or own the same parameter in every round.
    """

    def __init__(self, model: nn.Module, trainers: Iterable[PlayerTrainer]) -> None:
        self.owned: dict[str, list[nn.Parameter]] = {}
        self.shared: list[tuple[str, str, str]] = []
        """Pairs of players with the name of a parameter that both own."""
        self.active: str | None = None
        names = {parameter: name for name, parameter in model.named_parameters()}
        earlier: list[Player] = []
        for trainer in trainers:
            player, parameters = trainer.player, set(trainer.parameters)
            if player.name in self.owned:
                raise TrainingError(
                    f"two players are named {player.name!r}; give each player another name."
                )
            for other in earlier:
                common = next((p for p in self.owned[other.name] if p in parameters), None)
                if common is None:
                    continue
                parameter = names.get(common, "a parameter")
                if not callable(player.steps_per_round) and not callable(other.steps_per_round):
                    raise TrainingError(
                        f"players {other.name!r} and {player.name!r} both own {parameter}; a "
                        "parameter has one owner in a round, so players that share one give "
                        "steps_per_round as a function of the round."
                    )
                self.shared.append((other.name, player.name, parameter))
            earlier.append(player)
            self.owned[player.name] = trainer.parameters

    def check(self, plan: Iterable[tuple[Player, int]], round: int) -> None:
        """Check that no two players move the same parameter in a round.

        Raises:
            TrainingError: two players do.
        """
        if not self.shared:
            return
        playing = {player.name for player, steps in plan if steps}
        for first, second, parameter in self.shared:
            if first in playing and second in playing:
                raise TrainingError(
                    f"players {first!r} and {second!r} both own {parameter} and both play in round "
                    f"{round}; let one of them make 0 steps in it."
                )

    def activate(self, name: str) -> None:
        """Let the parameters of one player take gradients, and no others."""
        if name == self.active:
            return
        for parameters in self.owned.values():
            for parameter in parameters:
                parameter.requires_grad = False
        for parameter in self.owned[name]:
            parameter.requires_grad = True
        self.active = name

    def release_all(self) -> None:
        """Let the parameters of all players take gradients again."""
        for parameters in self.owned.values():
            for parameter in parameters:
                parameter.requires_grad = True
        self.active = None
