"""The record of a model: the settings that build it again as it is now."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genzoo.contract import Model
from genzoo.distributed import exclusive, reseed, seed_for
from genzoo.errors import GenzooError, SettingError
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.registry.records import check_nones, config, init_record
from genzoo.registry.signatures import parameters
from genzoo.runs.compare import ABSENT, Difference, differences, number, same, show
from genzoo.runs.modes import standard_modes

Table = dict[str, Any]


def record(model: Model) -> Table:
    """Return the table that builds a model again as it is now.

    Build the model afresh from its settings and compare the two. Where a part was swapped or an attribute that is also an
    argument was changed, record that instead, and compare again.

    Arguments:
        model: the model in hand; it and all random states stay as they are.

    Returns:
        The model's table with every default filled in.

    Raises:
        SettingError: the model or a part is not registered, or no settings build the model as it is.

    Example:
        >>> model = build("vae", shape=(1, 8, 8))
        >>> model.beta = 4.0
        >>> record(model)["beta"]
        4.0
    """
    table = config(model)
    twin = rebuilt(table, model)
    first = found = differences(model, twin)
    reason = ""
    for amend in (_with_parts, _with_attributes):
        if not found:
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
        table, found = amended, differences(model, twin)
    if not found:
        return table
    known, left = {d.where for d in first}, {d.where for d in found}
    named = (
        [d for d in first if d.where in left] if left <= known else first
    )  # else an argument does not stand alone
    again = differences(twin, rebuilt(table, model, "again")) if not reason else []
    raise SettingError(_refusal(model, named, {d.where for d in again}, reason))


def rebuilt(table: Mapping[str, Any], like: nn.Module, key: str = "record") -> Any:
    """Build a model from its table, on the CPU and in the dtype of another one; every random state stays as it was.

    Arguments:
        table: as `genzoo.build` takes it.
        like: the model whose dtype is taken.
        key: of the noise for its weights, which no run draws from: what the constructor draws differs from the model's.

    Raises:
        SettingError: it cannot be built.
    """
    try:
        with untouched_noise(), standard_modes(torch.device("cpu")):
            reseed(torch.device("cpu"), key)
            np.random.seed(seed_for(key) % 2**32)
            random.seed(seed_for(key))
            twin = build(table)
    except GenzooError:
        raise
    except Exception as error:  # a constructor's own
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SettingError(
            f"{table['name']}: the model cannot be built a second time from its settings, which a run folder needs ({reason})."
        ) from error
    tensors = (
        *like.parameters(),
        *like.buffers(),
    )  # in this order: a model may keep a buffer in another precision
    return twin.to(dtype=next((t.dtype for t in tensors if t.is_floating_point()), None))


@contextmanager
def untouched_noise() -> Iterator[None]:
    """Give the random states of torch, numpy and Python back at the end."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    python, arrays = random.getstate(), np.random.get_state()
    with exclusive(*(torch.device("cuda", i) for i in devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)


def _with_parts(part: Any, twin: Any, table: Table) -> Table:
    """The table with the parts that the model now holds in place of those that were swapped."""
    return _changed(part, twin, table, _part_table, root=True)


def _with_attributes(part: Any, twin: Any, table: Table) -> Table:
    """The table with the attributes that the model now has in place of the arguments of the same names."""
    return _changed(part, twin, table, _value, root=True)


def _changed(part: Any, twin: Any, table: Table, replace: Any, root: bool = False) -> Table:
    how = init_record(part)
    result = dict(table)
    for key in parameters(registry(how.kind).get(how.name)):
        if not root and key in how.context:
            continue
        mine, theirs = _attribute(part, key), _attribute(twin, key)
        result.update(_entry(mine, theirs, key, table.get(key), replace))
    return result


def _entry(mine: Any, theirs: Any, key: str, value: Any, replace: Any) -> Table:
    """The setting of one argument, where it is to be another one."""
    new = replace(mine, theirs)
    if new is not ABSENT:
        return {key: new}
    if (
        isinstance(mine, nn.ModuleList | list | tuple)
        and isinstance(value, list | tuple)
        and len(mine) == len(value)
    ):
        rows = zip(mine, theirs, value, strict=False)
        return {key: tuple(_entry(a, b, key, v, replace).get(key, v) for a, b, v in rows)}
    if _registered(mine) and _registered(theirs) and isinstance(value, Mapping):
        return {key: _changed(mine, theirs, dict(value), replace)}
    return {}


def _part_table(mine: Any, theirs: Any) -> Any:
    if not _registered(mine):
        return None if mine is None and isinstance(theirs, nn.Module) else ABSENT
    table = config(mine, root=False)
    return ABSENT if _registered(theirs) and table == config(theirs, root=False) else table


def _value(mine: Any, theirs: Any) -> Any:
    value = number(mine)
    if isinstance(value, Tensor | np.ndarray) and not isinstance(value, nn.Parameter):
        value = value.tolist()
    plain = isinstance(value, str | int | float | list | tuple | Mapping) or (
        value is None and theirs is not None
    )
    if not plain or theirs is ABSENT or isinstance(theirs, nn.Module) or same(mine, theirs):
        return ABSENT
    return _tuples(value)


def _tuples(value: Any) -> Any:
    return (
        tuple(_tuples(number(item)) for item in value) if isinstance(value, list | tuple) else value
    )


def _attribute(part: Any, name: str) -> Any:
    try:
        return getattr(part, name, ABSENT)
    except Exception:  # a property's own
        return ABSENT


def _registered(part: Any) -> bool:
    try:
        return isinstance(part, nn.Module) and bool(init_record(part).name)
    except SettingError:
        return False


def _refusal(model: Model, found: Sequence[Difference], random_ones: set[str], reason: str) -> str:
    name = init_record(model).name
    several = f" ({len(found) - 1} more differences)" if len(found) > 1 else ""
    return (
        f"{name}: its settings do not build this model, so a run folder could not give it back: {found[0]}{several}{reason}. "
        f"{_way_out(model, found[0], random_ones)}, or keep model.state_dict() yourself and train without a run folder."
    )


def _way_out(model: Model, found: Difference, random_ones: set[str]) -> str:
    path, _, name = found.where.rpartition(".")
    if found.where in random_ones:
        return (
            f"The constructor draws {name} anew each time: register it as a persistent buffer, or draw it with a generator "
            "whose seed is an argument"
        )
    if name == "optimizer" and found.kind == "attribute":
        return 'Give optimizers to fit, as in players={"critic": {"lr": 1e-4}}, or in [players.NAME] of a recipe'
    slot = _registered(found.there) if found.kind == "module" else False
    if slot and isinstance(found.here, nn.Module):
        kind = init_record(found.there).kind
        return f'Register {type(found.here).__name__}, as in @genzoo.{kind}.register("my-part"), and build the part by name'
    owner = next(p for p in (_below(model, path), model) if _registered(p))
    how = init_record(owner)
    arguments = parameters(registry(how.kind).get(how.name))
    if found.kind == "attribute" and name in arguments:
        return f"Build {how.name!r} with {name} = {show(found.here)}"
    return f"Pass it to the constructor ({how.name!r} takes {', '.join(arguments)}), register a subclass that sets it"


def _below(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None
