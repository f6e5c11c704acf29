"""Arrays in memory as a dataset."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.contract.column import Column, check_column, check_dense, in_memory
from genzoo.contract.dataset import Dataset
from genzoo.data.image_files import SUFFIXES
from genzoo.data.items import columns_of_items, is_items
from genzoo.data.labels import are_labels, is_pair, read_labels
from genzoo.errors import (
    DataError,
    MissingDataError,
    SettingError,
    did_you_mean,
    shorten,
    show,
)
from genzoo.files import local_path
from genzoo.registry.build import build
from genzoo.registry.lookup import registry

__all__ = ["as_dataset", "as_tensor", "dataset_of", "is_folder", "table_of"]

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_CHANNELS = (1, 2, 3, 4)
"""Numbers of channels by which a channel axis is recognized."""
_TABLES = (".arrow", ".feather", ".parquet")
"""The suffixes of tables."""
_DATASET_OF = {
    **dict.fromkeys(_TABLES, "arrow"),
    ".tar": "shards",
    ".npy": "npy",
    ".npz": "npy",
}
"""The suffix of a file -> the dataset that reads it."""
_FOLDER_OF = {suffix: _DATASET_OF[suffix] for suffix in (".tar", *_TABLES)}
"""The suffix of a file of a folder -> the dataset that reads the folder."""
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8)


def as_dataset(data: Any) -> Dataset:
    """Return a dataset for a name, a table, arrays, or a dataset.

    Arguments:
        data: one of the following:

            - a `Dataset`, which is returned;
            - a registered name (`"digits"`), or a table (`{"name": "toy", "rows": 100}`);
            - the path of a folder of images, for the dataset `folder`, of tar shards (a folder, a
              file, or a pattern), for `shards`, of Arrow or Parquet files, for `arrow`, or of a
              `.npy` or `.npz` file, for `npy`;
            - an array, which becomes the column `x`;
            - a mapping of arrays, which become columns of one group;
            - a pair (train, test) of arrays or mappings;
            - a pair (images, labels), where labels are `(N,)` or `(N, 1)`: the columns x and y;
            - a map-style torch dataset, whose items are x, (x, y), or mappings of columns;
            - a list of Pillow images of one size.

            Arrays are tensors or numpy arrays, including memory-mapped ones: `(N, D)`, `(N, H, W)`
            (a channel axis is added), or `(N, C, H, W)`. They hold uint8 levels, floats (images in
            [0, 1]), or a table of integers `(N, D)`, which becomes floats. Any other
            `genzoo.contract.Column` can take the place of an array.

            A column named y of shape `(N,)` holds labels, as do whole numbers, truth values, or
            text `(N, 1)`. Arrays or lists of them become int64 `(N,)`. Text is numbered in the
            order of the different labels, which become `class_names`.

    Raises:
        DataError: `data` is none of these, or it has invalid values, axes, or types.
        MissingDataError: there is no such path.
        SettingError: there is no such name or setting.

    Example:
        >>> as_dataset(torch.rand(10, 28, 28)).shape
        (1, 28, 28)
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, os.PathLike | str) and (table := table_of(data)):
        return build(table, "datasets", slot="data")
    if isinstance(data, os.PathLike | str):
        check_name(data)
    if isinstance(data, str) or (isinstance(data, Mapping) and isinstance(data.get("name"), str)):
        return build(data, "datasets", slot="data")
    if not isinstance(data, tuple):
        return dataset_of({"train": data})
    if len(data) != 2:
        raise DataError(
            f"data: a tuple of {len(data)}; a tuple is (train, test), columns are a mapping "
            "{'x': ..., 'y': ...}."
        )
    if is_items(data[0]) and not is_items(data[1]):
        data = (_open_items(data[0], "data, column 'x'"), data[1])
    if is_pair(*data):
        x, y = data[0], np.asarray(data[1]) if isinstance(data[1], list) else data[1]
        if len(x) != len(y):
            raise DataError(
                f"data: a pair of {len(x):,} examples and {len(y):,} labels; each example needs a "
                "label."
            )
        y = y.reshape(-1) if isinstance(y, Tensor | np.ndarray) else y
        return dataset_of({"train": {"x": x, "y": y}})
    return dataset_of({"train": data[0], "test": data[1]})


def check_name(name: str | os.PathLike[str]) -> None:
    """Check that something that is not the path of data is the name of a dataset.

    Raises:
        MissingDataError: it is a path at which there are no data.
        SettingError: there is no such dataset.
    """
    if isinstance(name, os.PathLike) or _is_path(name):
        full = local_path(name, "data", DataError).absolute()
        problem = "is not a kind of file that can be read" if full.exists() else "is missing"
        raise MissingDataError(
            f"data: {full} {problem}; a path is a folder of images, tar shards "
            "(*.tar), tables (*.arrow, *.feather, *.parquet), or arrays (*.npy, *.npz)."
        )
    datasets = registry("datasets")
    if not datasets.registrations_of(name):
        raise SettingError(
            f"No dataset named {shorten(name)!r}, and no file or folder with this name."
            f"{did_you_mean(name, datasets.available())}"
        )


def dataset_of(splits: Mapping[str, Any]) -> Dataset:
    """Return the dataset of the arrays of each split, in the forms that `as_dataset` takes.

    Raises:
        DataError: some values, axes, or types are invalid.

    Example:
        >>> dataset_of({"train": {"x": torch.rand(2, 3), "y": ["cat", "dog"]}}).class_names
        ('cat', 'dog')
    """
    opened = {split: _open(data, split) for split, data in splits.items()}
    labels, names = read_labels(
        {
            f"data, {split}, column 'y'": columns["y"]
            for split, columns in opened.items()
            if "y" in columns and are_labels(columns["y"])
        }
    )
    read: dict[str, Any] = {
        split: {
            name: _column(labels.get(path := f"data, {split}, column {name!r}", column), path)
            for name, column in columns.items()
        }
        for split, columns in opened.items()
    }
    return Dataset(
        **read,
        metadata={"class_names": names} if names else {},
    )


def is_folder(name: Any) -> bool:
    """Return whether a text or path is that of a folder, and not the name of a dataset.

    Example:
        >>> is_folder("digits"), is_folder(getfixture("tmp_path"))
        (False, True)
    """
    try:
        return name not in registry("datasets") and Path(name).expanduser().is_dir()
    # an unknown user, or a name that is too long
    except (RuntimeError, OSError, ValueError):
        return False


def _is_path(text: str) -> bool:
    """Return whether a text is a path, rather than a misspelled name."""
    return text not in registry("datasets") and (os.sep in text or os.path.lexists(text))


def table_of(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the table of the dataset for a path, or None for the name of a dataset.

    Raises:
        SettingError: a folder holds files of several datasets.

    Example:
        >>> table_of("pictures-{000..099}.tar")
        {'name': 'shards', 'path': 'pictures-{000..099}.tar'}
    """
    text = os.fspath(path)
    if is_folder(path):
        return {"name": _kind_of_folder(Path(path).expanduser()), "path": text}
    name = _DATASET_OF.get(Path(text).suffix)
    return {"name": name, "path": text} if name else None


def _kind_of_folder(folder: Path) -> str:
    """Return the name of the dataset that reads a folder, by the suffixes of two levels.

    Raises:
        SettingError: there are files of several datasets.
    """
    first: dict[str, Path] = {}
    for pattern in ("*", "*/*"):
        for file in folder.glob(pattern):
            inside = file.relative_to(folder)
            if any(part.startswith(".") for part in inside.parts):
                continue
            is_image = file.suffix.lower() in SUFFIXES
            if kind := "folder" if is_image else _FOLDER_OF.get(file.suffix):
                first.setdefault(kind, inside)
    if len(first) > 1:
        files = " and ".join(f"{file} ({kind})" for kind, file in first.items())
        names = " or ".join(f'"{kind}"' for kind in first)
        raise SettingError(
            f"{folder} holds files of several datasets, {files}; choose one, as in "
            f'{{"name": "{next(iter(first))}", "path": "{folder}"}}. The name is {names}.'
        )
    return next(iter(first), "folder")


def as_tensor(column: Any, name: str) -> Tensor:
    """Return a tensor that shares the memory of an array; memory-mapped arrays stay mapped.

    Arrays of a foreign byte order and reversed ones are copied.

    Arguments:
        column: a tensor or a numpy array.
        name: the name of the column in error messages.

    Raises:
        DataError: `column` is not an array, or torch does not support its type.
    """
    if isinstance(column, Tensor):
        check_dense(column, name)
        return column.detach()
    if isinstance(column, np.ma.MaskedArray):
        raise DataError(
            f"{name} is a masked array, and a model has no values for what is masked; fill it, as "
            "in x.filled(0), or leave out the rows that have masked values."
        )
    if not isinstance(column, np.ndarray):
        way = "pass a torch tensor or a numpy array"
        if isinstance(column, list):
            stack = "torch.stack(x)" if column and isinstance(column[0], Tensor) else "np.stack(x)"
            way = f"pass one array of all rows, as in {stack}"
        raise DataError(f"{name} is a {type(column).__name__}; {way}.")
    if column.dtype.kind not in "biufc":
        raise DataError(
            f'{name} holds {column.dtype}; convert it to numbers, as in x.astype("float32").'
        )
    if not column.dtype.isnative:
        column = column.astype(column.dtype.newbyteorder("="))
    if any(stride < 0 for stride in column.strides):
        column = column.copy()
    try:
        # A read-only array is fine, because columns are never written to.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(column)
    # A type such as longdouble.
    except (TypeError, ValueError) as error:
        reason = str(error).split(". ")[0]
        raise DataError(
            f"{name}: torch does not support this array of {column.dtype} ({reason})."
        ) from None


def _open(data: Any, split: str) -> dict[str, Any]:
    """Return the columns of a split by their names; lists of images and items are opened."""
    columns = data if isinstance(data, Mapping) else {"x": data}
    if is_items(data):
        columns = columns_of_items(data, f"data, {split}")
    if unnamed := [name for name in columns if not isinstance(name, str)]:
        raise DataError(
            f"data, {split}: {show(unnamed[0])} names a column; names are text, as in "
            "{'x': ..., 'y': ...}."
        )
    return {
        name: _open_items(array, f"data, {split}, column {name!r}")
        for name, array in columns.items()
    }


def _open_items(array: Any, name: str) -> Any:
    """Return the column of a list of images; anything else is returned unchanged."""
    return columns_of_items(array, name)["x"] if is_items(array) else array


def _column(array: Any, name: str) -> Any:
    """Return a column for an array, with a channel axis; memory maps stay NumPy arrays."""
    if not isinstance(array, Tensor | np.ndarray) and isinstance(array, Column):
        return _other_column(array, name)
    stand_in = array
    if isinstance(array, np.ndarray) and not in_memory(array):
        # without values, because a memory map of a foreign byte order would be copied
        stand_in = np.broadcast_to(np.zeros((), array.dtype.newbyteorder("=")), array.shape)
    x = as_tensor(stand_in, name)
    if x.ndim == 2 and x.dtype in _INTEGERS:
        return as_tensor(array, name).to(torch.get_default_dtype())
    _check_axes(x, name, "permute" if isinstance(array, Tensor) else "transpose")
    column = x if in_memory(array) else array
    return column[:, None] if x.ndim == 3 else column


def _other_column(column: Any, name: str) -> Any:
    """Return a column that is not an array, once its type and axes are checked."""
    check_column(name, column)
    dtype = column.dtype
    if not isinstance(dtype, torch.dtype):
        dtype = as_tensor(np.empty(0, dtype), name).dtype
    axes = tuple(column.shape)
    if len(axes) == 3 or (len(axes) == 2 and dtype in _INTEGERS):
        raise DataError(
            f"{name} is a {type(column).__name__} of {str(dtype).removeprefix('torch.')} {axes}; "
            "its rows should be (C, H, W) for images, or floats (D,) for a table. Reshape or "
            "convert the rows when they are read."
        )
    _check_axes(torch.empty((0, *axes[1:]), dtype=dtype), name, "transpose")
    return column


def _check_axes(x: Tensor, name: str, method: str) -> None:
    """Check the type and the axes of a column.

    Arguments:
        x: the column.
        name: its name in messages.
        method: the method that moves its channel axis.
    """
    axes = tuple(x.shape)
    dtypes: tuple[torch.dtype, ...] = (torch.uint8, *_FLOATS)
    allowed = "uint8 or floats in [0, 1]"
    if len(axes) < 3:
        dtypes = (*dtypes, *_INTEGERS)
        allowed = "uint8 levels, floats, or integers for labels"
    if x.dtype not in dtypes:
        raise DataError(f"{name} holds {str(x.dtype).removeprefix('torch.')}: use {allowed}.")
    if len(axes) == 4 and axes[1] not in _CHANNELS and axes[3] in _CHANNELS:
        raise DataError(
            f"{name} has its channels last, {axes}; images are (N, C, H, W): pass "
            f"x.{method}(0, 3, 1, 2)."
        )
    if len(axes) not in (1, 2, 3, 4):
        raise DataError(
            f"{name} has the shape {axes}; it should be (N, D), (N, H, W) or (N, C, H, W), or (N,) "
            "for labels."
        )
