"""Labels: whole numbers, truth values, or text as the column `y`, int64 `(N,)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from genzoo.contract.column import block_of, check_dense, dtype_name, in_memory
from genzoo.contract.dataset import Dataset
from genzoo.errors import DataError, show

__all__ = ["LabelColumn", "are_labels", "class_column", "is_pair", "read_labels", "sorted_names"]


def is_pair(x: Any, y: Any) -> bool:
    """Return whether (x, y) are examples and their labels, rather than two splits.

    Labels are `(N,)`, or `(N, 1)` if the examples have other rows.

    Example:
        >>> images = np.zeros((3, 8, 8))
        >>> is_pair(images, ["a", "b", "a"]), is_pair(images, images[:2])
        (True, False)
    """
    rows = tuple(getattr(x, "shape", ()))
    if len(rows) < 2 or isinstance(y, Mapping):
        return False
    axes = _shape(y)
    return len(axes) == 1 or (len(axes) == 2 and axes[1] == 1 and rows[1:] != (1,))


def are_labels(y: Any) -> bool:
    """Return whether a column named y holds labels, rather than images or a table.

    Labels are `(N,)`, or whole numbers, truth values, or text `(N, 1)`.
    """
    axes = _shape(y)
    if len(axes) == 2 and axes[1] == 1:
        kind = dtype_name(y) if hasattr(y, "dtype") else np.asarray(y).dtype.name
        return not kind.startswith(("float", "bfloat"))
    return len(axes) == 1


def read_labels(columns: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the labels of each split as whole numbers, and the names of classes in text.

    Columns outside memory are converted when they are read.

    Arguments:
        columns: a path for messages -> labels `(N,)` or `(N, 1)`.

    Raises:
        DataError: labels are not whole numbers, or some splits hold text and others numbers.

    Example:
        >>> read_labels({"train": ["cat", "dog"], "test": np.array([["dog"]])})
        ({'train': array([0, 1]), 'test': array([1])}, ('cat', 'dog'))
        >>> read_labels({"train": torch.tensor([[2.0], [1.0]])})
        ({'train': tensor([2, 1])}, ())
    """
    read = {path: np.asarray(y) if isinstance(y, list) else y for path, y in columns.items()}
    texts = {path: text for path, y in read.items() if (text := _text(y)) is not None}
    if not texts:
        return {path: _numbers(y, path) for path, y in read.items()}, ()
    if len(texts) < len(read):
        other = next(path for path in read if path not in texts)
        raise DataError(
            f"{next(iter(texts))} holds text, and {other} holds {dtype_name(read[other])}; give "
            "all splits labels of one type."
        )
    different, codes = np.unique(np.concatenate([*texts.values()]), return_inverse=True)
    numbers, names = class_column(codes.reshape(-1), [str(text) for text in different])
    ends = np.cumsum([len(text) for text in texts.values()])[:-1]
    return dict(zip(texts, np.split(numbers, ends), strict=True)), names


def sorted_names(names: Sequence[str]) -> list[str]:
    """Return the different names in order; whole numbers are ordered by value.

    Example:
        >>> sorted_names(["10", "2", "-1"])
        ['-1', '2', '10']
    """
    different = set(names)
    if all(name.removeprefix("-").isdecimal() for name in different):
        return sorted(different, key=lambda name: (int(name), name))
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


class LabelColumn:
    """Labels outside memory, which become int64 `(N,)` when they are read.

    Arguments:
        column: a `genzoo.contract.Column` of shape `(N,)` or `(N, 1)`.
        path: its name in messages.
    """

    dtype = np.dtype(np.int64)

    def __init__(self, column: Any, path: str) -> None:
        self.column, self.path = column, path
        self.shape = (len(column),)
        self.block = block_of(column)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        return np.asarray(_numbers(np.asarray(self.column[rows]), self.path))


def check_labels_when_read(dataset: Dataset, classes: int) -> Dataset:
    """Return a dataset that checks the labels outside memory when it reads them.

    Arguments:
        dataset: a dataset with labels `y`, int64 `(N,)`.
        classes: the number of classes; labels are from 0 to classes - 1.
    """
    splits: dict[str, Any] = {
        split: {
            name: _LimitedLabels(column, f"{dataset.name}, {split}, column 'y'", classes)
            if name == "y" and not in_memory(column)
            else column
            for name, column in columns.items()
        }
        for split, columns in dataset.splits.items()
    }
    return replace(dataset, **splits)


class _LimitedLabels:
    """Labels outside memory that are checked when they are read."""

    def __init__(self, column: Any, path: str, classes: int) -> None:
        self.column, self.path, self.classes = column, path, classes
        self.shape, self.dtype, self.block = column.shape, column.dtype, block_of(column)

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, rows: Any) -> Any:
        labels = self.column[rows]
        wrong = (labels < 0) | (labels >= self.classes)
        if bool(wrong.any()):
            first = int(wrong.nonzero()[0][0])
            raise DataError(
                f"{self.path}: row {int(rows[first])} holds {int(labels[first])}, but classes = "
                f"{self.classes} allows 0 to {self.classes - 1}; set another number of classes, or "
                "number the labels from 0 on."
            )
        return labels


def _shape(y: Any) -> tuple[int, ...]:
    """Return the shape of an array, or of a list of labels; `()` for anything else."""
    if not isinstance(y, list):
        return tuple(getattr(y, "shape", ()))
    first = y[0] if y else None
    while isinstance(first, list) and len(first) == 1:
        first = first[0]
    if isinstance(first, bool | int | float | str | np.generic) or _is_number(first):
        return (len(y), 1) if isinstance(y[0], list) else (len(y),)
    return ()


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0


def _text(y: Any) -> Any:
    """Return the texts of an array of labels, `(N,)`, or None if it holds something else."""
    if not isinstance(y, np.ndarray):
        return None
    objects = y.dtype.kind == "O" and all(isinstance(value, str) for value in y.flat)
    return y.reshape(-1).astype(str) if y.dtype.kind in "US" or objects else None


def _numbers(y: Any, path: str) -> Any:
    """Return labels as int64 `(N,)`."""
    if not isinstance(y, Tensor | np.ndarray):
        return y if dtype_name(y) == "int64" and len(y.shape) == 1 else LabelColumn(y, path)
    if isinstance(y, Tensor):
        check_dense(y, path)
    elif y.dtype.kind not in "biuf":
        raise DataError(
            f"{path} holds {y.dtype}; labels are whole numbers, or text to be numbered, as in "
            'y.astype("int64") or y.astype(str).'
        )
    flat = y.reshape(-1)
    with np.errstate(invalid="ignore"):
        whole: Any = flat.long() if isinstance(flat, Tensor) else flat.astype(np.int64, copy=False)
    different = whole != flat
    if bool(different.any()):
        raise DataError(
            f"{path} holds {show(flat[different][0].item())}; labels are whole numbers. Round "
            "them, as in y.round(), or give a column of real numbers another name, as in "
            "{'x': ..., 'target': ...}."
        )
    return whole
