"""Where data is kept on this machine, and how it gets there: whole and checked, or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genzoo.errors import DataError


def home() -> Path:
    """The folder for data: `$GENZOO_DATA`, else the user's cache."""
    import pooch

    given = os.environ.get("GENZOO_DATA")
    return Path(given).expanduser() if given else Path(pooch.os_cache("genzoo"))


def fetch(url: str, md5: str, path: Path) -> None:
    """Download a file to `path`, unless it is there already with the right hash.

    Raises:
        DataError: no connection, another hash, no space; nothing is left at `path` then.
    """
    import pooch

    try:
        pooch.retrieve(url, f"md5:{md5}", fname=path.name, path=path.parent)
    except (OSError, ValueError) as error:  # every error of `requests` is an OSError; another hash is a ValueError
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"{url} cannot be downloaded to {path.parent}: {reason}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and is removed when it does not.

    Raises:
        DataError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())  # the content reaches the disk before the name does
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error}); set GENZOO_DATA to a folder that can hold it.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
