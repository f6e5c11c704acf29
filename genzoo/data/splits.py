"""Splits of rows by the names of their files or by their content."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.contract.column import in_memory
from genzoo.data.columns import SelectedRows
from genzoo.data.image_files import SPLIT_NAMES
from genzoo.data.order import random_rows
from genzoo.distributed.random_state import seed_for
from genzoo.errors import DataError, SettingError

__all__ = ["content_splits", "named_splits", "random_splits", "select"]


def named_splits(
    dataset: str, root: Path, files: Sequence[Path], file_of: Any, splits: str
) -> dict[str, Any] | None:
    """Return the numbers of the rows of each split, if names of files or folders are splits.

    Validation rows without test rows are the test split, as in `folder`.

    Arguments:
        dataset: the name of the dataset, for messages.
        root: the folder or pattern that the files come from.
        files: the files.
        file_of: the index of the file of each row, `(N,)`.
        splits: the setting: `"auto"`, `"names"`, or `"content"`.

    Raises:
        SettingError: no file has the name of a split, and the setting asks for it.
        DataError: only some files have the name of a split.
    """
    names = [_split_of(file, root) for file in files]
    known = {name for name in names if name is not None}
    if splits == "content" or not {"train"} < known:
        if splits == "names":
            raise SettingError(
                f'splits = "names": {root} has no files named train-*, or none named test-* and '
                "val-*."
            )
        return None
    if None in names:
        raise DataError(
            f"{dataset}: some files of {root} are named after splits, but "
            f'{files[names.index(None)]} is not; rename it, or set splits = "content" to mix all '
            "rows."
        )
    if "test" not in known:
        names = ["test" if name == "validation" else name for name in names]
    return {
        split: np.flatnonzero(
            np.isin(file_of, [i for i, name in enumerate(names) if name == split])
        )
        for split in ("train", "validation", "test")
    }


def _split_of(file: Path, root: Path) -> str | None:
    """Return the split that a file is named after, or None."""
    name = re.split(r"[-_.\d]", file.stem)[0]
    if file.is_relative_to(root):
        texts = (*file.relative_to(root).parts[:-1], name)
    else:
        # the folder may have the name of a split by chance; a pattern chose the file
        texts = (name, file.parent.name)
    for text in texts:
        if text.lower() in SPLIT_NAMES:
            return SPLIT_NAMES[text.lower()]
    return None


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


def random_splits(rows: int, test_fraction: float, *key: object) -> dict[str, Any]:
    """Return the numbers of the rows of each split; the rows to hold out are chosen at random.

    Arguments:
        rows: the number of rows.
        test_fraction: the fraction to hold out.
        key: the key of the choice, as for `seed_for`.
    """
    held = random_rows(rows, round(rows * test_fraction), *key).numpy()
    return {"train": np.setdiff1d(np.arange(rows), held, assume_unique=True), "test": held}


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
