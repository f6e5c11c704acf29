"""Columns: rows of examples in memory or elsewhere, and the checks of their values."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from genzoo.contract.inputs import layout_of
from genzoo.errors import DataError

__all__ = [
    "Column",
    "block_of",
    "check_column",
    "check_dense",
    "check_values",
    "dtype_name",
    "in_memory",
    "is_image",
    "is_uint8",
]

_ROUNDING = 1e-4
"""The distance from [0, 1] up to which the values of images count as rounding errors."""


@runtime_checkable
class Column(Protocol):
    """Rows of one kind, which are read by their numbers and need not be in memory.

    Tensors, NumPy arrays, and memory maps are columns. So is any other object with these four
    members, such as a table on disk, or an `h5py.Dataset`. The values of rows outside memory are
    checked when they are read.

    `column[rows]` returns the rows as an array or a tensor, `(len(rows), *shape[1:])`, of the type
    `dtype`: uint8, floats, or integers. `rows` is an increasing int64 NumPy array. The same row has
    the same values each time it is read. Otherwise, batches depend on more than the seed, and a
    resume is not exact.

    A column may have an attribute `block`, the number of neighboring rows that are cheap to read
    together. Then an epoch visits blocks of rows in random order and mixes the rows of 256 blocks,
    instead of all rows (see `genzoo.data.Stream`).

    A column that DataLoader workers read is pickled or forked: it must open files in the process
    that reads them.

    Example:
        >>> import numpy as np
        >>> class Squares:
        ...     shape, dtype = (1000, 1), np.dtype("float32")
        ...
        ...     def __len__(self):
        ...         return 1000
        ...
        ...     def __getitem__(self, rows):
        ...         return (rows[:, None] ** 2).astype("float32")
        >>> import genzoo
        >>> genzoo.Dataset({"x": Squares()}).rows()
        1000
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows, and the shape of a row."""

    @property
    def dtype(self) -> Any:
        """The type of the values, of torch or NumPy."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Return rows by their numbers."""


def is_image(shape: tuple[int, ...]) -> bool:
    """Return True for the shape of an image, `(C, H, W)`. Images are in [0, 1].

    Example:
        >>> is_image((1, 28, 28)), is_image((784,))
        (True, False)
    """
    return len(shape) == 3


def dtype_name(column: Any) -> str:
    """Return the name of the type of a column, such as `"uint8"`."""
    # the name of a NumPy type leaves out the byte order
    return str(getattr(column.dtype, "name", column.dtype)).removeprefix("torch.")


def is_uint8(column: Any) -> bool:
    """Return whether a column holds uint8."""
    return dtype_name(column) == "uint8"


def in_memory(column: Any) -> bool:
    """Return whether a column is a tensor or an array that is not a memory map."""
    if isinstance(column, Tensor):
        return True
    if not isinstance(column, np.ndarray):
        return False
    base: Any = column
    while base is not None and not isinstance(base, mmap.mmap | np.memmap):
        base = getattr(base, "base", None)
    return base is None


def block_of(column: Any) -> int | None:
    """Return the number of neighboring rows that are cheap to read together, if it matters.

    Raises:
        DataError: the attribute `block` is not a positive whole number.
    """
    block = getattr(column, "block", None)
    if block is not None and (not isinstance(block, int) or block < 1):
        raise DataError(
            f"the block of a {type(column).__name__} is {block!r}; expected a positive whole "
            "number, or no attribute block."
        )
    return block


def check_dense(column: Tensor, path: str) -> None:
    """Reject a tensor whose rows cannot be read one by one.

    Arguments:
        column: the tensor.
        path: its dataset, split, and name, for messages.

    Raises:
        DataError: the tensor is sparse, nested, or quantized, or has no values because it is on the
            meta device.
    """
    layout = layout_of(column)
    if layout is not None:
        raise DataError(f"{path} is a {layout} tensor; pass a dense one, such as x.to_dense().")
    if column.is_meta:
        raise DataError(f"{path} is on the meta device and has no values; pass one with values.")


def check_column(path: str, column: Any) -> None:
    """Reject an object that is not a column with an axis of rows.

    Raises:
        DataError: the object has no `shape`, `dtype`, length, or rows by number.
    """
    if isinstance(column, Tensor):
        check_dense(column, path)
    if not isinstance(column, Column):
        raise DataError(
            f"{path} is a {type(column).__name__}; pass a torch tensor, a NumPy array, or a column "
            "with shape, dtype, len(), and rows by number."
        )
    if not column.shape:
        raise DataError(f"{path} is a single number; its first axis must be the examples.")
    if math.prod(column.shape[:1]) != len(column):
        raise DataError(
            f"{path}: has the shape {tuple(column.shape)}, but len() is {len(column)}; the first "
            "number of the shape is the number of rows."
        )


def check_values(
    path: str, values: Any, levels: int, row_number: Callable[[int], int] = int
) -> None:
    """Check that levels are in range, floats are finite, and float images are in [0, 1].

    Arguments:
        path: the dataset, split, and column, for messages.
        values: rows of the column, a tensor or an array.
        levels: the number of values of a uint8 column.
        row_number: a function from an index of `values` to the number of the row, for messages.

    Raises:
        DataError: a value is not allowed.
    """
    if not len(values):
        return
    if is_uint8(values) and levels < 256 and int(values.max()) >= levels:
        raise DataError(
            f"{path}: holds {int(values.max())}, but {levels} levels or symbols are 0 to "
            f"{levels - 1}."
        )
    if not dtype_name(values).startswith(("float", "bfloat")):
        return
    x = values if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))
    finite = torch.isfinite(x.reshape(len(x), -1)).all(dim=1)
    if not finite.all():
        row = row_number(int((~finite).nonzero()[0]))
        raise DataError(
            f"{path}: row {row} holds a value that is not finite ({int((~finite).sum())} such "
            "rows); clean the data first."
        )
    if is_image(tuple(x.shape[1:])):
        low, high = float(x.min()), float(x.max())
        # resizing may exceed the range by a rounding error
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise DataError(
                f"{path}: images are floats in [0, 1] or uint8; these span {low:g} to {high:g}. "
                "Rescale them."
            )
