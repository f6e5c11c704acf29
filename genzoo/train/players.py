"""The training steps of players: schedules, gradients, and optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.contract import Batch, Model, Player
from genzoo.distributed.keyed_draws import draws
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

__all__ = ["PlayerTrainer", "trainers"]


class PlayerTrainer:
    """A player with its optimizer and its number of steps so far.

    Arguments:
        player: the player.
        overrides: settings of its optimizer that replace the model's.
        engine: the device and processes.
        settings: the settings of the run.
        names: the name of each parameter in the model.
    """

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
            # the rest are settings of another optimizer
            table = {"lr": table["lr"]} if "lr" in table else {}
        table |= overrides
        self.schedule, self.schedule_label = _schedule(
            player, settings, table.pop("schedule", None)
        )
        self.optimizer = make_optimizer(_owned(player, names), table, f"players.{player.name}")
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = engine.scaler()
        # with torch's random numbers, a compiled loss draws the same noise as the eager one
        self.loss = (
            torch.compile(player.loss, options={"fallback_random": True})
            if settings.compile
            else player.loss
        )
        self.count = 0
        # check the number of steps before anything is written
        self.steps(0)

    def steps(self, round: int) -> int:
        """Return the number of steps that the player makes in a round.

        Raises:
            TrainingError: it is negative, or a constant 0.
        """
        steps = self.player.steps_per_round
        least = 1
        if callable(steps):
            steps, least = steps(round), 0
        if steps < least:
            raise TrainingError(
                f"player {self.player.name!r} makes {steps} steps in round {round}; a constant is "
                "at least 1, and a function returns at least 0."
            )
        return steps

    def step(
        self, batch: Batch, progress: float, norms: dict[nn.Parameter, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Make one step: sum the gradients over microbatches, average over ranks, and apply them.

        Arguments:
            batch: a batch, as the loss gets it.
            progress: the fraction of training that is done, for the schedule.
            norms: receives the norm of each parameter's gradient, before clipping.

        Returns:
            The values that the loss reports, detached and averaged over microbatches.
        """
        engine, settings, name = self.engine, self.settings, self.player.name
        factor = settings.factor(self.schedule, progress, self.schedule_label)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        if self.player.before is not None:
            self.player.before(self.count)
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
        """Return the values that the loss reports for a microbatch.

        Raises:
            TrainingError: they are not a mapping with a scalar loss that has a gradient.
        """
        name = self.player.name
        try:
            with self.engine.autocast():
                report = self.loss(part)
        except GenzooError:
            raise
        # such as the error of batch norm on one example
        except ValueError as error:
            raise TrainingError(f"player {name!r}, step {self.count + 1}: {error}") from error
        loss = report.get("loss") if isinstance(report, Mapping) else None
        if not isinstance(loss, Tensor) or loss.dim() != 0 or not loss.requires_grad:
            raise TrainingError(
                f"player {name!r}: its loss must return a mapping with a scalar tensor under "
                "'loss', with a gradient."
            )
        return report

    def state(self) -> dict[str, Any]:
        """Return the state of the player for a checkpoint."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "count": self.count,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the optimizer from a checkpoint.

        Raises:
            RunError: the checkpoint has another optimizer, or other parameters.
        """
        try:
            self._check_parameters(state["optimizer"]["param_groups"])
            check_optimizer(self.optimizer, state["optimizer"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
        except RunError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            reason = str(error).splitlines()[0][:120]
            raise RunError(
                f"the checkpoint has another optimizer for player {self.player.name!r}: {reason}."
            ) from None
        self.count = state["count"]

    def _check_parameters(self, saved_groups: Iterable[Mapping[str, Any]]) -> None:
        """Check that a checkpoint's optimizer moves the same parameters, in the same groups."""
        saved, current = _group_numbers(saved_groups), _group_numbers(self.optimizer.param_groups)
        if saved == current:
            return
        names = (*saved, *current)
        different = next((name for name in names if (name in saved) != (name in current)), None)
        if different is None:
            problem = "other groups of parameters"
        elif different in saved:
            problem = f"{different!r}, which this run does not move"
        else:
            problem = f"other parameters: {different!r} was frozen"
        raise RunError(
            f"the checkpoint's player {self.player.name!r} moves {problem}; freeze and group the "
            "same parameters as before."
        )


def trainers(
    model: Model, overrides: Mapping[str, Any], engine: Engine, settings: Settings
) -> list[PlayerTrainer]:
    """Return the players of a model, ready to train, without those that are all frozen.

    Raises:
        SettingError: an override is for an unknown player, or its optimizer does not accept it.
        TrainingError: a player owns no parameters, or all parameters are frozen.
    """
    players = model.players()
    if not players:
        raise TrainingError(
            f"{type(model).__name__} names no players, so there is nothing to train."
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
            raise TrainingError(f"player {player.name!r} owns no parameters.")
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
    """Return all parameters of a player, frozen ones too, by their names in the model."""
    owned: dict[str, nn.Parameter] = {}
    for i, module in enumerate(player.owns):
        for name, parameter in module.named_parameters():
            owned[names.get(parameter, f"owns[{i}].{name}")] = parameter
    return owned


def _schedule(
    player: Player, settings: Settings, override: Any
) -> tuple[Callable[[float], float], str]:
    """Return the schedule of a player and its label.

    An override for the player comes first, then the schedule for all players, then the model's.
    """
    label = f"players.{player.name}.schedule"
    if override is not None:
        chosen: Any = check_schedule(override, label)
    elif settings.schedule is not None:
        chosen, label = settings.schedule, "train.schedule"
    else:
        label = f"the schedule of player {player.name!r}"
        chosen = check_schedule(player.schedule, label) or "constant"
    return SCHEDULES[chosen] if isinstance(chosen, str) else chosen, label


def _group_numbers(groups: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the number of each parameter's group, by name."""
    return {name: i for i, group in enumerate(groups) for name in group["param_names"]}
