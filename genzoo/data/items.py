"""Columns of sequences of Python objects: torch datasets, and lists of Pillow images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils import data as loading

from genzoo.data.image_reader import with_8_bits
from genzoo.data.labels import are_labels, read_labels
from genzoo.errors import DataError, show

__all__ = ["columns_of_items", "is_items"]

_ADVICE = (
    "Rows are read by their numbers, in an order that a resume repeats: collect the items, as in "
    "list(items), or write them to tar shards for the dataset shards"
)


def is_items(data: Any) -> bool:
    """Return whether data are a torch dataset or a list of Pillow images.

    Raises:
        DataError: the data can only be iterated.
    """
    from PIL.Image import Image

    kind = type(data).__name__
    if isinstance(data, loading.DataLoader):
        raise DataError(
            f"data is a {kind}, which decides the batches and their order itself; pass its dataset "
            "(loader.dataset), and set batch_size, seed, and workers."
        )
    if isinstance(data, loading.IterableDataset | Iterator):
        raise DataError(f"data is a {kind}, which can only be iterated. {_ADVICE}.")
    if isinstance(data, loading.Dataset):
        if not hasattr(data, "__len__"):
            raise DataError(f"data is a {kind} without len(). {_ADVICE}.")
        return True
    return isinstance(data, list) and bool(data) and all(isinstance(x, Image) for x in data)


def columns_of_items(items: Any, name: str) -> dict[str, Any]:
    """Return the columns of a sequence of items, which are read when they are needed.

    An item is an image or an array, or a tuple of one, which becomes the column `x`; a pair
    (x, label), which becomes the columns `x` and `y`; or a mapping of columns. Arrays `(H, W)` get
    a channel axis. The first item determines the columns, their types, and their shapes. Images
    are turned by their EXIF orientation, and those of 16 bits become uint8.

    Arguments:
        items: a sequence, such as a map-style torch dataset.
        name: its name in messages.

    Raises:
        DataError: there are no items, or an item is something else.
    """
    if not len(items):
        raise DataError(f"{name} has no items.")
    source = _Items(items, name)
    first = source.item(0)
    again = source.item(0)
    if any(not np.array_equal(first[key], again[key], equal_nan=True) for key in first):
        warnings.warn(
            f"{name}: item 0 differs each time it is read, so batches are not determined by the "
            "seed, and a resume is not exact. Leave out random changes; Dataset(augment=...) has "
            "changes that follow the seed.",
            stacklevel=3,
        )
    return {key: _ItemColumn(source, key, value) for key, value in first.items()}


class _Items:
    """A sequence of items as arrays. The items that were read last are kept for other columns."""

    def __init__(self, items: Any, name: str) -> None:
        self.items, self.name = items, name
        self._last: tuple[bytes, list[dict[str, Any]]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last": None}

    def item(self, row: int) -> dict[str, Any]:
        """Return the arrays of an item by column."""
        item = self.items[row]
        if isinstance(item, tuple | list) and len(item) in (1, 2):
            item = dict(zip(("x", "y"), item, strict=False))
        if isinstance(item, tuple | list):
            raise DataError(
                f"{self.name}: item {row} is a {type(item).__name__} of {len(item)}; an item is "
                "x, a pair (x, y), or a mapping {'x': ..., 'y': ...}."
            )
        table = item if isinstance(item, Mapping) else {"x": item}
        return {str(key): self._array(value, row, str(key)) for key, value in table.items()}

    def read(self, rows: Any) -> list[dict[str, Any]]:
        """Return the items of rows."""
        key = rows.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = key, [self.item(int(row)) for row in rows]
        return self._last[1]

    def _array(self, value: Any, row: int, key: str) -> Any:
        """Return a value as an array: uint8, floats, or integers."""
        from PIL.Image import Image

        if isinstance(value, Image):
            return _pixels(value, f"{self.name}: item {row}")
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        if key == "y" and isinstance(value, str):
            raise DataError(
                f"{self.name}: item {row} has the label {show(value)}; items have labels that are "
                "whole numbers, from 0 on. Number the classes."
            )
        if key == "y" and are_labels(array[None]):
            return read_labels({f"{self.name}: item {row}, 'y'": array[None]})[0].popitem()[1][0]
        if array.dtype.kind not in "fiu":
            raise DataError(
                f"{self.name}: item {row} holds {show(value)} as {key!r}; expected a Pillow image, "
                "an array or tensor, or a number."
            )
        return array[None] if array.ndim == 2 else array


class _ItemColumn:
    """One value of each item, as a column."""

    block = 1  # items are dear to read, and neighbors are no cheaper than others

    def __init__(self, source: _Items, key: str, first: Any) -> None:
        self.source, self.key = source, key
        self.shape, self.dtype = (len(source.items), *first.shape), first.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for i, (row, item) in enumerate(zip(rows, self.source.read(rows), strict=True)):
            read = item.get(self.key)
            if read is None or read.shape != self.shape[1:] or read.dtype != self.dtype:
                expected = f"{self.dtype} {self.shape[1:]}"
                actual = "nothing" if read is None else f"{read.dtype} {read.shape}"
                raise DataError(
                    f"{self.source.name}: item {row} holds {actual} as {self.key!r}, and item 0 "
                    f"holds {expected}; give all items one type and shape, as by resizing images."
                )
            values[i] = read
        return values


def _pixels(image: Any, name: str) -> Any:
    """Return the pixels of a Pillow image, uint8 `(C, H, W)`.

    RGBA images keep their transparency. Others are placed on white, and have 1 or 3 channels.
    """
    mode = image.mode
    if mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise DataError(
            f"{name} is an image in mode {mode!r}; convert it to L, RGB, or RGBA, as in "
            'image.convert("RGB").'
        )
    way = "pass arrays of floats in [0, 1], such as np.asarray(image) / white"
    image = with_8_bits(image, name, keep_alpha=mode == "RGBA", way=way)
    kept = "RGBA" if mode == "RGBA" else "RGB"
    if mode.startswith(("1", "L", "I", "F")):
        kept = "L"
    pixels = np.asarray(image.convert(kept))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
