"""Runs whose data have moved to another path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.contract.parts import absolute_path
from genzoo.errors import SettingError

__all__ = ["rerooted", "without_paths"]

_KEYS = ("path", "folder")


def rerooted(table: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """Return the table of a dataset with another path.

    Other settings below the old path, such as a file with labels, move with it. In a dataset that
    is made from another one, the path is that of the other one.

    Arguments:
        table: the table, as in the recipe of a run.
        path: the new path.

    Raises:
        SettingError: the dataset has no path.

    Example:
        >>> rerooted({"name": "folder", "path": "/a", "labels": "/a/labels.csv"}, "/b")
        {'name': 'folder', 'path': '/b', 'labels': '/b/labels.csv'}
    """
    key = next((key for key in _KEYS if isinstance(table.get(key), str)), None)
    if key is not None:
        old, new = table[key].rstrip(os.sep), absolute_path(path)
        return {name: _moved(value, old, new) for name, value in table.items()}
    for name, value in table.items():
        if isinstance(value, Mapping):
            return {**table, name: rerooted(value, path)}
    raise SettingError(
        f"the data of this run, {table.get('name', 'none')}, have no path; leave out --data-path."
    )


def without_paths(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of a dataset without absolute paths, which do not tell what they hold."""
    kept = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            kept[name] = without_paths(value)
        elif not (isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute())):
            kept[name] = value
    return kept


def _moved(value: Any, old: str, new: str) -> Any:
    """Return a setting with the old path replaced, if it is this path or lies below it."""
    if isinstance(value, str) and f"{value}{os.sep}".startswith(f"{old}{os.sep}"):
        return new + value.rstrip(os.sep)[len(old) :]
    return value
