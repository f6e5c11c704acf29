"""Players at work: ownership, optimizers, and one step of one player."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.contract import Batch, Model, Player
from genzoo.distributed import draws
from genzoo.errors import (
    GenzooError,
    RunError,
    SettingError,
    TrainingError,
    UnknownSettingError,
    did_you_mean,
)
from genzoo.runs.verify import check_optimizer
from genzoo.train.engine import Engine
from genzoo.train.microbatches import split
from genzoo.train.optimizers import make_optimizer
from genzoo.train.settings import SCHEDULES, Settings, check_schedule


class PlayerTrainer:
    """A player with its optimizer and the number of steps that it has made."""

    def __init__(
        self,
        player: Player,
        overrides: Mapping[str, Any],
        engine: Engine,
        settings: Settings,
        names: Mapping[nn.Parameter, str],
    ) -> None:
        self.player, self.engine, self.settings = player, engine, settings
        self.parameters = player.parameters()
        table = dict(player.optimizer)
        name = str(table.get("name", "Adam"))
        if str(overrides.get("name", name)).lower() != name.lower():
            table = (
                {"lr": table["lr"]} if "lr" in table else {}
            )  # the rest are settings of another optimizer
        table |= overrides
        self.schedule, self.schedule_label = _schedule(
            player, settings, table.pop("schedule", None)
        )
        self.optimizer = make_optimizer(_owned(player, names), table, f"players.{player.name}")
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = engine.scaler()
        # with torch's own random numbers a compiled loss draws the noise that the eager one draws
        self.loss = (
            torch.compile(player.loss, options={"fallback_random": True})
            if settings.compile
            else player.loss
        )
        self.count = 0
        self.steps(0)  # a wrong number is refused before anything is written

    def steps(self, round: int) -> int:
        """How many steps it makes in a round."""
        steps = (
            self.player.steps_per_round(round)
            if callable(self.player.steps_per_round)
            else self.player.steps_per_round
        )
        if steps < 0 or (steps == 0 and not callable(self.player.steps_per_round)):
            raise TrainingError(
                f"player {self.player.name!r} makes {steps} steps in round {round}; a constant is at least 1"
            )
        return steps

    def step(
        self, batch: Batch, progress: float, norms: dict[nn.Parameter, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """One step: the loss on each microbatch, its gradient, averaged over ranks, clipped, applied.

        Arguments:
            batch: what the loss gets.
            progress: the fraction of training that is done, for the schedule.
            norms: takes the norm of each parameter's gradient, before it is clipped.

        Returns:
            What the loss reported, detached, averaged over microbatches.
        """
        engine, settings, name = self.engine, self.settings, self.player.name
        factor = settings.factor(self.schedule, progress, self.schedule_label)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        reports = []
        for micro, part in enumerate(split(batch, settings.microbatches)):
            with draws(
                engine.device,
                settings.seed,
                name,
                self.count,
                part=micro,
                parts=settings.microbatches,
            ):
                report = self._report(part)
                loss = report["loss"]
                self.scaler.scale(
                    loss / settings.microbatches if settings.microbatches > 1 else loss
                ).backward()  # type: ignore[no-untyped-call]
            reports.append(
                {
                    key: torch.as_tensor(value, device=loss.device).detach()
                    for key, value in report.items()
                }
            )
        engine.reduce_gradients(self.parameters)
        if settings.clip_grad_norm is not None or norms is not None:
            self.scaler.unscale_(self.optimizer)
        if norms is not None:
            norms.update({p: p.grad.norm().float() for p in self.parameters if p.grad is not None})
        if settings.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, settings.clip_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.player.after is not None:
            with torch.no_grad():
                self.player.after()
        self.count += 1
        if len(reports) == 1:
            return reports[0]
        return {key: torch.stack([report[key] for report in reports]).mean() for key in reports[0]}

    def _report(self, part: Batch) -> Mapping[str, Tensor]:
        """What the loss reports of a microbatch, once it is known to hold a loss."""
        name = self.player.name
        try:
            with self.engine.autocast():
                report = self.loss(part)
        except GenzooError:
            raise
        except ValueError as error:  # such as batch norm's on one example
            raise TrainingError(f"player {name!r}, step {self.count + 1}: {error}") from error
        loss = report.get("loss") if isinstance(report, Mapping) else None
        if not isinstance(loss, Tensor) or loss.dim() != 0 or not loss.requires_grad:
            raise TrainingError(
                f"player {name!r}: its loss must return a mapping with a scalar tensor under 'loss', with a gradient"
            )
        return report

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "count": self.count,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a kept state.

        Raises:
            RunError: it is another optimizer's, or moves other parameters.
        """
        try:
            self._check_moved(state["optimizer"]["param_groups"])
            check_optimizer(self.optimizer, state["optimizer"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
        except RunError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            reason = str(error).splitlines()[0][:120]
            raise RunError(
                f"the checkpoint's optimizer of player {self.player.name!r} is another one's: {reason}."
            ) from None
        self.count = state["count"]

    def _check_moved(self, kept: Iterable[Mapping[str, Any]]) -> None:
        """Check that a checkpoint's optimizer moves the same parameters, in the same groups."""
        saved, current = (_moved(groups) for groups in (kept, self.optimizer.param_groups))
        if saved != current:
            first = next(
                (name for name in (*saved, *current) if (name in saved) != (name in current)), None
            )
            what = (
                "other groups of parameters" if first is None else f"{first!r}, this run does not"
            )
            what = (
                what
                if first is None or first in saved
                else f"other parameters: {first!r} was frozen"
            )
            raise RunError(
                f"the checkpoint's player {self.player.name!r} moves {what}; freeze and group the same parameters as before."
            )


class Ownership:
    """Which parameters take gradients: those of the player whose turn it is, and no others.

    Two players may own the same parameter if they never play in one round, as a phase of pretraining and the training after it.
    """

    def __init__(self, model: nn.Module, trainers: Iterable[PlayerTrainer]) -> None:
        self.owned: dict[str, list[nn.Parameter]] = {}
        self.shared: list[tuple[str, str, str]] = []
        names = {p: name for name, p in model.named_parameters()}
        seen: list[Player] = []
        for trainer in trainers:
            player, own = trainer.player, set(trainer.parameters)
            if player.name in self.owned:
                raise TrainingError(
                    f"two players are named {player.name!r}; give each a name of its own"
                )
            for other in seen:
                common = next((p for p in self.owned[other.name] if p in own), None)
                if common is None:
                    continue
                what = names.get(common, "a parameter")
                if not callable(player.steps_per_round) and not callable(other.steps_per_round):
                    raise TrainingError(
                        f"players {other.name!r} and {player.name!r} both own {what}; a parameter has one owner in a round, "
                        "so players that share one give steps as a function of the round"
                    )
                self.shared.append((other.name, player.name, what))
            seen.append(player)
            self.owned[player.name] = trainer.parameters
        self.turn: str | None = None

    def check(self, plan: Iterable[tuple[Player, int]], round: int) -> None:
        """Make sure that no two players move the same parameter in a round.

        Raises:
            TrainingError: two do.
        """
        if not self.shared:
            return
        play = {player.name for player, steps in plan if steps}
        for one, other, what in self.shared:
            if one in play and other in play:
                raise TrainingError(
                    f"players {one!r} and {other!r} both own {what} and both play in round {round}; let one make 0 steps there"
                )

    def activate(self, name: str) -> None:
        """Make it this player's turn."""
        if name == self.turn:
            return
        for parameters in self.owned.values():
            for parameter in parameters:
                parameter.requires_grad_(False)
        for parameter in self.owned[name]:
            parameter.requires_grad_(True)
        self.turn = name

    def release_all(self) -> None:
        """Nobody's turn: everything that a player owns takes gradients again."""
        for parameters in self.owned.values():
            for parameter in parameters:
                parameter.requires_grad_(True)
        self.turn = None


def trainers(
    model: Model, overrides: Mapping[str, Any], engine: Engine, settings: Settings
) -> list[PlayerTrainer]:
    """Return the model's players that can move, ready to train; one whose parameters are all frozen is left out.

    Raises:
        SettingError: an override for a player that there is not, or one that its optimizer does not take.
        TrainingError: a player owns no parameters, or no player can move.
    """
    players = model.players()
    if not players:
        raise TrainingError(
            f"{type(model).__name__} names no players, so there is nothing to train"
        )
    for name, table in overrides.items():
        if name not in {player.name for player in players}:
            message = f"{type(model).__name__} has no player {name!r}."
            raise UnknownSettingError(
                message, name, table, did_you_mean(name, [p.name for p in players])
            )
        if not isinstance(table, Mapping):
            raise SettingError(
                f"players.{name} = {table!r}: expected a table of its optimizer's settings, as in "
                f'players={{"{name}": {{"lr": 1e-3}}}}.'
            )
    names = {p: name for name, p in model.named_parameters()}
    for player in players:
        if not _owned(player, names):
            raise TrainingError(f"player {player.name!r} owns no parameters")
    ready = [
        PlayerTrainer(p, overrides.get(p.name, {}), engine, settings, names)
        for p in players
        if p.parameters()
    ]
    if not ready:
        raise TrainingError(
            f"all parameters of {type(model).__name__} are frozen, so no player can move; "
            "call requires_grad_(True) on a part, or let train.freeze match less."
        )
    return ready


def _owned(player: Player, names: Mapping[nn.Parameter, str]) -> dict[str, nn.Parameter]:
    """Return a player's parameters, the frozen ones too, by their names in the model."""
    owned: dict[str, nn.Parameter] = {}
    for i, module in enumerate(player.owns):
        for name, parameter in module.named_parameters():
            owned[names.get(parameter, f"owns[{i}].{name}")] = parameter
    return owned


def _schedule(
    player: Player, settings: Settings, override: Any
) -> tuple[Callable[[float], float], str]:
    """Return the schedule that a player follows, and its label: the recipe's for it, for all, or its author's."""
    label = f"players.{player.name}.schedule"
    if override is not None:
        chosen: Any = check_schedule(override, label)
    elif settings.schedule is not None:
        chosen, label = settings.schedule, "train.schedule"
    else:
        label = f"the schedule of player {player.name!r}"
        chosen = check_schedule(player.schedule, label) or "constant"
    return SCHEDULES[chosen] if isinstance(chosen, str) else chosen, label


def _moved(groups: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the group of each parameter, by name."""
    return {name: i for i, group in enumerate(groups) for name in group["param_names"]}
