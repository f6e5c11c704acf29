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

from genzoo.errors import SettingError, UnknownSettingError, did_you_mean, shorten, show
from genzoo.files import local_path
from genzoo.registry.validation import check_plain

_DEEPEST = 20
"""Parts within parts in an override: far more than models have."""
SECTIONS = ("model", "data", "train", "players")
"""What a recipe says; a run's own copy also has `run`: what was found on the machine, never read back."""
_LONGEST = 2**20
"""Bytes of a recipe: more would take minutes to read, and no recipe has so many."""

Recipe = dict[str, dict[str, Any]]


def shipped() -> dict[str, Path]:
    """Return the recipes that come with genzoo, by name: those of its wheel, or of its checkout.

    Example:
        >>> shipped()["vae-digits"].name
        'vae-digits.toml'
    """
    package = Path(__file__).parents[1]
    folder = package / "recipes"
    if not folder.is_dir() and (package.parent / "pyproject.toml").is_file():
        folder = package.parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe from a file, with overrides applied.

    Raises:
        SettingError: no such file, not TOML (with the line), an unknown section, or no model or data.
    """
    path = local_path(path, "recipe")
    try:
        if path.exists() and not path.is_file():  # reading a pipe might never end
            raise SettingError(f"recipe {path} is not a file; a recipe is a TOML file.")
        with path.open("rb") as file:
            table = parse(file.read(_LONGEST + 1), f"recipe {path}")
    except OSError as error:
        raise SettingError(f"recipe {path}: {error.strerror or error}") from None
    table.pop("run", None)
    return checked(override(table, overrides), f"recipe {path}")


def parse(content: bytes, place: str = "recipe") -> dict[str, Any]:
    """Return the table in a TOML file.

    Arguments:
        content: UTF-8 text, with or without a byte-order mark.
        place: what messages call the file.

    Raises:
        SettingError: it is too long, not UTF-8, not TOML (with the line), or holds what no setting is.
    """
    if len(content) > _LONGEST:
        raise SettingError(f"{place} has more than {_LONGEST:,} bytes; no recipe is so long.")
    try:
        table = tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise SettingError(
            f"{place} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{place}: {error}") from None
    except RecursionError:
        raise SettingError(
            f"{place}: tables or lists are nested too deeply; no setting is."
        ) from None
    except ValueError:  # of Python, which reads no more than some thousand digits
        raise SettingError(
            f"{place} holds a number with thousands of digits; integers have at most 64 bits."
        ) from None
    for section, value in table.items():
        check_plain(value, section)
    return table


def checked(
    table: Mapping[str, Any], place: str = "recipe", required: Iterable[str] = ("model", "data")
) -> Recipe:
    """A recipe with known sections only, each a table; a bare name stands for `{name = ...}`."""
    for section, value in table.items():
        if section not in SECTIONS:
            message = f"{place} has no section {shorten(section)!r}."
            hint = did_you_mean(section, SECTIONS)
            raise UnknownSettingError(message, section, value, hint, table)
        check_plain(value, section)
    recipe: Recipe = {}
    for section in SECTIONS:
        value = table.get(section, {})
        if section in ("model", "data"):
            value = {"name": value} if isinstance(value, str) else value
            if not value and section in required:
                raise SettingError(
                    f'{place} needs a section [{section}] with a name, as in [{section}] name = "..."'
                )
        if (
            value
            and section in ("model", "data")
            and isinstance(value, Mapping)
            and "name" not in value
        ):
            raise SettingError(f'{place}: [{section}] needs a name, as in name = "..."')
        if not isinstance(value, Mapping):
            raise SettingError(
                f"{place}: {section} = {show(value)}: expected a table, as in [{section}]"
            )
        recipe[section] = dict(value)
    for name, settings in recipe["players"].items():
        if not isinstance(settings, Mapping):
            raise SettingError(
                f"{place}: players.{name} = {show(settings)}: expected a table, as in [players.{name}] lr = 1e-3"
            )
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
            raise SettingError(f"override {show(text)}: expected a.b=c, as in train.steps=500")
        if len(path) > _DEEPEST:
            raise SettingError(
                f"override {show(text)} goes down {len(path)} levels; no setting is so deep."
            )
        here = result
        for part in path[:-1]:
            below = here.get(part, {})
            if isinstance(below, str):
                below = {"name": below}
            if not isinstance(below, dict):
                raise SettingError(
                    f"override {show(text)}: {part!r} holds {show(below)}, which has no settings"
                )
            here[part] = below
            here = below
        here[path[-1]] = _value(value.strip(), f"override {show(text)}")
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


def _value(text: str, place: str) -> Any:
    if re.search(r"[\r\n]", text):
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except (RecursionError, ValueError):
        raise SettingError(
            f"{place}: its value is nested too deeply, or a number with thousands of digits."
        ) from None
    check_plain(value, place)
    return value


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _bare(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return value
