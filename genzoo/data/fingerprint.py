"""Fingerprints of datasets, which detect that a run continues or is evaluated on other data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from genzoo.contract.column import block_of
from genzoo.contract.dataset import Dataset
from genzoo.data.columns import CheckedColumn, open_column
from genzoo.data.digest import add_tensor, describe

__all__ = ["changes", "fingerprint"]

_WHOLE = 256 << 20
"""The size in bytes up to which all rows of a column are read."""

_SAMPLE, _BLOCK = 64 << 20, 256 << 10
"""The number of bytes that are read of a larger column, and of each block of them."""

_DEAR, _DEAR_ROW = 16, 4096
"""For columns with a `block`: the divisor of these numbers, and the least size of a row."""

_SETTINGS = ("levels", "binarize", "dequantize", "symbols", "augment", "standardize")
_ONLY_TRAINING = ("augment", "standardize")
"""The settings that do not concern held-out rows."""


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """Return a fingerprint of the content of a dataset: of its values, not of names or files.

    It is the same on every platform, for torch and numpy arrays, in memory or memory-mapped. Of a
    column of more than 256 MiB, 64 MiB are read: blocks of rows at equal distances, including the
    first and the last. A change elsewhere in the column is not detected. Reading these blocks takes
    well under a second. Of columns with a `block`, which are dear to read, at most 4 MiB and 1,024
    rows are read if they have more than 16 MiB or 4,096 rows.

    Arguments:
        dataset: the dataset.

    Returns:
        `settings` (how stored values are converted for a model), and for each split its columns:
        type, shape, and the first half of a SHA-256.

    Example:
        >>> fingerprint(Dataset({"x": torch.zeros(3, 2)}))["train"]
        {'x': 'float32 (3, 2) f1aafef15fc6cc6dbe0abec779c92bbb'}
    """
    settings = {name: getattr(dataset, name) for name in _SETTINGS}
    # a list, as a recipe holds it
    settings["augment"] = list(dataset.augment) or None
    settings["standardize"] = dataset.standardize or None
    table: dict[str, Any] = {"settings": {k: v for k, v in settings.items() if v is not None}}
    table["settings"]["groups"] = [list(group) for group in dataset.groups]
    for split, columns in dataset.splits.items():
        if split == "validation" and not columns:
            continue
        table[split] = {name: _digest(open_column(dataset, split, name)) for name in columns}
    return table


def changes(
    old: Mapping[str, Any], new: Mapping[str, Any], split: str, columns: Sequence[str]
) -> list[str]:
    """Return descriptions of the differences between two fingerprints.

    Arguments:
        old: the fingerprint that a run stores.
        new: the fingerprint of the current data.
        split: `"train"`, `"test"`, or `"validation"`.
        columns: the columns that are read; all others are ignored.

    Example:
        >>> old, new = (fingerprint(Dataset({"x": torch.full((3, 2), v)})) for v in (0.0, 1.0))
        >>> changes(old, new, "train", ["x"])
        ["the train column 'x' holds other values"]
    """
    differences = []
    before, now = _table(old.get("settings")), new["settings"]
    for name in _SETTINGS:
        if name in _ONLY_TRAINING and split != "train":
            continue
        if before.get(name) != now.get(name):
            differences.append(f"{name} was {before.get(name)!r}, now {now.get(name)!r}")
    groups = [_grouped(table.get("groups"), columns) for table in (before, now)]
    if groups[0] != groups[1] and split == "train":
        differences.append(f"the groups of columns were {groups[0]}, now {groups[1]}")
    kept = _table(old.get(split))
    for name in columns:
        left, right = kept.get(name), _table(new.get(split)).get(name)
        if left == right:
            continue
        differences.append(f"the {split} column {name!r} {_change(left, right)}")
    return differences


def _change(left: Any, right: Any) -> str:
    """Return a description of how a column changed."""
    if left is None:
        return "is new"
    if right is None:
        return "is gone"
    # the type and shape, without the hash
    was, now = (str(text).rpartition(" ")[0] for text in (left, right))
    return "holds other values" if was == now else f"was {was}, now {now}"


def _digest(column: Tensor | CheckedColumn) -> str:
    text = describe(column)
    digest = hashlib.sha256(text.encode())
    row_size = column.dtype.itemsize * math.prod(column.shape[1:])
    divisor = 1
    if block_of(column) is not None:
        row_size, divisor = max(row_size, _DEAR_ROW), _DEAR
    for begin, end in _blocks(len(column), row_size, divisor):
        add_tensor(digest, column[begin:end])
    return f"{text} {digest.hexdigest()[:32]}"


def _blocks(rows: int, row_size: int, divisor: int = 1) -> Iterator[tuple[int, int]]:
    """Yield the ranges of rows that are read. The divisor is that of the numbers of bytes."""
    per_block = max(1, _BLOCK // max(1, row_size))
    if rows * row_size <= _WHOLE // divisor:
        for begin in range(0, rows, per_block):
            yield begin, min(begin + per_block, rows)
        return
    blocks = max(2, _SAMPLE // divisor // (per_block * row_size))
    for i in range(blocks):
        begin = i * (rows - per_block) // (blocks - 1)
        yield begin, begin + per_block


def _grouped(groups: Any, columns: Sequence[str]) -> list[list[str]]:
    """Return the groups of the columns that are read."""
    if not isinstance(groups, list):
        return []
    kept = []
    for group in groups:
        names = [name for name in columns if isinstance(group, list) and name in group]
        if names:
            kept.append(names)
    return sorted(kept)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
