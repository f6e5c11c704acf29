"""Read which git revision a folder is at, without running git.

git runs programs that a repository's settings name (`remote.origin.uploadpack`, `core.fsmonitor`), even to describe a
revision. Training must not run code just because it was started in somebody's repository, so this module reads the few
files that hold the answer. Only text with the form of a hash or of a reference's name is ever used.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""SHA-1 or SHA-256."""
_REFERENCE = re.compile(r"ref: (refs/[^\x00-\x20\x7f~^:?*\[\\]+)")
_FOLDER = re.compile(r"[^\x00-\x1f\x7f]+")
_SMALL, _PACKED = 4096, 1 << 26
"""Largest sizes in bytes that are read, of one reference and of all packed ones."""
_DEPTH = 5
"""Symbolic references that are followed, as git does."""


def revision(folder: str | Path = ".") -> str | None:
    """Return the hash of the commit that is checked out in a folder, or None where none can be read.

    Arguments:
        folder: the working folder; its parents are searched for a repository too.

    Example:
        >>> revision("/")
    """
    try:
        start = Path(folder).resolve()
        git = next(
            (path / ".git" for path in (start, *start.parents) if os.path.lexists(path / ".git")),
            None,
        )
        return None if git is None else _head(_repository(git))
    except (
        OSError,
        ValueError,
        RuntimeError,
    ):  # unreadable, a null byte in a path, a loop of links
        return None


def _repository(git: Path) -> Path:
    """Return the folder of a repository: `.git`, or the one that a worktree's or submodule's `.git` names."""
    return git if git.is_dir() else git.parent / _line(git, "gitdir: ")


def _head(repository: Path) -> str | None:
    common = (
        repository / _line(repository / "commondir")
        if (repository / "commondir").exists()
        else repository
    )
    text = _read(repository / "HEAD")
    for _ in range(_DEPTH):
        text = text.strip()
        if _HASH.fullmatch(text):
            return text
        reference = _REFERENCE.fullmatch(text)
        if reference is None or not _is_proper(reference[1]):
            return None
        text = _reference(common, repository, reference[1])
    return None


def _reference(common: Path, repository: Path, name: str) -> str:
    """Return what a reference holds: its own file's text, or its hash among the packed references."""
    for folder in (repository, common):
        path = folder / name
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            return _read(path)
    packed = common / "packed-refs"
    if not packed.exists():
        return ""
    lines = (line.split(" ") for line in _read(packed, _PACKED).splitlines())
    return next((words[0] for words in lines if len(words) == 2 and words[1] == name), "")


def _is_proper(name: str) -> bool:
    """Return whether a reference's name stays below its repository."""
    return all(part and not part.startswith(".") and ".." not in part for part in name.split("/"))


def _line(path: Path, prefix: str = "") -> str:
    """Return the folder that a file of one line names.

    Raises:
        ValueError: the file says anything else.
    """
    text = _read(path).rstrip("\r\n")
    if not text.startswith(prefix) or not _FOLDER.fullmatch(text.removeprefix(prefix)):
        raise ValueError(f"{path} names no folder.")
    return text.removeprefix(prefix)


def _read(path: Path, limit: int = _SMALL) -> str:
    """Return the text of a regular file of at most `limit` bytes.

    Raises:
        ValueError: it is a link, a pipe, a device, larger, or not UTF-8.
    """
    flags = (
        os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    )  # a pipe must not be waited for
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} is not a regular file.")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path} has more than {limit} bytes.")
    return content.decode()
