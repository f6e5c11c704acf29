"""Where data is kept on this machine, how it gets there (whole and checked, or not at all), and how it is unpacked."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import torch

from genzoo.errors import DataError, MissingDataError
from genzoo.files import atomic, local_path
from genzoo.memory import format_bytes, free_memory

__all__ = ["atomic_data", "fetch", "home", "read_at_most", "unpacked"]

_PIECE = 1 << 20


def home() -> Path:
    """The folder for data: `$GENZOO_DATA`, else the user's cache."""
    import pooch

    given = os.environ.get("GENZOO_DATA")
    return local_path(given, "GENZOO_DATA", DataError) if given else Path(pooch.os_cache("genzoo"))


def fetch(url: str, sha256: str, path: Path) -> None:
    """Download a file to `path`, unless it is there already with the right SHA-256.

    Raises:
        MissingDataError: no connection, another hash, no space; nothing is left at `path` then.
    """
    import pooch

    try:
        pooch.retrieve(url, f"sha256:{sha256}", fname=path.name, path=path.parent)
    except (
        OSError,
        ValueError,
    ) as error:  # every error of `requests` is an OSError; another hash is a ValueError
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise MissingDataError(f"{url} cannot be downloaded to {path.parent}: {reason}") from error


def atomic_data(path: Path) -> AbstractContextManager[Path]:
    """Return `files.atomic` for a file of the data folder.

    Raises:
        DataError: the disk is full, or the folder is not writable.
    """
    return atomic(path, DataError, "Set GENZOO_DATA to a folder that can hold it.")


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read, through gzip if that is what it holds."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as content:
            yield cast(BinaryIO, content)


def read_at_most(file: BinaryIO, count: int, name: Path) -> bytearray:
    """Read up to `count` bytes, piece by piece: a small compressed file can hold more than the memory.

    Arguments:
        file: what is read, such as from `unpacked`.
        count: how many bytes.
        name: what the message calls the file.

    Raises:
        DataError: the content takes more memory than is free.
    """
    room = free_memory(torch.device("cpu"))
    content = bytearray()
    while len(content) < count and (piece := file.read(min(_PIECE, count - len(content)))):
        content += piece
        if room is not None and len(content) > room // 2:  # what is made of it needs memory, too
            raise DataError(
                f"{name} holds more than {format_bytes(len(content))}, and {format_bytes(room)} of memory are free; "
                "unpack it and use a part of it."
            )
    return content
