"""Recipes, TOML files that describe a model, its data, and its training; and `a.b=c` overrides.

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
from itertools import takewhile
from pathlib import Path
from typing import Any

from genzoo.errors import SettingError, UnknownSettingError, did_you_mean, shorten, show
from genzoo.files import local_path
from genzoo.registry.validation import check_plain

__all__ = [
    "SECTIONS",
    "Recipe",
    "checked",
    "differences",
    "dumps",
    "head",
    "override",
    "parse",
    "read",
    "shipped",
    "training_seconds",
    "without_none",
]

SECTIONS = ("model", "data", "train", "players")
"""The sections of a recipe. In a run folder, `run` also records facts about the run."""
_MAX_LEVELS = 20
"""The maximum number of levels in an override, far more than a model has."""
_MAX_BYTES = 2**20
"""The maximum size of a recipe. TOML files far above it would take minutes to parse."""

Recipe = dict[str, dict[str, Any]]


def shipped() -> dict[str, Path]:
    """Return the paths of the recipes that come with genzoo, by name.

    They are part of the wheel. In a checkout, they are in the folder `recipes`.

    Example:
        >>> shipped()["vae-digits"].name
        'vae-digits.toml'
    """
    package = Path(__file__).parents[1]
    folder = package / "recipes"
    if not folder.is_dir() and (package.parent / "pyproject.toml").is_file():
        folder = package.parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def head(path: Path) -> str:
    """Return the comment at the top of a recipe, on one line.

    Example:
        >>> head(shipped()["vae-digits"])[:5]
        'A VAE'
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(
        line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines)
    )


def training_seconds(path: Path) -> int | None:
    """Return the training time on a CPU that the comment at the top of a recipe states, if any.

    Example:
        >>> training_seconds(shipped()["vae-digits"])
        11
    """
    stated = re.search(r"(\d[\d,]*) s (?:of CPU time )?on \w+ threads?", head(path))
    return int(stated[1].replace(",", "")) if stated else None


def read(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe from a file and apply overrides to it.

    Raises:
        SettingError: the file does not exist or is not TOML (the message names the line), or the
            recipe has an unknown section, or no model or data.
    """
    path = local_path(path, "recipe")
    try:
        # reading a pipe might never end
        if path.exists() and not path.is_file():
            raise SettingError(f"recipe {path} is not a file; a recipe is a TOML file.")
        with path.open("rb") as file:
            table = parse(file.read(_MAX_BYTES + 1), f"recipe {path}")
    except OSError as error:
        raise SettingError(f"recipe {path}: {error.strerror or error}") from None
    table.pop("run", None)
    return checked(override(table, overrides), f"recipe {path}")


def parse(content: bytes, source: str = "recipe") -> dict[str, Any]:
    """Parse the content of a TOML file.

    Arguments:
        content: UTF-8 text, with or without a byte-order mark.
        source: the name of the file in messages.

    Raises:
        SettingError: the content is too long, is not UTF-8, is not TOML (the message names the
            line), or holds a value that no setting can have.
    """
    if len(content) > _MAX_BYTES:
        raise SettingError(f"{source} has more than {_MAX_BYTES:,} bytes, the maximum.")
    try:
        table = tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise SettingError(
            f"{source} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{source}: {error}") from None
    except RecursionError:
        raise SettingError(
            f"{source}: tables or lists are nested too deeply; flatten them."
        ) from None
    # Python refuses to convert integers with more than a few thousand digits
    except ValueError:
        raise SettingError(
            f"{source} holds a number with thousands of digits; integers have at most 64 bits."
        ) from None
    for section, value in table.items():
        check_plain(value, section)
    return table


def checked(
    table: Mapping[str, Any], source: str = "recipe", required: Iterable[str] = ("model", "data")
) -> Recipe:
    """Check the sections of a table and return it as a recipe.

    A bare name for the model or the data becomes `{name = ...}`. Absent sections become empty.

    Arguments:
        table: the content of the recipe.
        source: the name of the recipe in messages.
        required: the sections that must be present.

    Raises:
        SettingError: a section is unknown, is not a table, is missing, or has no name.
    """
    for section, value in table.items():
        if section not in SECTIONS:
            message = f"{source} has no section {shorten(section)!r}."
            hint = did_you_mean(section, SECTIONS)
            raise UnknownSettingError(message, section, value, hint, table)
        check_plain(value, section)
    recipe: Recipe = {}
    for section in SECTIONS:
        value = table.get(section, {})
        if section in ("model", "data"):
            value = _with_name(value, section, source, is_required=section in required)
        if not isinstance(value, Mapping):
            raise SettingError(
                f"{source}: {section} = {show(value)}: expected a table, as in [{section}]"
            )
        recipe[section] = dict(value)
    for name, settings in recipe["players"].items():
        if not isinstance(settings, Mapping):
            raise SettingError(
                f"{source}: players.{name} = {show(settings)}: expected a table, as in "
                f"[players.{name}] lr = 1e-3"
            )
    return recipe


def _with_name(value: Any, section: str, source: str, *, is_required: bool) -> Any:
    """Return the value of a section that needs a name, with a bare name as a table."""
    if isinstance(value, str):
        value = {"name": value}
    if not value and is_required:
        raise SettingError(
            f'{source} needs a section [{section}] with a name, as in [{section}] name = "..."'
        )
    if value and isinstance(value, Mapping) and "name" not in value:
        raise SettingError(f'{source}: [{section}] needs a name, as in name = "..."')
    return value


def override(table: Mapping[str, Any], texts: Iterable[str]) -> dict[str, Any]:
    """Return a copy of a table with overrides `a.b=c` applied in order.

    A value that is not valid TOML is taken as plain text. If a slot holds a bare name and an
    override sets a value below it, the name becomes a table. If a slot holds a table and an
    override sets it to a name, the name replaces the table, because the old settings belong to
    another part.

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
        if len(path) > _MAX_LEVELS:
            raise SettingError(
                f"override {show(text)} goes down {len(path)} levels; use at most {_MAX_LEVELS}."
            )
        parent = result
        for part in path[:-1]:
            child = parent.get(part, {})
            if isinstance(child, str):
                child = {"name": child}
            if not isinstance(child, dict):
                raise SettingError(
                    f"override {show(text)}: {part!r} is {show(child)}, which has no settings"
                )
            parent[part] = child
            parent = child
        parent[path[-1]] = _value(value.strip(), f"override {show(text)}")
    return result


def dumps(recipe: Mapping[str, Any]) -> str:
    """Return a recipe as TOML, without the settings that are None, which keep their defaults."""
    import tomlkit

    return tomlkit.dumps(without_none(recipe))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """List the differences between two tables, as `a.b was old, now new`.

    Lists and tuples with equal items are equal.
    """
    messages = []
    for key in dict.fromkeys((*old, *new)):
        left, right = old.get(key), new.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            messages += differences(left, right, f"{prefix}{key}.")
        elif without_none(left) != without_none(right):
            messages.append(f"{prefix}{key} was {left!r}, now {right!r}")
    return messages


def _value(text: str, source: str) -> Any:
    if re.search(r"[\r\n]", text):
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except (RecursionError, ValueError):
        raise SettingError(
            f"{source}: the value is nested too deeply, or is a number with thousands of digits."
        ) from None
    check_plain(value, source)
    return value


def _copy(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: _copy(item) for key, item in value.items()}


def without_none(value: Any) -> Any:
    """Return a value without the entries of tables that are None, and with lists for tuples."""
    if isinstance(value, Mapping):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_none(item) for item in value]
    return value
