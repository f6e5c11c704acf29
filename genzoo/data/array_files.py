"""Arrays in `.npy` and `.npz` files as a dataset."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Lt

from genzoo.contract import LocalPath
from genzoo.contract.dataset import Augmentation, Dataset
from genzoo.data.arrays import dataset_of
from genzoo.data.splits import random_splits, select
from genzoo.errors import DataError, GenzooError, MissingDataError
from genzoo.files import local_path

__all__ = ["npy"]

_SPLIT = re.compile(r"(?P<before>train|test|val)_(?P<one>.+)|(?P<two>.+)_(?P<after>train|test|val)")
"""The names of arrays of one split, such as x_train."""


def npy(
    path: LocalPath,
    *,
    test_fraction: Annotated[float, Ge(0), Lt(1)] = 0.1,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    levels: Annotated[int, Ge(2)] = 256,
    binarize: Literal["threshold", "stochastic"] | None = None,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
    standardize: bool = False,
) -> Dataset:
    """Return the arrays of a `.npy` or `.npz` file, in the forms that `genzoo.fit` takes.

    A `.npy` file is the column `x`. It is memory-mapped, so it need not fit into memory. The arrays
    of a `.npz` file are columns by their names, and a single array is the column `x`. Names such as
    `x_train` and `x_test` are columns of splits. Otherwise, random rows are held out.

    Arguments:
        path: the file.
        test_fraction: the fraction of the rows to hold out, if the names have no splits.
        seed: the seed of the choice of rows that are held out.
        levels: as in `Dataset`.
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.
        augment: as in `Dataset`.
        standardize: as in `Dataset`.

    Raises:
        MissingDataError: the file does not exist.
        DataError: the file cannot be read, has no column `x`, has values or axes that `fit`
            refuses, or has no rows to train on.

    Example:
        >>> path = getfixture("tmp_path") / "x.npy"
        >>> np.save(path, np.random.rand(20, 3))
        >>> npy(path).shape
        (3,)
    """
    file = local_path(path, "npy: path", DataError)
    # the checks and forms of arrays from Python
    data = dataset_of(_splits(file, _read(file)))
    splits: dict[str, Any] = {
        split: dict(columns) for split, columns in data.splits.items() if columns
    }
    if "test" not in splits:
        rows = len(splits["train"]["x"])
        numbers = random_splits(rows, test_fraction, "npy", seed)
        if not len(numbers["train"]):
            raise DataError(
                f"npy: all {rows:,} rows of {file} are held out; add rows, or lower "
                f"test_fraction = {test_fraction:g}."
            )
        if len(numbers["test"]):
            splits |= select(splits["train"], numbers)
    return Dataset(
        **splits,
        levels=levels,
        binarize=binarize,
        dequantize=dequantize,
        augment=augment,
        standardize=standardize,
        metadata=data.metadata,
        name=str(path),
    )


def _read(file: Path) -> dict[str, Any]:
    """Return the arrays of a file by their names."""
    if not file.is_file():
        raise MissingDataError(f"npy: {file.absolute()} does not exist.")
    try:
        loaded = np.load(file, mmap_mode=None if zipfile.is_zipfile(file) else "r")
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, GenzooError):
            raise
        raise DataError(
            f"npy: {file} cannot be read as arrays ({str(error).splitlines()[0]}); write it with "
            "np.save or np.savez."
        ) from error


def _splits(file: Path, arrays: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the columns of each split.

    Raises:
        DataError: there is no column `x`, or only some names have splits.
    """
    if len(arrays) == 1:
        arrays = {"x": next(iter(arrays.values()))}
    splits: dict[str, dict[str, Any]] = {}
    matches = {name: _SPLIT.fullmatch(name) for name in arrays}
    for name, array in arrays.items():
        match = matches[name] if all(matches.values()) else None
        split, column = "train", name
        if match:
            split, column = match["before"] or match["after"], match["one"] or match["two"]
        splits.setdefault("validation" if split == "val" else split, {})[column] = array
    if "x" not in splits.get("train", {}):
        raise DataError(
            f"npy: {file} holds {', '.join(arrays) or 'no arrays'}; name the examples x, or "
            "x_train and x_test, as in np.savez(path, x=images, y=labels)."
        )
    return splits
