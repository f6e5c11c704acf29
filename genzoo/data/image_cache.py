"""Keep the decoded images of a folder as one memory-mapped file, so that they are read once.

The data folder has one file for each folder of images and each way of reading it. The file is
written again when the image files change. A build that is interrupted continues where it stopped.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.data.cache import atomic_data, home, locked, remove_temporary, short_digest
from genzoo.data.image_reader import Reader, pixel_limit
from genzoo.errors import DataError
from genzoo.memory import format_bytes
from genzoo.progress import track

__all__ = ["Decoded", "content_digests", "decoded"]

_CHUNK = 256
"""The number of images that are decoded between two records of the progress."""
_NAMED = 10
"""The largest number of files to name in a message."""


@dataclass(frozen=True)
class Decoded:
    """The images of files."""

    images: Any
    """A memory-mapped array, uint8 `(N, *shape)`."""
    skipped: dict[int, str] = field(default_factory=dict)
    """The index of each file that was skipped -> the reason. The array has no row for it."""


def decoded(
    files: Sequence[Path],
    reader: Reader,
    root: Path,
    *,
    skip: bool = False,
    max_pixels: int | None = None,
) -> Decoded:
    """Return the images of files, in their order, from the data folder if possible.

    Arguments:
        files: the image files.
        reader: the way to read them.
        root: the folder that the files come from. The data folder has one array for each folder and
            reader.
        skip: skip files that cannot be read, instead of raising an error.
        max_pixels: the largest number of pixels of an image.

    Raises:
        DataError: images cannot be read (the message names all of them), all images are skipped, or
            the disk is full.
    """
    entry = _Entry(root, repr((reader, skip, max_pixels)))
    version = _version(files)
    images, skipped = entry.load(version, len(files), reader.shape)
    if images is None:
        with entry.lock():
            # another process may have written it meanwhile
            images, skipped = entry.load(version, len(files), reader.shape)
            if images is None:
                entry.sweep()
                with pixel_limit(max_pixels):
                    images, skipped = entry.build(version, files, reader, skip=skip)
    return Decoded(images, skipped)


def content_digests(files: Sequence[Path], root: Path) -> list[str]:
    """Return the BLAKE2b of the content of each file. Unchanged files are not read again.

    Arguments:
        files: the files.
        root: the folder that they come from.
    """
    entry = _Entry(root, "digests")
    known = entry.read_record()
    digests = {}
    for file in files:
        stat = file.stat()
        key = f"{file} {stat.st_size} {stat.st_mtime_ns}"
        digests[key] = known.get(key) or _digest(file)
    if digests != known:
        # a data folder that cannot be written costs only the time to read the files again
        with suppress(DataError), entry.lock():
            entry.write_record(digests)
    return list(digests.values())


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from error


def _version(files: Sequence[Path]) -> str:
    """Return a key for the current content of files in their order, from their sizes and times."""
    stats = [(str(file), file.stat()) for file in files]
    text = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


class _Entry:
    """The files of one array: `folder/NAME-KEY.npy`, and its record in `folder/index/`."""

    def __init__(self, root: Path, settings: str) -> None:
        real = os.path.realpath(root)
        self.family = f"{Path(real).name}-{short_digest(real)}"
        self.stem = f"{self.family}{short_digest(settings)}"
        folder = home() / "folder"
        self.array = folder / f"{self.stem}.npy"
        self.partial = folder / f".{self.stem}.partial"
        self.record = folder / "index" / f"{self.stem}.json"

    def lock(self) -> AbstractContextManager[None]:
        """Return a lock on the entry; other processes wait for it."""
        return locked(self.record.with_suffix(".lock"))

    def read_record(self) -> dict[str, Any]:
        """Return the record, or an empty table if it is missing or damaged."""
        try:
            table = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return table if isinstance(table, dict) else {}

    def write_record(self, table: dict[str, Any]) -> None:
        """Replace the record."""
        with atomic_data(self.record) as temporary:
            temporary.write_text(json.dumps(table), encoding="utf-8")

    def load(self, version: str, rows: int, shape: tuple[int, ...]) -> tuple[Any, dict[int, str]]:
        """Return the array and the skipped files of a version, or None if it is not whole."""
        record = self.read_record()
        if record.get("version") != version or "skipped" not in record:
            return None, {}
        skipped = {int(index): str(reason) for index, reason in record["skipped"].items()}
        try:
            images = np.load(self.array, mmap_mode="r")
        # The file is missing or cut short.
        except (OSError, ValueError, EOFError):
            return None, {}
        fits = images.shape == (rows - len(skipped), *shape) and images.dtype == np.uint8
        return (images, skipped) if fits else (None, {})

    def build(
        self, version: str, files: Sequence[Path], reader: Reader, *, skip: bool
    ) -> tuple[Any, dict[int, str]]:
        """Decode the files, and keep the array."""
        record = self.read_record()
        images, done, bad = None, 0, {}
        if record.get("version") == version and "bad" in record and self.partial.exists():
            with suppress(OSError, ValueError, EOFError):
                images = np.load(self.partial, mmap_mode="r+")
                done, bad = int(record["done"]), dict(record["bad"])
        shape = (len(files), *reader.shape)
        if images is None or images.shape != shape:
            done, bad = 0, {}
            # before the file: a record of other images must not describe it
            self.write_record({"version": version, "done": done, "bad": bad})
            images = self._allocate(self.partial, shape)
        numbered = [*enumerate(files)][done:]
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            chunks = [numbered[i : i + _CHUNK] for i in range(0, len(numbered), _CHUNK)]
            for chunk in track(chunks, f"reading {len(files):,} images", total=len(chunks)):
                results = threads.map(lambda item: _read(reader, item[1]), chunk)
                for (row, _), result in zip(chunk, results, strict=True):
                    if isinstance(result, str):
                        bad[str(row)] = result
                    else:
                        images[row] = result
                images.flush()
                done = chunk[-1][0] + 1
                self.write_record({"version": version, "done": done, "bad": bad})
        if bad and (not skip or len(bad) == len(files)):
            self.partial.unlink()
            raise DataError(_unreadable([*bad.values()], len(files)))
        if bad:
            self._remove_rows(images, {int(row) for row in bad})
        del images
        self.partial.replace(self.array)
        self.write_record({"version": version, "skipped": bad})
        return np.load(self.array, mmap_mode="r"), {int(row): text for row, text in bad.items()}

    def _allocate(self, path: Path, shape: tuple[int, ...]) -> Any:
        """Return a new array on disk, whose space is reserved.

        Writing to a mapped file without space would end the process.

        Raises:
            DataError: the disk has no room for it.
        """
        size = int(np.prod(shape))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(path.parent).free
            if free < size:
                raise DataError(
                    f"{self.array} needs {format_bytes(size)}, and the disk has "
                    f"{format_bytes(free)} free. Set GENZOO_DATA to a folder that can hold it."
                )
            images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
            if hasattr(os, "posix_fallocate"):
                with path.open("rb+") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise self._no_room(error) from error
        return images

    def _remove_rows(self, images: Any, rows: set[int]) -> None:
        """Replace the array on disk by one without some rows."""
        kept = [row for row in range(len(images)) if row not in rows]
        shorter = self.partial.with_suffix(".shorter")
        copy = self._allocate(shorter, (len(kept), *images.shape[1:]))
        for row, old in enumerate(kept):
            copy[row] = images[old]
        copy.flush()
        shorter.replace(self.partial)

    def sweep(self) -> None:
        """Remove what interrupted builds of this folder with other settings have left."""
        from filelock import FileLock, Timeout

        remove_temporary(self.record.parent, self.stem)
        for path in self.partial.parent.glob(f".{glob.escape(self.family)}*.partial"):
            if path == self.partial:
                continue
            lock = self.record.with_name(f"{path.name.removeprefix('.')}").with_suffix(".lock")
            with suppress(Timeout, OSError), FileLock(lock, timeout=0):
                path.unlink(missing_ok=True)

    def _no_room(self, error: Exception) -> DataError:
        return DataError(
            f"{self.array} could not be written: {error}. Set GENZOO_DATA to a folder that can "
            "hold it."
        )


def _read(reader: Reader, file: Path) -> Any:
    """Return the pixels of a file, or the reason for which it cannot be read."""
    try:
        return reader(file)
    except DataError as error:
        return str(error)


def _unreadable(reasons: Sequence[str], total: int) -> str:
    """Return a message about all files that cannot be read."""
    named = "\n".join(f"  {reason}" for reason in reasons[:_NAMED])
    more = len(reasons) - _NAMED
    rest = f"\n  and {more:,} more" if more > 0 else ""
    return (
        f"folder: {len(reasons):,} of {total:,} images cannot be read. Repair or remove them, or "
        f'set on_error = "skip":\n{named}{rest}'
    )
