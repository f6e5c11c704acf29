"""The content of the data folder: what genzoo has downloaded and computed, and its removal."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from genzoo.data.cache import home
from genzoo.errors import SettingError, did_you_mean
from genzoo.files import TEMPORARY_PREFIX

__all__ = ["CacheEntry", "cached", "clear_cache"]

_DOWNLOADS = {
    "cifar10": ("cifar-10-binary.tar.gz", "data_batch_?.bin", "test_batch.bin"),
    "cifar100": ("cifar-100-binary.tar.gz", "train.bin", "test.bin", "*_label_names.txt"),
    "emnist": ("gzip.zip", "emnist-*-ubyte.gz"),
    "fashion-mnist": ("*-ubyte.gz",),
    "kmnist": ("*-ubyte.gz",),
    "mnist": ("*-ubyte.gz",),
    "svhn": ("*_32x32.mat",),
}
"""Dataset -> the files that its download writes. All others are the user's."""
_KEY = 8
"""The number of letters that stand for the way of reading, at the end of the name of a file."""


@dataclass(frozen=True)
class CacheEntry:
    """A dataset in the data folder.

    Arguments:
        name: the name of a downloaded dataset; or `folder/NAME`, `shards/NAME`, or `arrow/NAME`,
            for what is kept of a folder of images, of tar shards, or of a Parquet file.
        size: the number of bytes.
        last_used: the time when a file was last written or, if the file system keeps this time,
            read.
    """

    name: str
    size: int
    last_used: datetime.datetime
    files: tuple[Path, ...] = field(default=(), repr=False)
    locks: tuple[Path, ...] = field(default=(), repr=False)


def cached() -> list[CacheEntry]:
    """Return the datasets in the data folder, `$GENZOO_DATA` or the user's cache, by name.

    Only what genzoo can download or compute again is listed.

    Example:
        >>> [entry.name for entry in cached() if entry.size > 10**12]
        []
    """
    groups: dict[str, list[Path]] = {}
    for name, patterns in _DOWNLOADS.items():
        for pattern in patterns:
            groups.setdefault(name, []).extend((home() / name).glob(pattern))
    for kind in ("folder", "shards", "arrow"):
        for file in _computed(home() / kind):
            groups.setdefault(f"{kind}/{_source(kind, file)}", []).append(file)
    entries = (_entry(name, files) for name, files in sorted(groups.items()))
    return [entry for entry in entries if entry.files]


def clear_cache(*names: str) -> list[CacheEntry]:
    """Remove datasets from the data folder; they are downloaded or computed again when needed.

    Runs that have opened a dataset keep it until they end. Datasets that are being written are not
    removed.

    Arguments:
        names: the names of entries of `cached`. Without names, all entries are removed.

    Returns:
        The entries that were removed.

    Raises:
        SettingError: the data folder has no entry of this name.

    Example:
        >>> clear_cache("nothing")
        Traceback (most recent call last):
        genzoo.errors.SettingError: the data folder ... has no 'nothing'...
    """
    entries = {entry.name: entry for entry in cached()}
    for name in names:
        if name not in entries:
            raise SettingError(
                f"the data folder {home()} has no {name!r}; see genzoo data list."
                + did_you_mean(name, entries)
            )
    chosen = [entry for name, entry in entries.items() if not names or name in names]
    return [entry for entry in chosen if _remove(entry)]


def _source(kind: str, file: Path) -> str:
    """Return the name of what a file was computed from."""
    stem = file.stem.removeprefix(".")
    if kind == "arrow":
        if file.suffix == ".lock":
            return stem
        # NAME-SIZE-TIME, or hashes of the images of several files
        return "digests" if file.suffix == ".npy" else stem.rsplit("-", 2)[0]
    if kind == "shards" and file.suffix == ".npy":
        # NAME-VERSION
        stem = stem.rpartition("-")[0]
    return stem[:-_KEY]


def _computed(folder: Path) -> Iterator[Path]:
    """Yield the arrays, records, and locks of a folder, and interrupted builds.

    Temporary files are left out: a process may be writing them.
    """
    for place in (folder, folder / "index"):
        for pattern in ("*.npy", "*.arrow", ".*.partial", "*.json", "*.lock"):
            for file in place.glob(pattern):
                if not file.name.startswith(TEMPORARY_PREFIX):
                    yield file


def _entry(name: str, files: list[Path]) -> CacheEntry:
    content = tuple(file for file in files if file.suffix != ".lock" and file.is_file())
    stats = [file.stat() for file in content]
    used = max((max(stat.st_atime, stat.st_mtime) for stat in stats), default=0.0)
    return CacheEntry(
        name,
        sum(stat.st_size for stat in stats),
        datetime.datetime.fromtimestamp(used, datetime.UTC),
        content,
        tuple(file for file in files if file.suffix == ".lock"),
    )


def _remove(entry: CacheEntry) -> bool:
    """Remove the files of an entry; return False if a process is writing it."""
    from filelock import FileLock, Timeout

    with ExitStack() as locks:
        try:
            for lock in entry.locks:
                locks.enter_context(FileLock(lock, timeout=0))
            for file in entry.files:
                file.unlink(missing_ok=True)
        # Windows keeps files that a process has opened
        except (Timeout, PermissionError):
            return False
    return True
