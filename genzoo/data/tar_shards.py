"""Tar shards of images in the layout of WebDataset, read by offset."""

from __future__ import annotations

import glob
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from genzoo.contract import Count, LocalPath
from genzoo.contract.dataset import Augmentation, Dataset
from genzoo.data.encoded_images import EncodedImages
from genzoo.data.image_files import warn_of_skipped
from genzoo.data.image_reader import EncodedImage, Fit, Reader, image_shape, pixel_limit
from genzoo.data.labels import class_column
from genzoo.data.splits import content_splits, named_splits, select
from genzoo.data.tar_index import NO_LABEL, index_shards, read_at
from genzoo.errors import DataError, MissingDataError
from genzoo.files import local_path

__all__ = ["TarFiles", "shards"]

_OPEN_FILES = 256
"""The largest number of shards that a process keeps open."""
_HEADER = 512
"""The number of bytes of the header of a file in a tar file."""


def shards(
    path: LocalPath,
    *,
    size: Count | tuple[Count, Count] = 64,
    channels: Literal[1, 3, 4] = 3,
    fit: Fit = "crop",
    splits: Literal["auto", "names", "content"] = "auto",
    labels: str | None = "auto",
    image: str | None = None,
    test_fraction: Annotated[float, Ge(0), Lt(1)] = 0.1,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    value_range: tuple[float, float] | None = None,
    max_pixels: Annotated[int, Gt(0)] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    binarize: Literal["threshold", "stochastic"] | None = None,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return the images of tar shards, at one size: column `x`, uint8 `(N, channels, H, W)`.

    A shard is an uncompressed tar file in the layout of WebDataset: the files of an example are
    next to each other and have the same name up to the first dot, as in `0001.png` and `0001.cls`.
    Images are read as by `folder`, when they are needed. The shards are indexed once: the index,
    about 32 bytes for each example, is kept in `$GENZOO_DATA`, or in the user's cache, and a shard
    is read again when its size or time changes. Each process opens the shards that it reads from.

    If some shards are named `train-0000.tar` and others `test-0000.tar` or `val-0000.tar`, or are
    in folders of these names, these are the splits. Otherwise, the content of an image decides
    whether it is held out, as in `folder`.

    Arguments:
        path: a folder with files `*.tar`, a tar file, or a pattern such as
            `pictures-{0000..0009}.tar`, `pictures-*.tar`, or `pictures-[0-4]?.tar`.
        size: the number of pixels: (height, width), or one number for both.
        channels: 1 for gray, 3 for color, or 4 for color with transparency.
        fit: as in `folder`.
        splits: `"names"` or `"content"` decides which images are held out. `"auto"` looks for
            names.
        labels: the extension of the files with labels, such as `"cls"`; `"json:KEY"` for an entry
            of JSON files; or None for no labels. `"auto"` takes cls files, or the entry `label` of
            JSON files, if there are any. The column `y` has the index of the label among the
            sorted labels, which are `metadata["class_names"]`.
        image: the extension of the images, if examples have several.
        test_fraction: the fraction to hold out, on average, if the content decides.
        seed: the seed of the choice of images that are held out.
        value_range: as in `folder`.
        max_pixels: as in `folder`.
        on_error: `"raise"` an error when an image is read that cannot be read, or `"skip"` such
            images with a warning; a run lists them. To find them, the index decodes all images.
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.
        augment: as in `Dataset`.

    Raises:
        MissingDataError: there are no shards.
        DataError: a shard cannot be read, a label is missing, or the disk is full.
        SettingError: the names of the shards have no splits, and `splits` asks for them.

    Example:
        >>> shards("photos", size=64).shape  # doctest: +SKIP
        (3, 64, 64)
        >>> shards("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: shards: ...nowhere has no files *.tar.
    """
    root = local_path(path, "shards: path", DataError)
    files = _find_shards(root)
    reader = Reader(image_shape(size, channels), fit=fit, value_range=value_range)
    readable = _Readable(reader, max_pixels) if on_error == "skip" else None
    index = index_shards(root, files, labels, image, readable)
    rows, skipped = _without_unreadable(index.rows, files)
    if not len(rows):
        bad = f" that can be read; {len(skipped):,} are damaged" if skipped else ""
        raise MissingDataError(f"shards: the {len(files):,} shards of {root} have no images{bad}.")
    numbers = named_splits("shards", root, files, np.array(rows["shard"]), splits)
    if numbers is None:
        numbers = content_splits(rows["digest"], test_fraction, seed)
    columns: dict[str, Any] = {"x": EncodedImages(TarFiles(files, rows), reader, max_pixels)}
    metadata = {}
    if index.labels:
        codes = np.array(rows["label"])
        _check_labels(codes, files, rows)
        columns["y"], metadata["class_names"] = class_column(codes, index.labels)
    parts: dict[str, Any] = select(columns, numbers)
    if "train" not in parts:
        raise DataError(
            f"shards: all {len(rows):,} images of {root} are held out; add images, or lower "
            f"test_fraction = {test_fraction:g}."
        )
    return Dataset(
        **parts,
        binarize=binarize,
        dequantize=dequantize,
        augment=augment,
        metadata=metadata,
        skipped=skipped,
        name=str(path),
    )


class TarFiles:
    """Encoded images in tar files, each read by its offset.

    Arguments:
        paths: the tar files.
        rows: the records of a `TarIndex`.
    """

    def __init__(self, paths: Sequence[Path], rows: Any) -> None:
        self.paths, self.rows = tuple(paths), rows
        self._process: int | None = None
        self._files: OrderedDict[int, BinaryIO] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_process": None, "_files": OrderedDict()}

    def __len__(self) -> int:
        return len(self.rows)

    def mean_size(self) -> float:
        """Return the mean number of bytes of an image, from at most 10,000 of them."""
        return float(self.rows["size"][:: max(1, len(self.rows) // 10_000)].mean())

    def image(self, row: int) -> EncodedImage:
        """Return the content of an image.

        Raises:
            DataError: the shard has changed or cannot be read.
        """
        shard, _, offset, size, _ = self.rows[row].item()
        path = self.paths[shard]
        try:
            file = self._open(shard)
            content = read_at(file, _HEADER + size, offset - _HEADER)
        except OSError as error:
            raise DataError(f"shards: {path} cannot be read ({error.strerror}).") from error
        if len(content) < _HEADER + size:
            raise DataError(f"shards: {path} was cut short while it was used; copy it again.")
        return EncodedImage(content[_HEADER:], f"{path}, {_member_name(content)}")

    def name(self, row: int) -> str:
        """Return the name of an image: its shard and its name there."""
        shard, _, offset, _, _ = self.rows[row].item()
        header = read_at(self._open(shard), _HEADER, offset - _HEADER)
        return f"{self.paths[shard].name}, {_member_name(header)}"

    def _open(self, shard: int) -> BinaryIO:
        """Return an open shard. Forked processes have files of their own."""
        if self._process != os.getpid():
            self._process, self._files = os.getpid(), OrderedDict()
        if shard not in self._files:
            if len(self._files) >= _OPEN_FILES:
                self._files.popitem(last=False)[1].close()
            self._files[shard] = self.paths[shard].open("rb", buffering=0)
        return self._files[shard]


@dataclass(frozen=True)
class _Readable:
    """A check that images can be read."""

    reader: Reader
    max_pixels: int | None

    def __call__(self, image: EncodedImage) -> bool:
        try:
            with pixel_limit(self.max_pixels):
                self.reader(image)
        except DataError:
            return False
        return True


def _member_name(header: bytes) -> str:
    return header[:100].rstrip(b"\0").decode(errors="replace")


def _without_unreadable(rows: Any, files: Sequence[Path]) -> tuple[Any, tuple[str, ...]]:
    """Return the rows of images that can be read, and the names of the others."""
    bad = np.flatnonzero(rows["size"] < 0)
    if not len(bad):
        return rows, ()
    unreadable = TarFiles(files, rows)
    skipped = tuple(unreadable.name(row) for row in bad.tolist())
    warn_of_skipped("shards", skipped)
    return np.delete(rows, bad), skipped


def _find_shards(path: Path) -> list[Path]:
    """Return the tar files of a folder or pattern, sorted.

    Raises:
        MissingDataError: there are none, or one that the pattern names does not exist.
    """
    names = [str(path)] if path.exists() else _expand(str(path))
    shards: set[Path] = set()
    for name in map(Path, names):
        if name.is_dir():
            tars = [file.relative_to(name) for file in name.rglob("*.tar") if file.is_file()]
            shards.update(
                name / tar for tar in tars if not any(part.startswith(".") for part in tar.parts)
            )
        elif name.is_file():
            shards.add(name)
        elif glob.has_magic(name.name):
            shards.update(file for file in name.parent.glob(name.name) if file.is_file())
        elif len(names) > 1:
            raise MissingDataError(f"shards: {name} does not exist, which {path} names.")
    if not shards:
        raise MissingDataError(f"shards: {path.absolute()} has no files *.tar.")
    return sorted(shards)


def _expand(pattern: str) -> list[str]:
    """Return the names for a pattern with braces.

    Example:
        >>> _expand("a-{08..10}.tar")
        ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    pieces = re.split(r"\{(\d+\.\.\d+|[^{}]*,[^{}]*)\}", pattern)
    choices: list[list[str]] = []
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            choices.append([piece])
        elif ".." in piece:
            first, last = piece.split("..")
            numbers = range(int(first), int(last) + 1)
            choices.append([str(value).zfill(len(first)) for value in numbers])
        else:
            choices.append(piece.split(","))
    return ["".join(parts) for parts in product(*choices)]


def _check_labels(codes: Any, files: Sequence[Path], rows: Any) -> None:
    """Check that all examples have a label, if some have."""
    missing = codes == NO_LABEL
    if missing.any():
        shard = files[int(rows["shard"][int(missing.argmax())])]
        raise DataError(
            f"shards: {int(missing.sum()):,} of {len(codes):,} examples have no label, such as one "
            f"of {shard}; add labels, or set labels = None."
        )
