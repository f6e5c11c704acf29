"""Recipes: TOML files that say which model, on which data, trained how; and `a.b=c` overrides.

```toml
[model]
name = "wae-mmd"
prior = { name = "mog", components = 10 }

[data]
name = "digits"

[train]
steps = 2000

[players.autoencoder]
lr = 1e-3
```
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genzoo.errors import SettingError, UnknownSettingError, did_you_mean

SECTIONS = ("model", "data", "train", "players")
"""What a recipe says; a run's own copy also has `run`: what was found on the machine, never read back."""

Recipe = dict[str, dict[str, Any]]


def read(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe from a file, with overrides applied.

    Raises:
        SettingError: no such file, not TOML (with the line), an unknown section, or no model or data.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"recipe {path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"recipe {path}: {error}") from None
    table.pop("run", None)
    return checked(override(table, overrides), f"recipe {path}")


def checked(table: Mapping[str, Any], place: str = "recipe") -> Recipe:
    """A recipe with known sections only, each a table; a bare name stands for `{name = ...}`."""
    for section in table:
        if section not in SECTIONS:
            message = f"{place} has no section {section!r}."
            hint = did_you_mean(section, SECTIONS)
            raise UnknownSettingError(message, section, table[section], hint, table)
    recipe: Recipe = {}
    for section in SECTIONS:
        value = table.get(section, {})
        if section in ("model", "data"):
            value = {"name": value} if isinstance(value, str) else value
            if not value:
                raise SettingError(f'{place} needs a section [{section}] with a name, as in [{section}] name = "..."')
        if section in ("model", "data") and isinstance(value, Mapping) and "name" not in value:
            raise SettingError(f'{place}: [{section}] needs a name, as in name = "..."')
        if not isinstance(value, Mapping):
            raise SettingError(f"{place}: {section} = {value!r}: expected a table, as in [{section}]")
        recipe[section] = dict(value)
    for name, settings in recipe["players"].items():
        if not isinstance(settings, Mapping):
            raise SettingError(f"{place}: players.{name} = {settings!r}: expected a table, as in [players.{name}] lr = 1e-3")
    return recipe


def override(table: Mapping[str, Any], texts: Iterable[str]) -> dict[str, Any]:
    """A copy of a table with `a.b=c` applied in order.

    The value is read as TOML, and as plain text where it is not. A slot that holds a bare name becomes a table when a setting
    below it is given; a name given to a slot that holds a table replaces the table, since the old settings were another part's.

    Example:
        >>> override({"model": {"prior": "mog"}}, ["model.prior.components=20"])
        {'model': {'prior': {'name': 'mog', 'components': 20}}}
    """
    result = _copy(table)
    for text in texts:
        key, equals, value = text.partition("=")
        path = [part.strip() for part in key.split(".")]
        if not equals or not all(path):
            raise SettingError(f"override {text!r}: expected a.b=c, as in train.steps=500")
        here = result
        for part in path[:-1]:
            below = here.get(part, {})
            if isinstance(below, str):
                below = {"name": below}
            if not isinstance(below, dict):
                raise SettingError(f"override {text!r}: {part!r} holds {below!r}, which has no settings")
            here[part] = below
            here = below
        here[path[-1]] = _value(value.strip())
    return result


def dumps(recipe: Mapping[str, Any]) -> str:
    """A recipe as TOML. Settings that are None are left out: they are their defaults."""
    import tomlkit

    return tomlkit.dumps(_bare(recipe))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], place: str = "") -> list[str]:
    """Where two tables differ, as `a.b = old, now new`; lists and tuples are the same thing."""
    found = []
    for key in dict.fromkeys((*old, *new)):
        left, right = old.get(key), new.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{place}{key}.")
        elif _bare(left) != _bare(right):
            found.append(f"{place}{key} was {left!r}, now {right!r}")
    return found


def _value(text: str) -> Any:
    if re.search(r"[\r\n]", text):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _bare(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return value
