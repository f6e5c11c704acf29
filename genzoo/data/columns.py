"""Read the columns of a dataset: as tensors, and checked if they are not in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.contract.column import block_of, check_values, dtype_name, in_memory
from genzoo.contract.dataset import Dataset
from genzoo.data.arrays import as_tensor
from genzoo.errors import DataError

__all__ = ["CheckedColumn", "SelectedRows", "load", "open_column", "take"]

_PIECE = 16 << 20
"""The number of bytes to read at once when a whole column is read."""


class CheckedColumn:
    """A column whose rows are read as tensors, and checked when they are read.

    Arguments:
        column: a `genzoo.contract.Column`.
        path: its dataset, split, and name, for messages.
        levels: the number of values of a uint8 column.

    Raises:
        DataError: torch does not support the type of the column.
    """

    def __init__(self, column: Any, path: str, levels: int = 256) -> None:
        self.column, self.path, self.levels = column, path, levels
        self.shape = torch.Size(column.shape)
        self.dtype: torch.dtype = column.dtype
        if not isinstance(column.dtype, torch.dtype):
            self.dtype = as_tensor(np.empty(0, column.dtype), path).dtype
        self.block = block_of(column)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Return rows, which may be in any order and repeated; the column reads each once.

        Raises:
            DataError: the values are not allowed, or do not have the shape and type of the column.
        """
        if isinstance(rows, slice):
            numbers = inverse = np.arange(*rows.indices(len(self)))
        else:
            numbers, inverse = np.unique(rows.cpu().numpy(), return_inverse=True)
        read = self.column[numbers]
        values = as_tensor(np.asarray(read) if isinstance(read, np.memmap) else read, self.path)
        expected = (len(numbers), *self.shape[1:])
        if tuple(values.shape) != expected or values.dtype != self.dtype:
            raise DataError(
                f"{self.path}: reading {len(numbers)} rows returned {dtype_name(values)} "
                f"{tuple(values.shape)}; expected {dtype_name(self)} {expected}."
            )
        check_values(self.path, values, self.levels, lambda i: int(numbers[i]))
        return values if inverse is numbers else values[torch.from_numpy(inverse)]


class SelectedRows:
    """Some rows of a column, as a column. Nothing is copied.

    Arguments:
        column: a column.
        numbers: the numbers of its rows, increasing int64 `(n,)`.

    Example:
        >>> SelectedRows(np.arange(10), np.array([2, 5, 7]))[np.array([0, 2])]
        array([2, 7])
    """

    def __init__(self, column: Any, numbers: Any) -> None:
        self.column, self.numbers = column, numbers
        self.shape = (len(numbers), *column.shape[1:])
        self.dtype = column.dtype
        self.block = block_of(column)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Any) -> Any:
        return self.column[self.numbers[rows]]


def open_column(dataset: Dataset, split: str, name: str) -> Tensor | CheckedColumn:
    """Return a column for reading: `len`, `shape`, `dtype`, slices, and `take`.

    Raises:
        DataError: the dataset does not have it, or torch does not support its type.
    """
    column, path = dataset.split(split)[name], f"{dataset.name}, {split}, column {name!r}"
    levels = dataset.value_count
    is_array = isinstance(column, Tensor | np.ndarray)
    if is_array and (in_memory(column) or not _needs_checks(column, levels)):
        return as_tensor(column, path)
    return CheckedColumn(column, path, levels)


def take(column: Tensor | CheckedColumn, rows: Tensor) -> Tensor:
    """Return rows of a column by their numbers, on the device of the numbers."""
    return column.index_select(0, rows) if isinstance(column, Tensor) else column[rows]


def load(column: Tensor | CheckedColumn, device: torch.device) -> Tensor:
    """Return all rows of a column, on a device."""
    if isinstance(column, Tensor):
        return column.to(device)
    whole = torch.empty(column.shape, dtype=column.dtype, device=device)
    row_size = max(1, whole.element_size() * whole[:1].numel())
    at_once = max(1, _PIECE // row_size)
    for begin in range(0, len(column), at_once):
        whole[begin : begin + at_once] = column[begin : begin + at_once]
    return whole


def _needs_checks(column: Any, levels: int) -> bool:
    """Return whether some values of the column's type are not allowed."""
    name = dtype_name(column)
    return name.startswith(("float", "bfloat")) or (name == "uint8" and levels < 256)
