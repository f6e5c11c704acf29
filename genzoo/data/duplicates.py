"""Rows that occur in both splits of a dataset."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

from torch import Tensor

from genzoo.contract import Dataset
from genzoo.data.arrays import as_tensor

__all__ = ["count_duplicates"]

_NUMBERS = 2**22
"""The number of values that are converted at once, if a row does not have more."""


def count_duplicates(dataset: Dataset, column: str = "x", n: int | None = None) -> int:
    """Return the number of held-out rows that also occur in the training split.

    Rows are compared as they are stored: all of their numbers must be equal, whatever their dtype.

    Arguments:
        dataset: the dataset.
        column: the column to compare.
        n: the number of held-out rows to read, from the first; by default, all.

    Example:
        >>> import torch
        >>> x = torch.arange(10.0)[:, None]
        >>> count_duplicates(Dataset({"x": x}, {"x": x[8:] + torch.tensor([[0.0], [0.5]])}))
        1
    """
    train, test = (
        as_tensor(dataset.split(split)[column], f"{dataset.name}, {split}, column {column!r}")
        for split in ("train", "test")
    )
    if train.shape[1:] != test.shape[1:]:
        return 0
    known = set(_digests(train))
    return sum(digest in known for digest in _digests(test[:n]))


def _digests(column: Tensor) -> Iterator[bytes]:
    """Yield a digest of each row. Its size bounds the memory of many large rows."""
    at_once = max(1, _NUMBERS // max(1, math.prod(column.shape[1:])))
    for begin in range(0, len(column), at_once):
        # Equal numbers have equal bytes in float64, which also has no two zeros after the sum.
        rows = column[begin : begin + at_once].cpu().double() + 0.0
        for row in rows.reshape(len(rows), -1).numpy():
            yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()
