"""Check the content of a checkpoint before anything is restored from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["check_content", "check_optimizer", "count"]

_CONTENT = {"round", "batches", "model", "ema", "averaged", "players", "log", "seconds"}


def count(value: Any, name: str) -> int:
    """Return a value after checking that it is a count.

    Raises:
        ValueError: the value is not an integer from 0 to 2**53 - 1.
    """
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(f"{name} is {_short(value)}: expected an integer >= 0")
    return value


def check_content(state: Mapping[str, Any]) -> None:
    """Check that a checkpoint holds every entry that a resume reads, with the right types.

    Raises:
        ValueError: an entry is missing or has another type. The message names the entry.
    """
    if missing := sorted(_CONTENT - state.keys()):
        raise ValueError(f"it lacks {', '.join(missing)}")
    for name in ("round", "batches", "averaged"):
        count(state[name], name)
    seconds = state["seconds"]
    if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
        raise ValueError(f"seconds is {_short(seconds)}: expected a finite number >= 0")
    _check_tensors(state["model"], "model")
    if state["ema"] is not None:
        _check_tensors(state["ema"], "ema")
    for name, player in _table(state["players"], "players").items():
        entry = f"players.{name}"
        for key in ("optimizer", "scaler", "count"):
            if key not in _table(player, entry):
                raise ValueError(f"{entry} lacks {key}")
        count(player["count"], f"{entry}.count")
        _check_optimizer(_table(player["optimizer"], f"{entry}.optimizer"), f"{entry}.optimizer")
        for key, value in _table(player["scaler"], f"{entry}.scaler").items():
            if type(value) not in (int, float):
                raise ValueError(f"{entry}.scaler.{key} is {_short(value)}: expected a number")
    _check_log(_table(state["log"], "log"))


def check_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Check that a saved state fits an optimizer: its settings, entries, and shapes.

    Raises:
        ValueError: the state does not fit. The message names the first problem.
    """
    groups, saved_groups = optimizer.param_groups, state["param_groups"]
    sizes = [len(group["params"]) for group in groups]
    if sizes != [len(group["params"]) for group in saved_groups]:
        raise ValueError("it has other parameters")
    entries = _entries(optimizer) if state["state"] else {}
    parameters: dict[Any, Tensor] = {}
    for group, saved in zip(groups, saved_groups, strict=True):
        parameters.update(zip(saved["params"], group["params"], strict=True))
        for name in group.keys() & saved.keys() - {"params"}:
            if not _is_same_type(group[name], saved[name]):
                raise ValueError(
                    f"{name} is {_short(saved[name])}, but the optimizer has {_short(group[name])}"
                )
    for key, values in state["state"].items():
        if key not in parameters:
            raise ValueError(f"it has no parameter {_short(key)}")
        parameter = parameters[key]
        if missing := sorted(entries[id(parameter)] - values.keys()):
            raise ValueError(f"parameter {key} lacks {', '.join(missing)}")
        for name, value in values.items():
            _check_entry(f"{name} of parameter {key}", value, parameter)


def _check_entry(name: str, value: Any, parameter: Tensor) -> None:
    if not isinstance(value, Tensor):
        if value is not None and type(value) not in (int, float):
            raise ValueError(f"{name} is {_short(value)}: expected a tensor or a number")
        return
    try:
        fits = torch.broadcast_shapes(value.shape, parameter.shape) == parameter.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, which does not fit {tuple(parameter.shape)}"
        )
    if value.is_floating_point() and bool(value.isnan().any()):
        raise ValueError(f"{name} is not finite")


def _entries(optimizer: torch.optim.Optimizer) -> dict[int, set[str]]:
    """Return the names of the entries in an optimizer's state for each parameter, by `id`.

    A step of a second optimizer on tiny tensors in place of the parameters creates the entries.
    """
    stand_ins = {
        id(p): torch.zeros([1] * p.dim(), dtype=p.dtype, device=p.device)
        for g in optimizer.param_groups
        for p in g["params"]
    }
    groups = [
        {**group, "params": [stand_ins[id(p)] for p in group["params"]]}
        for group in optimizer.param_groups
    ]
    for stand_in in stand_ins.values():
        stand_in.requires_grad_()
        stand_in.grad = torch.zeros_like(stand_in)
    probe = type(optimizer)(groups, lr=0.0)  # type: ignore[call-arg]
    probe.step()
    return {
        key: {name for name, value in probe.state[tensor].items() if value is not None}
        for key, tensor in stand_ins.items()
    }


def _is_same_type(new: Any, old: Any) -> bool:
    """Return whether two settings of an optimizer have the same type.

    All numbers count as one type, and so do lists and tuples, and booleans and None.
    """
    if isinstance(new, Sequence) and not isinstance(new, str):
        if not isinstance(old, Sequence):
            return False
        return len(new) == len(old) and all(map(_is_same_type, new, old))
    number = (int, float, Tensor)
    if isinstance(new, number) and not isinstance(new, bool):
        return isinstance(old, number) and not isinstance(old, bool)
    if new is None and isinstance(old, bool):
        return True
    if old is None and isinstance(new, bool):
        return True
    return isinstance(old, type(new))


def _check_optimizer(state: Mapping[str, Any], entry: str) -> None:
    for key in ("state", "param_groups"):
        if key not in state:
            raise ValueError(f"{entry} lacks {key}")
    for key, values in _table(state["state"], f"{entry}.state").items():
        _table(values, f"{entry}.state.{_short(key)}")
    if not isinstance(state["param_groups"], list):
        raise ValueError(
            f"{entry}.param_groups is {_short(state['param_groups'])}: expected a list"
        )
    for group in state["param_groups"]:
        if not isinstance(_table(group, f"{entry}.param_groups").get("params"), list):
            raise ValueError(f"{entry}.param_groups lacks params")


def _check_log(log: Mapping[str, Any]) -> None:
    for key in ("values", "rounds"):
        if key not in log:
            raise ValueError(f"log lacks {key}")
    values, rounds = (_table(log[key], f"log.{key}") for key in ("values", "rounds"))
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.dim() != 1:
            raise ValueError(
                f"log.values.{name} is {_short(value)}: expected a tensor with one axis"
            )
    known_losses = {"loss"} if "loss" in values else set()
    for name, steps in rounds.items():
        if not isinstance(steps, list):
            raise ValueError(f"log.rounds.{name} is {_short(steps)}: expected a list")
        for step in steps:
            count(step, f"log.rounds.{name}")
        key = "loss" if "loss" in values else f"{name}/loss"
        known_losses.add(key)
        if key not in values or len(values[key]) != len(steps):
            raise ValueError(
                f"log.rounds.{name} has {len(steps)} steps, but log.values has another number of "
                "losses"
            )
    is_single_player = "loss" in values and len(rounds) == 1
    losses = {key for key in values if key.endswith("/loss") and key.count("/") == 1}
    if not is_single_player and (values.keys() & {"loss"} or losses - known_losses):
        raise ValueError("log.values has losses of steps that log.rounds lacks")


def _check_tensors(tensors: Any, name: str) -> None:
    for key, value in _table(tensors, name).items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name}.{key} is {_short(value)}: expected a tensor")


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is {_short(value)}: expected a table")
    return value


def _short(value: Any) -> str:
    """Return a value for a message, or its type if the value is long."""
    if isinstance(value, int | float | str | None):
        text = repr(value) if not isinstance(value, int) or abs(value) < 2**64 else "a huge number"
        return text if len(text) < 40 else f"a {type(value).__name__}"
    return f"a {type(value).__name__}"
