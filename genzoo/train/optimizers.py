"""Optimizers from tables: any of `torch.optim`, with settings for groups of parameters.

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

OPTIMIZERS = {
    name.lower(): thing
    for name, thing in vars(torch.optim).items()
    if inspect.isclass(thing)
    and issubclass(thing, torch.optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SparseAdam")
}
"""Those that make a step from one dense gradient."""

_WHOLE = ("foreach", "fused", "capturable", "differentiable")
"""Settings of the implementation, which all groups share."""

Named = Mapping[str, nn.Parameter]


def make_optimizer(named: Named, table: Mapping[str, Any], label: str) -> torch.optim.Optimizer:
    """Build an optimizer of `torch.optim`; fused where there is such an implementation.

    Arguments:
        named: a player's parameters by name; the frozen ones are left out.
        table: `name`, the optimizer's settings, and two of ours. `groups` is a list of tables, each
            with `params`, a pattern on names (as in `fnmatch`) or several, and the settings of what
            it matches; the first group that matches a parameter takes it. `no_decay` takes the
            weight decay off biases and norms: parameters of one dimension, or named `bias`.
        label: where the table stands, for error messages, as in `players.critic`.

    Raises:
        SettingError: an unknown name or setting, a value that the optimizer refuses, or a pattern
            that matches nothing.
    """
    settings = dict(table)
    name, groups = str(settings.pop("name", "Adam")), settings.pop("groups", ())
    no_decay = settings.pop("no_decay", False)
    if name.lower() not in OPTIMIZERS:
        raise SettingError(
            f"{label}: no optimizer named {name!r}.{did_you_mean(name.lower(), OPTIMIZERS)}"
        )
    kind = OPTIMIZERS[name.lower()]
    known = [key for key in inspect.signature(kind).parameters if key != "params"]
    base = _checked(
        kind,
        settings,
        f"{label} {name!r}",
        label,
        [*known, "name", "schedule", "groups", "no_decay"],
    )
    if "fused" in known and not {"fused", "foreach"} & settings.keys():
        base["fused"] = all(
            p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps")
            for p in named.values()
        )
    if not isinstance(no_decay, bool):
        raise SettingError(f"{label}.no_decay = {no_decay!r}: expected true or false")
    if no_decay and "weight_decay" not in known:
        raise SettingError(f"{label}.no_decay: {kind.__name__} has no weight_decay; leave it out")
    split = [*_split(kind, named, groups, base, label)]
    if no_decay:
        split = [part for group in split for part in _without_decay(*group)]
    parts = [(_trainable(group), group_settings) for group, group_settings in split]
    parts = [(group, group_settings) for group, group_settings in parts if group]
    try:
        for group, group_settings in parts:  # torch checks an optimizer's defaults only
            kind([*group.items()], **group_settings)
        return kind(
            [{**group_settings, "params": [*group.items()]} for group, group_settings in parts],
            **base,
        )
    except (ValueError, RuntimeError) as error:  # torch names the value
        raise SettingError(f"{label} {name!r}: {error}") from None


def _checked(
    kind: Any, settings: Mapping[str, Any], title: str, label: str, known: Sequence[str]
) -> dict[str, Any]:
    """Return settings of an optimizer, checked by name, type and finiteness."""
    if "params" in settings:
        raise SettingError(
            f"{label}.params = {settings['params']!r}: a player moves the parameters of the modules that it owns. For settings "
            'by name, write groups = [{ params = "encoder.*", lr = 1e-4 }]; to keep some as they are, use train.freeze.'
        )
    for key, value in settings.items():
        if key not in known:
            message = f"{title} has no setting {key!r}."
            raise UnknownSettingError(message, key, value, did_you_mean(key, known))
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(f"{label}.{key} = {value}: expected a finite number")
    checked = check(kind, {**settings, "params": ()}, title, label)
    del checked["params"]
    return checked


def _split(
    kind: Any, named: Named, groups: Any, base: Mapping[str, Any], label: str
) -> Iterator[tuple[dict[str, nn.Parameter], dict[str, Any]]]:
    """Yield the parameters that no group takes, then each group's, with their settings."""
    if not isinstance(groups, list | tuple):
        raise SettingError(
            f'{label}.groups = {groups!r}: expected a list, as in [{{ params = "encoder.*", lr = 1e-4 }}]'
        )
    left, taken = dict(named), []
    known = [key for key in inspect.signature(kind).parameters if key not in ("params", *_WHOLE)]
    for i, table in enumerate(groups):
        place = f"{label}.groups[{i}]"
        if not isinstance(table, Mapping):
            raise SettingError(
                f'{place} = {table!r}: expected a table, as in {{ params = "encoder.*", lr = 1e-4 }}'
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
                f'{place}.params = {patterns!r}: expected a pattern on names, or several, as in "encoder.*"'
            )
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in named):
                raise SettingError(
                    f"{place}: no parameter of this player matches {pattern!r}.{near_patterns(pattern, named)}"
                )
        group = {
            name: left.pop(name) for name in [*left] if any(fnmatchcase(name, p) for p in patterns)
        }
        if not group:
            raise SettingError(
                f"{place}: earlier groups take all that match {', '.join(map(repr, patterns))}; put it first"
            )
        taken.append((group, {**base, **_checked(kind, settings, place, place, known)}))
    yield left, dict(base)
    yield from taken


def near_patterns(pattern: str, names: Sequence[str] | Named) -> str:
    """Return the tail of an error message: parameter names, and patterns of whole parts, near a pattern."""
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
