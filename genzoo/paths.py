"""Paths as people give them: with `~`, and refused in words where no file can have them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from genzoo.errors import GenzooError, SettingError, show

_IMPOSSIBLE = {errno.ENAMETOOLONG, errno.ELOOP}
"""What the system says of paths that nothing can be written to or read from."""


def local_path(path: Any, what: str, error: type[GenzooError] = SettingError) -> Path:
    """Return a path with `~` and `~user` replaced by the home folder.

    Arguments:
        path: a string or a path.
        what: the argument's name, for messages.
        error: the type of error that refuses it.

    Raises:
        GenzooError: it is neither a string nor a path, is empty, names a user that does not exist, or is one that the system
            takes for no file: it holds a NUL character, or a name in it is too long.

    Example:
        >>> local_path("~nosuchuser/runs", "out")
        Traceback (most recent call last):
        genzoo.errors.SettingError: out = "~nosuchuser/runs": there is no user of that name here; ...
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise error(f"{what} = {show(path)}: expected a path, as text or a pathlib.Path.")
    text = os.fspath(path)
    if not text:
        raise error(f'{what} = "": expected a path; the working folder is ".".')
    if "\0" in text:
        raise error(f"{what} = {show(text)}: a path cannot hold a NUL character; remove it.")
    try:
        result = Path(text).expanduser()
    except RuntimeError:
        way = f"for a name that begins with ~, write {show('./' + text)}"
        raise error(f"{what} = {show(text)}: there is no user of that name here; {way}.") from None
    try:
        result.stat()
    except OSError as reason:
        if reason.errno in _IMPOSSIBLE:
            raise error(f"{what} = {show(text)}: {reason.strerror}; take another path.") from None
    except ValueError as reason:  # such as a lone surrogate, which no file system encodes
        raise error(f"{what} = {show(text)}: {reason}; take another path.") from None
    return result
