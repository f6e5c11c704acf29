"""Read the git revision of a folder without running git.

Even to describe a revision, git runs programs that a repository's settings name, such as
`remote.origin.uploadpack` and `core.fsmonitor`. Training must not run code just because it was
started in someone's repository, so this module reads the few files that hold the hash. It uses
only text that has the form of a hash or of a reference name.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

__all__ = ["revision"]

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""A SHA-1 or SHA-256 hash."""
_REFERENCE = re.compile(r"ref: (refs/[^\x00-\x20\x7f~^:?*\[\\]+)")
_FOLDER = re.compile(r"[^\x00-\x1f\x7f]+")
_SMALL, _PACKED = 4096, 1 << 26
"""The maximum sizes in bytes of a small file and of the file of packed references."""
_DEPTH = 5
"""The maximum length of a chain of symbolic references, as in git."""


def revision(folder: str | Path = ".") -> str | None:
    """Return the hash of the commit checked out in a folder, or None if it cannot be read.

    Arguments:
        folder: a folder in the working tree. Its parents are searched for the repository too.

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
    # a file cannot be read, a path contains a null byte, or links form a loop
    except (OSError, ValueError, RuntimeError):
        return None


def _repository(git: Path) -> Path:
    """Return the folder of a repository.

    It is `.git` itself, or the folder that the file `.git` of a worktree or submodule names.
    """
    return git if git.is_dir() else git.parent / _line(git, "gitdir: ")


def _head(repository: Path) -> str | None:
    common = repository
    if (repository / "commondir").exists():
        common = repository / _line(repository / "commondir")
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
    """Return the content of a reference: the text of its file, or its packed hash."""
    for folder in (repository, common):
        path = folder / name
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            return _read(path)
    packed = common / "packed-refs"
    if not packed.exists():
        return ""
    for line in _read(packed, _PACKED).splitlines():
        fields = line.split(" ")
        if len(fields) == 2 and fields[1] == name:
            return fields[0]
    return ""


def _is_proper(name: str) -> bool:
    """Return whether a reference name stays inside its repository."""
    return all(part and not part.startswith(".") and ".." not in part for part in name.split("/"))


def _line(path: Path, prefix: str = "") -> str:
    """Return the folder that is named in a one-line file.

    Raises:
        ValueError: the file has other content.
    """
    text = _read(path).rstrip("\r\n")
    if not text.startswith(prefix) or not _FOLDER.fullmatch(text.removeprefix(prefix)):
        raise ValueError(f"{path} does not name a folder.")
    return text.removeprefix(prefix)


def _read(path: Path, limit: int = _SMALL) -> str:
    """Return the text of a regular file of at most `limit` bytes.

    Raises:
        ValueError: the file is a link, a pipe, a device, too large, or not UTF-8.
    """
    # with O_NONBLOCK, opening a pipe does not wait for a writer
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} is not a regular file.")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path} has more than {limit} bytes.")
    return content.decode()
