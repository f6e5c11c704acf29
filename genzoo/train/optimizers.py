"""Build optimizers of `torch.optim` from tables, with settings for groups of parameters.

```toml
[players.autoencoder]
name = "AdamW"
lr = 1e-3
weight_decay = 0.05
no_decay = true                                    # not on biases and norms
groups = [{ params = "encoder.*", lr = 1e-4 }]     # patterns on parameter names
```
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from genzoo.errors import SettingError, UnknownSettingError, did_you_mean
from genzoo.registry.validation import check

__all__ = ["OPTIMIZERS", "Named", "make_optimizer", "near_patterns"]

OPTIMIZERS = {
    name.lower(): value
    for name, value in vars(torch.optim).items()
    if inspect.isclass(value)
    and issubclass(value, torch.optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SparseAdam")
}
"""The optimizers that need one dense gradient per step, by name in lower case."""

_SHARED = ("foreach", "fused", "capturable", "differentiable")
"""Settings of the implementation, which all groups share."""

Named = Mapping[str, nn.Parameter]


def make_optimizer(named: Named, table: Mapping[str, Any], label: str) -> torch.optim.Optimizer:
    """Build an optimizer of `torch.optim`, with the fused implementation where it is available.

    Arguments:
        named: a player's parameters by name; frozen parameters are left out.
        table: the optimizer's `name`, its settings, and optionally `groups` and `no_decay`.
            `groups` is a list of tables. Each table has `params`, one pattern or several on
            parameter names (as in `fnmatch`), and settings for the parameters that match. A
            parameter belongs to the first group that matches it. `no_decay` removes the weight
            decay of biases and norms: parameters with one dimension, or with the name `bias`.
        label: the path of the table, for error messages, such as `players.critic`.

    Raises:
        SettingError: a name or setting is unknown, the optimizer rejects a value, or a pattern
            matches no parameter.
    """
    settings = dict(table)
    name, groups = str(settings.pop("name", "Adam")), settings.pop("groups", ())
    no_decay = settings.pop("no_decay", False)
    if name.lower() not in OPTIMIZERS:
        raise SettingError(
            f"{label}: no optimizer named {name!r}.{did_you_mean(name.lower(), OPTIMIZERS)}"
        )
    optimizer = OPTIMIZERS[name.lower()]
    known = [key for key in inspect.signature(optimizer).parameters if key != "params"]
    base = _checked(
        optimizer,
        settings,
        title=f"{label} {name!r}",
        label=label,
        known=[*known, "name", "schedule", "groups", "no_decay"],
    )
    if "fused" in known and not {"fused", "foreach"} & settings.keys():
        base["fused"] = all(
            p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps")
            for p in named.values()
        )
    if not isinstance(no_decay, bool):
        raise SettingError(f"{label}.no_decay = {no_decay!r}: expected true or false.")
    if no_decay and "weight_decay" not in known:
        raise SettingError(
            f"{label}.no_decay: {optimizer.__name__} has no weight_decay; leave out no_decay."
        )
    split = [*_split(optimizer, named, groups, base, label)]
    if no_decay:
        split = [part for group in split for part in _without_decay(*group)]
    parts = [(_trainable(group), group_settings) for group, group_settings in split]
    parts = [(group, group_settings) for group, group_settings in parts if group]
    try:
        # torch checks the default settings only, so build an optimizer for each group
        for group, group_settings in parts:
            optimizer([*group.items()], **group_settings)
        return optimizer(
            [{**group_settings, "params": [*group.items()]} for group, group_settings in parts],
            **base,
        )
    # the message of torch includes the value
    except (ValueError, RuntimeError) as error:
        raise SettingError(f"{label} {name!r}: {error}") from None


def _checked(
    optimizer: Any, settings: Mapping[str, Any], title: str, label: str, known: Sequence[str]
) -> dict[str, Any]:
    """Check the names, types, and finiteness of an optimizer's settings, and return them."""
    if "params" in settings:
        raise SettingError(
            f"{label}.params = {settings['params']!r}: a player updates all parameters of its "
            'modules. For settings by name, write groups = [{ params = "encoder.*", lr = 1e-4 }]. '
            "To keep some parameters fixed, use train.freeze."
        )
    for key, value in settings.items():
        if key not in known:
            message = f"{title} has no setting {key!r}."
            raise UnknownSettingError(message, key, value, did_you_mean(key, known))
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(f"{label}.{key} = {value}: expected a finite number.")
    checked = check(optimizer, {**settings, "params": ()}, title, label)
    del checked["params"]
    return checked


def _split(
    optimizer: Any, named: Named, groups: Any, base: Mapping[str, Any], label: str
) -> Iterator[tuple[dict[str, nn.Parameter], dict[str, Any]]]:
    """Yield the parameters outside all groups, then those of each group, with their settings."""
    if not isinstance(groups, list | tuple):
        raise SettingError(
            f"{label}.groups = {groups!r}: expected a list, such as "
            '[{ params = "encoder.*", lr = 1e-4 }].'
        )
    left, taken = dict(named), []
    known = [
        key for key in inspect.signature(optimizer).parameters if key not in ("params", *_SHARED)
    ]
    for i, table in enumerate(groups):
        path = f"{label}.groups[{i}]"
        patterns, settings = _patterns(table, named, path)
        group = {
            name: left.pop(name) for name in [*left] if any(fnmatchcase(name, p) for p in patterns)
        }
        if not group:
            raise SettingError(
                f"{path}: earlier groups take all parameters that match "
                f"{', '.join(map(repr, patterns))}; put this group first."
            )
        checked = _checked(optimizer, settings, title=path, label=path, known=known)
        taken.append((group, {**base, **checked}))
    yield left, dict(base)
    yield from taken


def _patterns(table: Any, named: Named, path: str) -> tuple[Sequence[str], dict[str, Any]]:
    """Return the patterns on parameter names of a group, and its settings."""
    if not isinstance(table, Mapping):
        raise SettingError(
            f'{path} = {table!r}: expected a table, such as {{ params = "encoder.*", lr = 1e-4 }}.'
        )
    settings = dict(table)
    patterns = settings.pop("params", None)
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if (
        not isinstance(patterns, list | tuple)
        or not patterns
        or not all(isinstance(p, str) for p in patterns)
    ):
        raise SettingError(
            f"{path}.params = {patterns!r}: expected a pattern on parameter names, or a list "
            'of patterns, such as "encoder.*".'
        )
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in named):
            raise SettingError(
                f"{path}: no parameter of this player matches {pattern!r}."
                f"{near_patterns(pattern, named)}"
            )
    return patterns, settings


def near_patterns(pattern: str, names: Sequence[str] | Named) -> str:
    """Return the end of an error message: parameter names and patterns similar to a pattern."""
    parts = {
        name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)
    }
    return did_you_mean(pattern, [*names, *(f"{part}.*" for part in parts)])


def _without_decay(
    group: dict[str, nn.Parameter], settings: dict[str, Any]
) -> Iterator[tuple[dict[str, nn.Parameter], dict[str, Any]]]:
    flat = {
        name: p for name, p in group.items() if p.dim() <= 1 or name.rsplit(".", 1)[-1] == "bias"
    }
    yield {name: p for name, p in group.items() if name not in flat}, settings
    yield flat, {**settings, "weight_decay": 0.0}


def _trainable(group: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    return {name: p for name, p in group.items() if p.requires_grad}
