"""Remove what only this machine knows from texts that are published: absolute paths and user names.

Cards, packed runs, and pushed runs go through these functions.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from genzoo.runs.recipe import dumps, parse, without_none

__all__ = ["portable", "portable_recipe", "portable_text", "recipe_digest"]

_PART = r"[^\\/\s'\"`<>|*?:;,()\[\]{}]+"
_PATH = re.compile(
    rf"(?<![\w.:/\\~-])(?:file://|~[\w.-]*(?=[\\/])|[A-Za-z]:(?=[\\/])|(?=/|\\+{_PART}[\\/]))"
    rf"(?:[\\/]+{_PART})*[\\/]+(?P<last>{_PART})[\\/]*"
)
"""An absolute path in a sentence: POSIX, Windows, UNC, `~`, or `file://`; not a part of a URL, and
not a single word after a backslash, as in LaTeX."""
_HOME = re.compile(rf"(?<![\w.])(?:file://|[A-Za-z]:)?[\\/](?:home|Users)[\\/]{_PART}")
"""The home folder of any user."""
_ROOTS = ("path", "folder")
"""The settings of a dataset below whose path its other paths may be."""
_LEAST_NAME = 3
"""The least number of letters of a user name that is replaced; a shorter one is in many words."""
_COMMON = frozenset({"root", "user", "admin", "ubuntu", "runner", "nobody", "docker"})
"""User names that say nothing about a person, and that other texts contain."""


def portable_text(text: str) -> str:
    """Return a text with absolute paths replaced by their last names, and user names by `USER`.

    Example:
        >>> portable_text("the file /home/ana/rings/ring.py (see https://example.org/a/b)")
        'the file ring.py (see https://example.org/a/b)'
    """
    text = _PATH.sub(lambda match: match["last"], _HOME.sub("~", text))
    for name in _user_names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "USER", text)
    return text


def portable(value: Any, *, only_paths: bool = False) -> Any:
    """Return a table of settings without absolute paths and user names.

    A text that is an absolute path becomes its last name, even if it has spaces. Paths below the
    path of a dataset stay below it, so that `rerooted` can move both.

    Arguments:
        value: a table, a list, or a setting.
        only_paths: change only texts that are a path as a whole, not those that contain one.

    Example:
        >>> portable({"name": "folder", "path": "/home/ana/my pictures"})
        {'name': 'folder', 'path': 'my pictures'}
    """
    if isinstance(value, Mapping):
        root = next((value[key] for key in _ROOTS if _is_absolute(value.get(key))), None)
        return {
            key: portable(_below(item, root), only_paths=only_paths) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(portable(item, only_paths=only_paths) for item in value)
    if not isinstance(value, str):
        return value
    text = _last_name(value) if _is_absolute(value) else value
    return text if only_paths else portable_text(text)


def portable_recipe(content: bytes) -> str:
    """Return the recipe of a run, also with its `[run]` table, without absolute paths.

    In settings of the model and the training, only whole paths are replaced, because another text,
    such as the alphabet of a text model, must stay as it is.

    Raises:
        SettingError: the content is not TOML.
    """
    table = parse(content, "its recipe.toml")
    sections = {
        name: portable(section, only_paths=name not in ("data", "run"))
        for name, section in table.items()
    }
    return dumps(sections)


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a recipe, which is the same on all machines.

    It does not depend on the facts about the run, the order of settings, or those that are None.

    Example:
        >>> recipe_digest({"model": {"name": "vae"}, "run": {"torch": "2.13"}})[:12]
        '730e0e53d76a'
    """
    sections = {key: table for key, table in recipe.items() if key != "run" and table}
    content = json.dumps(without_none(portable(sections, only_paths=True)), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _below(item: Any, root: str | None) -> Any:
    """Return a setting that is a path below a root as a path below the last name of the root."""
    if root is None or not isinstance(item, str):
        return item
    rest = item.removeprefix(root.rstrip("\\/"))
    is_below = len(rest) < len(item) and re.match(r"[\\/]+[^\\/]", rest)
    return _last_name(root) + rest if is_below else item


def _is_absolute(text: Any) -> bool:
    """Return whether a whole text is an absolute path, of this or another operating system."""
    if not isinstance(text, str) or "\n" in text:
        return False
    is_home = re.match(r"~[\w.-]*([\\/]|$)", text) is not None
    # an alphabet may begin with a slash, too
    is_rooted = text.startswith(("/", "file:///")) and text.count("/") > 1
    is_rooted = is_rooted or PureWindowsPath(text).is_absolute()
    return is_home or is_rooted


def _last_name(text: str) -> str:
    return re.split(r"[\\/]", _HOME.sub("~", text).rstrip("\\/"))[-1] or text


def _user_names() -> list[str]:
    """Return the names of the user of this machine, if they identify a person."""
    try:
        names = {getpass.getuser(), Path.home().name}
    except (KeyError, RuntimeError, OSError):  # no such user, as in some containers
        return []
    return sorted(
        name for name in names if len(name) >= _LEAST_NAME and name.lower() not in _COMMON
    )
