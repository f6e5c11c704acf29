"""The record of a model: the settings that rebuild it as it is now."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genzoo.contract import Model
from genzoo.contract.standardize import standardize
from genzoo.distributed.random_state import exclusive, reseed, seed_for
from genzoo.errors import GenzooError, SettingError
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.registry.records import check_nones, config, init_record
from genzoo.registry.signatures import parameters
from genzoo.runs.compare import Difference, differences, show
from genzoo.runs.modes import standard_modes
from genzoo.runs.same_value import ABSENT, number, same

__all__ = ["rebuilt", "record", "untouched_noise"]

Table = dict[str, Any]


def record(model: Model) -> Table:
    """Return the table of settings that rebuilds a model as it is now.

    Build a second model from the recorded settings and compare the two. Where a part was swapped,
    or an attribute with the name of an argument was changed, record the new value and compare
    again.

    Arguments:
        model: the model. The model and all random states stay as they are.

    Returns:
        The table of the model, with every default filled in.

    Raises:
        SettingError: the model or a part of it is not registered, or no settings rebuild the model
            as it is.

    Example:
        >>> model = build("vae", shape=(1, 8, 8))
        >>> model.beta = 4.0
        >>> record(model)["beta"]
        4.0
    """
    table = config(model)
    twin = rebuilt(table, model)
    first = remaining = differences(model, twin)
    reason = ""
    for amend in (_with_parts, _with_attributes):
        if not remaining:
            return table
        amended = amend(model, twin, table)
        if amended == table:
            continue
        try:
            check_nones(init_record(model), amended)
            twin = rebuilt(amended, model)
        except SettingError as error:
            reason = f" ({error})"
            break
        table, remaining = amended, differences(model, twin)
    if not remaining:
        return table
    first_paths = {difference.path for difference in first}
    remaining_paths = {difference.path for difference in remaining}
    # if amending the table led to other differences, the first ones explain more
    reported = first
    if remaining_paths <= first_paths:
        reported = [difference for difference in first if difference.path in remaining_paths]
    random_paths = set()
    if not reason:
        another = rebuilt(table, model, "again")
        random_paths = {difference.path for difference in differences(twin, another)}
    raise SettingError(_refusal(model, reported, random_paths, reason))


def rebuilt(table: Mapping[str, Any], like: nn.Module, key: str = "record") -> Any:
    """Build a model from its table, on the CPU and in the dtype of another model.

    All random states stay as they are.

    Arguments:
        table: the table, as `genzoo.build` takes it.
        like: the model whose dtype is used.
        key: the key of the random numbers for the weights. No run uses them, so everything that
            the constructor draws at random differs from the model.

    Raises:
        SettingError: the model cannot be built.
    """
    try:
        with untouched_noise(), standard_modes(torch.device("cpu")):
            reseed(torch.device("cpu"), key)
            np.random.seed(seed_for(key) % 2**32)
            random.seed(seed_for(key))
            twin = build(table)
    except GenzooError:
        raise
    # the constructor may raise anything
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SettingError(
            f"{table['name']}: a run folder needs to build the model a second time from its "
            f"settings, which failed ({reason})."
        ) from error
    # parameters come first, because a model may keep a buffer in another precision
    tensors = (*like.parameters(), *like.buffers())
    twin = twin.to(dtype=next((t.dtype for t in tensors if t.is_floating_point()), None))
    if isinstance(like, Model) and like.is_standardized:
        standardize(twin, like.data_mean, like.data_scale)
    return twin


@contextmanager
def untouched_noise() -> Iterator[None]:
    """Restore the random states of torch, NumPy, and Python at the end of the block."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with exclusive(*(torch.device("cuda", i) for i in devices)):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _with_parts(part: Any, twin: Any, table: Table) -> Table:
    """Return the table with the current parts of the model in place of swapped ones."""
    return _amended(part, twin, table, _part_table, is_root=True)


def _with_attributes(part: Any, twin: Any, table: Table) -> Table:
    """Return the table with current attributes in place of the arguments of the same names."""
    return _amended(part, twin, table, _value, is_root=True)


def _amended(part: Any, twin: Any, table: Table, replace: Any, *, is_root: bool = False) -> Table:
    init = init_record(part)
    result = dict(table)
    for key in parameters(registry(init.kind).get(init.name)):
        if not is_root and key in init.context:
            continue
        value, twin_value = _attribute(part, key), _attribute(twin, key)
        result.update(_entry(value, twin_value, key, table.get(key), replace))
    return result


def _entry(value: Any, twin_value: Any, key: str, setting: Any, replace: Any) -> Table:
    """Return the new setting of an argument as a table; empty if the setting stays."""
    new = replace(value, twin_value)
    if new is not ABSENT:
        return {key: new}
    are_sequences = isinstance(value, nn.ModuleList | list | tuple) and isinstance(
        setting, list | tuple
    )
    if are_sequences and len(value) == len(setting):
        rows = zip(value, twin_value, setting, strict=False)
        return {key: tuple(_entry(a, b, key, old, replace).get(key, old) for a, b, old in rows)}
    if _is_registered(value) and _is_registered(twin_value) and isinstance(setting, Mapping):
        return {key: _amended(value, twin_value, dict(setting), replace)}
    return {}


def _part_table(value: Any, twin_value: Any) -> Any:
    """Return the table of a swapped part, None for a part that was removed, or `ABSENT`."""
    if not _is_registered(value):
        return None if value is None and isinstance(twin_value, nn.Module) else ABSENT
    table = config(value, root=False)
    if _is_registered(twin_value) and table == config(twin_value, root=False):
        return ABSENT
    return table


def _value(value: Any, twin_value: Any) -> Any:
    """Return a changed attribute as a plain value, or `ABSENT`."""
    plain = number(value)
    if isinstance(plain, Tensor | np.ndarray) and not isinstance(plain, nn.Parameter):
        plain = plain.tolist()
    is_plain = isinstance(plain, str | int | float | list | tuple | Mapping)
    was_reset = plain is None and twin_value is not None
    if not is_plain and not was_reset:
        return ABSENT
    if twin_value is ABSENT or isinstance(twin_value, nn.Module) or same(value, twin_value):
        return ABSENT
    return _tuples(plain)


def _tuples(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return tuple(_tuples(number(item)) for item in value)


def _attribute(part: Any, name: str) -> Any:
    try:
        return getattr(part, name, ABSENT)
    # a property may raise anything
    except Exception:
        return ABSENT


def _is_registered(part: Any) -> bool:
    try:
        return isinstance(part, nn.Module) and bool(init_record(part).name)
    except SettingError:
        return False


def _refusal(
    model: Model, reported: Sequence[Difference], random_paths: set[str], reason: str
) -> str:
    name = init_record(model).name
    more = f" ({len(reported) - 1} more differences)" if len(reported) > 1 else ""
    return (
        f"{name}: its settings do not rebuild this model, so a run folder could not restore it: "
        f"{reported[0]}{more}{reason}. {_way_out(model, reported[0], random_paths)}, or save "
        "model.state_dict() yourself and train without a run folder."
    )


def _way_out(model: Model, difference: Difference, random_paths: set[str]) -> str:
    """Return what to do about a difference, as a sentence without its full stop."""
    path, _, name = difference.path.rpartition(".")
    if difference.path in random_paths:
        return (
            f"The constructor draws a new {name} each time: register it as a persistent buffer, "
            "or draw it with a generator whose seed is an argument"
        )
    if name == "optimizer" and difference.category == "attribute":
        return (
            'Pass optimizers to fit, as in players={"critic": {"lr": 1e-4}}, or set them in '
            "[players.NAME] of a recipe"
        )
    is_slot = difference.category == "module" and _is_registered(difference.rebuilt)
    if is_slot and isinstance(difference.actual, nn.Module):
        kind = init_record(difference.rebuilt).kind
        return (
            f"Register {type(difference.actual).__name__}, as in "
            f'@genzoo.{kind}.register("my-part"), and build the part by name'
        )
    owner = next(p for p in (_submodule(model, path), model) if _is_registered(p))
    init = init_record(owner)
    arguments = parameters(registry(init.kind).get(init.name))
    if difference.category == "attribute" and name in arguments:
        return f"Build {init.name!r} with {name} = {show(difference.actual)}"
    return (
        f"Pass it to the constructor ({init.name!r} takes {', '.join(arguments)}), register a "
        "subclass that sets it"
    )


def _submodule(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None
