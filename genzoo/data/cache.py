"""The data folder of this machine: downloads, atomic writes, and compressed files."""

from __future__ import annotations

import bz2
import glob
import gzip
import hashlib
import lzma
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from genzoo.errors import DataError, MissingDataError
from genzoo.files import TEMPORARY_PREFIX, atomic, local_path
from genzoo.memory import format_bytes, free_memory

__all__ = [
    "atomic_data",
    "fetch",
    "home",
    "locked",
    "read_at_most",
    "remove_temporary",
    "short_digest",
    "unpacked",
]

_COMPRESSED: tuple[tuple[bytes, Callable[[BinaryIO], Any]], ...] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)
"""The first bytes of compressed files, and the classes that read them."""
_PIECE = 1 << 20
"""The number of bytes to read at once."""


def home() -> Path:
    """Return the data folder: `$GENZOO_DATA`, or the user's cache if it is not set."""
    import pooch

    folder = os.environ.get("GENZOO_DATA")
    if folder:
        return local_path(folder, "GENZOO_DATA", DataError)
    return Path(pooch.os_cache("genzoo"))


def fetch(url: str, digest: str, path: Path) -> None:
    """Download a file to `path`, unless `path` exists and has the right digest.

    Arguments:
        url: the address of the file.
        digest: its SHA-256, or the digest that its authors have published, as in `"md5:..."`.
        path: the path of the file on this machine.

    Raises:
        MissingDataError: there is no connection, the file has another hash, or the disk is full.
            In these cases, nothing is left at `path`.
    """
    import pooch

    try:
        known = digest if ":" in digest else f"sha256:{digest}"
        pooch.retrieve(url, known, fname=path.name, path=path.parent)
    # Every error of `requests` is an OSError, and another hash is a ValueError.
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise MissingDataError(f"{url} cannot be downloaded to {path.parent}: {reason}") from error


def atomic_data(path: Path) -> AbstractContextManager[Path]:
    """Return `files.atomic` for a file of the data folder.

    Raises:
        DataError: the disk is full, or the folder is not writable.
    """
    return atomic(path, DataError, "Set GENZOO_DATA to a folder that can hold it.")


def remove_temporary(folder: Path, stem: str) -> None:
    """Remove the temporary files that killed processes have left; call it with the lock held.

    Arguments:
        folder: the folder of the files that were being written.
        stem: the beginning of their names.
    """
    for path in folder.glob(f"{TEMPORARY_PREFIX}*.{glob.escape(stem)}*"):
        path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file of the data folder; other processes wait for it.

    Arguments:
        path: the file of the lock.

    Raises:
        DataError: the data folder cannot be written.
    """
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # other users of a shared data folder need the file, too
        lock = FileLock(path, mode=0o666)
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"{path.parent} could not be written: {error.strerror}. Set GENZOO_DATA to a folder "
            "that can hold the data."
        ) from error
    try:
        yield
    finally:
        lock.release()


def short_digest(text: str) -> str:
    """Return eight letters that identify a text, such as a path, in names of files."""
    encoded = text.encode(errors="surrogateescape")
    return hashlib.blake2b(encoded, digest_size=4).hexdigest()


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, and decompress it if it is a gzip, bzip2, or xz file."""
    with path.open("rb") as file:
        begin = file.read(6)
        file.seek(0)
        opened = next((read for mark, read in _COMPRESSED if begin.startswith(mark)), None)
        if opened is None:
            yield file
            return
        with opened(file) as content:
            yield cast(BinaryIO, content)


def read_at_most(file: BinaryIO, count: int, name: Path) -> bytearray:
    """Read up to `count` bytes, in pieces, and stop before the memory is full.

    A small compressed file can hold more than the memory.

    Arguments:
        file: an open file, for example from `unpacked`.
        count: the largest number of bytes to read.
        name: the name of the file in error messages.

    Raises:
        DataError: the content needs more memory than is free.
    """
    free = free_memory(torch.device("cpu"))
    content = bytearray()
    while len(content) < count and (piece := file.read(min(_PIECE, count - len(content)))):
        content += piece
        # The arrays that are built from the content need memory, too.
        if free is not None and len(content) > free // 2:
            raise DataError(
                f"{name} holds more than {format_bytes(len(content))}, and {format_bytes(free)} of "
                "memory are free; unpack it and use a part of it."
            )
    return content
