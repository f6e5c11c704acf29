"""Index tar shards in the layout of WebDataset: where each example is, and its label.

The data folder has one index for each set of shards. Shards that have not changed are not read
again, and an interrupted index continues with the next shard.
"""

from __future__ import annotations

import glob
import hashlib
import json
import tarfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from genzoo.data.cache import atomic_data, home, locked, remove_temporary, short_digest
from genzoo.data.image_files import SUFFIXES
from genzoo.data.image_reader import EncodedImage
from genzoo.errors import DataError, show
from genzoo.progress import track

__all__ = ["NO_LABEL", "TarIndex", "index_shards", "read_at"]

NO_LABEL = -1
"""The label of an example that has none."""
_ROW = np.dtype(
    [("shard", "<i4"), ("label", "<i4"), ("offset", "<i8"), ("size", "<i8"), ("digest", "<u8")]
)
"""An example: its shard, its label, the position and size of its image, and a hash of it.

If images were checked, the size of one that cannot be read is -1 - size.
"""

Readable = Callable[[EncodedImage], bool]
"""A function that says whether an image can be read. Its `repr` identifies it."""


@dataclass(frozen=True)
class TarIndex:
    """The examples of tar shards."""

    rows: Any
    """A memory-mapped array with one record for each example, in the order of the shards."""
    labels: list[str]
    """The labels that occur; records hold positions in this list."""


def index_shards(
    root: Path,
    shards: Sequence[Path],
    labels: str | None,
    image: str | None,
    readable: Readable | None = None,
) -> TarIndex:
    """Return the index of shards, from the data folder if they have not changed.

    Arguments:
        root: the folder or pattern that the shards come from. It has one index for each way of
            reading it.
        shards: the tar files.
        labels: where labels are: an extension such as `"cls"`, `"json:KEY"`, `"auto"`, or None.
        image: the extension of the images, or None for any.
        readable: checks each image while it is indexed; None for no check.

    Raises:
        DataError: a shard is not an uncompressed tar file, is cut short, or has examples with
            several images, an unreadable label, or files that are not next to each other.
    """
    way = (labels, image, readable)
    settings = short_digest(repr(way))
    folder = shards[0].resolve().parent.name
    stem = f"{folder}-{short_digest(str(root.resolve()))}{settings}"
    entry = _Entry(home() / "shards", stem)
    facts = [_facts(shard) for shard in shards]
    index = entry.load(facts)
    if index is None:
        with locked(entry.record.with_suffix(".lock")):
            # another process may have written it meanwhile
            index = entry.load(facts) or entry.build(shards, facts, *way)
    return index


def read_at(file: BinaryIO, size: int, offset: int) -> bytes:
    """Read bytes at a position of a file."""
    file.seek(offset)
    return file.read(size)


def _facts(shard: Path) -> list[Any]:
    stat = shard.stat()
    return [str(shard.resolve()), stat.st_size, stat.st_mtime_ns]


class _Entry:
    """The files of one index: `shards/NAME-VERSION.npy`, and the record `shards/NAME.json`."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder, self.stem = folder, stem
        self.record = folder / f"{stem}.json"

    def load(self, facts: list[list[Any]]) -> TarIndex | None:
        """Return the index if it is whole and that of the shards as they are now."""
        record = self._read()
        if record is None or [entry[:3] for entry in record["shards"]] != facts:
            return None
        rows = self._rows(record)
        return None if rows is None else TarIndex(rows, record["labels"])

    def build(
        self,
        shards: Sequence[Path],
        facts: list[list[Any]],
        labels: str | None,
        image: str | None,
        readable: Readable | None,
    ) -> TarIndex:
        """Read the shards that are new or have changed, and keep the index."""
        remove_temporary(self.folder, self.stem)
        old = self._read()
        rows = None if old is None else self._rows(old)
        known, begin = {}, 0
        if old is not None and rows is not None:
            for *shard, count in old["shards"]:
                known[tuple(shard)] = rows[begin : begin + count]
                begin += count
        names = {} if rows is None or old is None else {t: i for i, t in enumerate(old["labels"])}
        parts: list[Any] = []
        try:
            for shard in track(shards, f"indexing {len(shards):,} shards", total=len(shards)):
                part = known.get(tuple(facts[len(parts)]))
                if part is None:
                    part = _index_shard(shard, labels, image, readable, names)
                part = np.array(part, dtype=_ROW)
                part["shard"] = len(parts)
                parts.append(part)
        except BaseException:
            with suppress(DataError):
                self._write(facts, parts, [*names])
            raise
        self._write(facts, parts, [*names])
        index = self.load(facts)
        assert index is not None
        return index

    def _read(self) -> dict[str, Any] | None:
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            return record if {"shards", "labels", "array"} <= set(record) else None
        except (OSError, ValueError, TypeError):
            return None

    def _rows(self, record: dict[str, Any]) -> Any:
        """Return the memory-mapped records, or None if the file is missing or damaged."""
        with suppress(OSError, ValueError, EOFError):
            rows = np.load(self.folder / record["array"], mmap_mode="r")
            if rows.dtype == _ROW and len(rows) == sum(entry[3] for entry in record["shards"]):
                return rows
        return None

    def _write(self, facts: list[list[Any]], parts: list[Any], labels: list[str]) -> None:
        """Replace the index by that of the first shards."""
        entries = [[*fact, len(part)] for fact, part in zip(facts, parts, strict=False)]
        rows = np.concatenate([np.empty(0, _ROW), *parts])
        # labels that no longer occur are left out; the others are numbered as in a new index
        codes, first = np.unique(rows["label"], return_index=True)
        order = [code for code in codes[np.argsort(first)].tolist() if code != NO_LABEL]
        number_of = np.full(len(labels) + 1, NO_LABEL)  # NO_LABEL, -1, is the last position
        number_of[order] = np.arange(len(order))
        rows["label"] = number_of[rows["label"]]
        record: dict[str, Any] = {"shards": entries, "labels": [labels[code] for code in order]}
        record["array"] = f"{self.stem}-{short_digest(json.dumps(record))}.npy"
        with atomic_data(self.folder / record["array"]) as temporary, temporary.open("wb") as file:
            np.save(file, rows)
        with atomic_data(self.record) as temporary:
            temporary.write_text(json.dumps(record), encoding="utf-8")
        for path in self.folder.glob(f"{glob.escape(self.stem)}-*.npy"):
            if path.name != record["array"]:
                path.unlink(missing_ok=True)


def _index_shard(
    shard: Path,
    labels: str | None,
    image: str | None,
    readable: Readable | None,
    names: dict[str, int],
) -> list[tuple[int, ...]]:
    """Return the examples of a shard, and add labels to `names`.

    Raises:
        DataError: the files of an example are not next to each other.
    """
    rows: list[tuple[int, ...]] = []
    keys: set[str] = set()
    without_image = 0
    with _open_tar(shard) as (members, content):
        for key, group in groupby(members, key=lambda member: _key(member.name)):
            if key in keys:
                raise DataError(
                    f"shards: the files of example {key} are not next to each other in {shard}; "
                    "sort the files by name, as with: tar --sort=name -cf SHARD FOLDER."
                )
            keys.add(key)
            files = {_extension(member.name): member for member in group}
            member = _image(shard, key, files, image)
            if member is None:
                without_image += 1
                continue
            text = _label(shard, key, files, labels, content)
            label = NO_LABEL if text is None else names.setdefault(text, len(names))
            data = read_at(content, member.size, member.offset_data)
            digest = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())
            ok = readable is None or readable(EncodedImage(data, f"{shard}, {member.name}"))
            size = member.size if ok else -1 - member.size
            rows.append((0, label, member.offset_data, size, digest))
    if without_image:
        warnings.warn(
            f"shards: {shard} has {without_image:,} examples without an image, which are skipped.",
            stacklevel=2,
        )
    return rows


@contextmanager
def _open_tar(shard: Path) -> Iterator[tuple[Iterator[tarfile.TarInfo], BinaryIO]]:
    """Open a shard: its regular files, whose data are whole, and its content.

    Raises:
        DataError: it is not an uncompressed tar file, or it is cut short.
    """
    size = shard.stat().st_size

    def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for member in tar:
            # otherwise, the list grows with the shard
            tar.members = []  # type: ignore[attr-defined]
            if member.offset_data + member.size > size:
                raise tarfile.ReadError("it is cut short")
            if member.isreg() and not Path(member.name).name.startswith("."):
                yield member

    try:
        with tarfile.open(shard, "r:") as tar, shard.open("rb") as content:
            yield members(tar), content
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(
            f"shards: {shard} cannot be read as an uncompressed tar file ({error}); unpack a "
            "compressed one, as with gunzip, and copy a damaged one again."
        ) from error


def _key(name: str) -> str:
    """Return the part of a path that the files of an example share."""
    path = Path(name)
    return str(path.with_name(path.name.partition(".")[0]))


def _extension(name: str) -> str:
    return Path(name).name.partition(".")[2].lower()


def _image(
    shard: Path, key: str, files: Mapping[str, tarfile.TarInfo], image: str | None
) -> tarfile.TarInfo | None:
    """Return the image of an example, or None.

    Raises:
        DataError: the example has several.
    """
    if image is not None:
        return files.get(image.lower().removeprefix("."))
    images = [name for name in files if f".{name.rpartition('.')[2]}" in SUFFIXES]
    if len(images) > 1:
        raise DataError(
            f"shards: example {key} of {shard} has {len(images)} images ({', '.join(images)}); "
            f'choose one, as in image = "{images[0]}".'
        )
    return files[images[0]] if images else None


def _label(
    shard: Path,
    key: str,
    files: Mapping[str, tarfile.TarInfo],
    labels: str | None,
    content: BinaryIO,
) -> str | None:
    """Return the label of an example as text.

    Raises:
        DataError: the example has no such label, or it cannot be read.
    """
    if labels is None:
        return None
    source, _, field = labels.partition(":")
    if labels == "auto":
        source, field = ("cls", "") if "cls" in files else ("json", "label")
    member = files.get(source)
    text: Any = None
    if member is not None:
        try:
            text = read_at(content, member.size, member.offset_data).decode("utf-8-sig").strip()
            if field:
                table = json.loads(text)
                text = table.get(field) if isinstance(table, dict) else None
        except ValueError as error:
            raise DataError(
                f"shards: {member.name} in {shard} cannot be read ({error}); repair it, or set "
                "labels to another source, or to None."
            ) from error
    if isinstance(text, float) and text.is_integer():
        text = int(text)
    if isinstance(text, str | int) and not isinstance(text, bool) and text != "":
        return str(text)
    if text not in (None, ""):
        raise DataError(
            f"shards: the label of example {key} of {shard} is {show(text)}; expected text or a "
            "whole number. Set labels to another source, or to None."
        )
    if labels == "auto":
        return None
    raise DataError(
        f"shards: example {key} of {shard} has no label {labels!r}; its files are "
        f"{', '.join(files)}. Set labels to its extension, to json:KEY, or to None."
    )
