"""Columns of encoded images that are decoded when they are read, and their splits and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from genzoo.contract.column import in_memory
from genzoo.data.columns import SelectedRows
from genzoo.data.image_reader import EncodedImage, Reader, pixel_limit
from genzoo.distributed.random_state import seed_for

__all__ = ["EncodedImages", "class_column", "content_splits", "select", "sorted_names"]

_BLOCK = 1 << 20
"""The number of bytes of a block of neighboring rows."""


class Files(Protocol):
    """Encoded images, which are read by their numbers."""

    def __len__(self) -> int:
        """Return the number of images."""

    def image(self, row: int) -> EncodedImage:
        """Return the content of an image."""

    def mean_size(self) -> float:
        """Return the mean number of bytes of an image."""


class EncodedImages:
    """A column of images, uint8 `(N, channels, H, W)`, each decoded when it is read.

    Arguments:
        files: the encoded images.
        reader: the way to read them.
        max_pixels: the largest number of pixels of an image.
    """

    def __init__(self, files: Files, reader: Reader, max_pixels: int | None = None) -> None:
        self.files, self.reader, self.max_pixels = files, reader, max_pixels
        self.shape = (len(files), *reader.shape)
        self.dtype = np.dtype(np.uint8)
        self.block = max(1, round(_BLOCK / max(1.0, files.mean_size())))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        images = np.empty((len(rows), *self.reader.shape), np.uint8)
        with pixel_limit(self.max_pixels):
            for image, row in zip(images, rows, strict=True):
                image[...] = self.reader(self.files.image(int(row)))
        return images


def content_splits(digests: Any, test_fraction: float, seed: int) -> dict[str, Any]:
    """Return the numbers of the test and training rows, chosen by the content of each row.

    Rows that are added or removed do not move other rows between the splits, and equal rows are in
    the same split.

    Arguments:
        digests: a hash of each row, uint64 `(N,)`.
        test_fraction: the fraction to hold out, on average.
        seed: the seed of the choice.
    """
    mixed = (digests ^ np.uint64(seed_for("split", seed))) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    held = mixed / 2.0**64 < test_fraction
    return {"train": np.flatnonzero(~held), "test": np.flatnonzero(held)}


def sorted_names(names: Sequence[str]) -> list[str]:
    """Return the different names in order; whole numbers are ordered by value."""
    different = set(names)
    if all(name.isdecimal() for name in different):
        return sorted(different, key=int)
    return sorted(different)


def class_column(codes: Any, labels: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """Return the index of the class of each row, int64 `(N,)`, and the names of the classes.

    Arguments:
        codes: positions in `labels`, `(N,)`.
        labels: the labels that occur, in any order.
    """
    names = sorted_names(labels)
    index_of = {name: index for index, name in enumerate(names)}
    table = np.array([index_of[label] for label in labels], np.int64)
    return table[codes], tuple(names)


def select(columns: Mapping[str, Any], splits: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the columns of each split that has rows.

    Arguments:
        columns: columns of all rows. Arrays in memory are copied.
        splits: the numbers of the rows of each split, increasing.
    """
    return {
        split: {
            name: x[numbers] if in_memory(x) else SelectedRows(x, numbers)
            for name, x in columns.items()
        }
        for split, numbers in splits.items()
        if len(numbers)
    }
