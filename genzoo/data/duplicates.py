"""Rows that occur in both splits of a dataset."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator

from torch import Tensor

from genzoo.contract import Dataset
from genzoo.data.columns import CheckedColumn, open_column

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
    train, test = (open_column(dataset, split, column) for split in ("train", "test"))
    if train.shape[1:] != test.shape[1:]:
        return 0
    held_out = Counter(_digests(test, len(test) if n is None else min(n, len(test))))
    repeated = held_out.keys() & _digests(train, len(train))
    return sum(held_out[digest] for digest in repeated)


def _digests(column: Tensor | CheckedColumn, rows: int) -> Iterator[bytes]:
    """Yield a digest of each of the first rows. Its size bounds the memory of many large rows."""
    at_once = max(1, _NUMBERS // max(1, math.prod(column.shape[1:])))
    for begin in range(0, rows, at_once):
        # Equal numbers have equal bytes in float64, which also has no two zeros after the sum.
        values = column[begin : min(begin + at_once, rows)].cpu().double() + 0.0
        for row in values.reshape(len(values), -1).numpy():
            yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()
