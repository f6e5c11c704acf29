"""Read paths as people type them, and write files so that readers only see complete files."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from genzoo.errors import GenzooError, RunError, SettingError, show

__all__ = ["TEMPORARY_PREFIX", "atomic", "local_path", "write_atomic", "write_text"]

_IMPOSSIBLE = {errno.ENAMETOOLONG, errno.ELOOP}
"""The errors of the operating system for paths at which no file can exist."""


def local_path(path: Any, what: str, error: type[GenzooError] = SettingError) -> Path:
    """Return a path with `~` and `~user` replaced by the home folder.

    Arguments:
        path: a string or a path.
        what: the name of the argument, for messages.
        error: the type of error to raise.

    Raises:
        GenzooError: the value is not a string or path, is empty, names a user that does not exist,
            or cannot be the path of a file (a NUL character, or a name that is too long).

    Example:
        >>> local_path("~nosuchuser/runs", "out")
        Traceback (most recent call last):
        genzoo.errors.SettingError: out = "~nosuchuser/runs": there is no user of that name ...
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise error(f"{what} = {show(path)}: expected a path, as text or a pathlib.Path.")
    text = os.fspath(path)
    if not text:
        raise error(f'{what} = "": expected a path; the working folder is ".".')
    if "\0" in text:
        raise error(f"{what} = {show(text)}: a path cannot hold a NUL character; remove it.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise error(
            f"{what} = {show(text)}: the name is not UTF-8, so a recipe cannot hold it; rename "
            "the file or folder."
        ) from None
    try:
        result = Path(text).expanduser()
    except RuntimeError:
        hint = f"for a name that begins with ~, write {show('./' + text)}"
        raise error(f"{what} = {show(text)}: there is no user of that name here; {hint}.") from None
    try:
        result.stat()
    except OSError as reason:
        if reason.errno in _IMPOSSIBLE:
            raise error(f"{what} = {show(text)}: {reason.strerror}; take another path.") from None
    except ValueError as reason:  # such as a lone surrogate, which no file system encodes
        raise error(f"{what} = {show(text)}: {reason}; take another path.") from None
    return result


TEMPORARY_PREFIX = ".genzoo-"
"""The beginning of the names of files that are not complete yet."""


@contextlib.contextmanager
def atomic(
    path: Path,
    error: type[GenzooError] = RunError,
    hint: str = "The previous file is unchanged.",
) -> Iterator[Path]:
    """Yield a temporary file in the folder of `path`, and move it to `path` if the block succeeds.

    A reader sees either the old file or the new one. If the block fails, the old file stays and the
    temporary file is removed.

    Arguments:
        path: the file to write; missing folders are created.
        error: the type of error to raise if writing fails.
        hint: advice that is appended to the message.

    Raises:
        GenzooError: the disk is full, or the folder is not writable.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=TEMPORARY_PREFIX, suffix=f".{path.name}", dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            # the content reaches the disk before the name does
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
        _sync_folder(path.parent)
    # torch reports a failed write as a RuntimeError
    except (OSError, RuntimeError) as reason:
        raise error(f"{path} could not be written: {reason}. {hint}") from reason
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Call `write` with a temporary file, then move that file to `path`; see `atomic`.

    Raises:
        RunError: the disk is full, or the folder is not writable.
    """
    with atomic(path) as temporary:
        write(temporary)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 like `write_atomic`.

    Raises:
        RunError: the disk is full, or the folder is not writable.
    """
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# read once, at import: reading the mask means setting it, which is not safe among threads
_UMASK = _read_umask()


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems do not support this
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
