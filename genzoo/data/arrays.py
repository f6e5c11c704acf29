"""Arrays in memory as a dataset."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.contract.dataset import Dataset, check_dense
from genzoo.errors import DataError, show
from genzoo.registry.build import build

__all__ = ["as_dataset", "as_tensor"]

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8)


def as_dataset(data: Any) -> Dataset:
    """Return a dataset for a name, a table, arrays, or a dataset.

    Arguments:
        data: one of the following:

            - a `Dataset`, which is returned;
            - a registered name (`"digits"`), or a table (`{"name": "toy", "rows": 100}`);
            - an array, which becomes the column `x`;
            - a mapping of arrays, which become columns of one group;
            - a pair (train, test) of arrays or mappings.

            Arrays are tensors or numpy arrays, including memory-mapped ones: `(N, D)`, `(N, H, W)`
            (a channel axis is added), or `(N, C, H, W)`. They hold uint8 levels, floats (images in
            [0, 1]), or integers for labels.

    Raises:
        DataError: `data` is none of these, or it has invalid values, axes, or types.
        SettingError: there is no such name or setting.

    Example:
        >>> as_dataset(torch.rand(10, 28, 28)).shape
        (1, 28, 28)
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str) or (isinstance(data, Mapping) and isinstance(data.get("name"), str)):
        return build(data, "datasets", slot="data")
    if not isinstance(data, tuple):
        return Dataset(_columns(data, "train"))
    if len(data) != 2:
        raise DataError(
            f"data: a tuple of {len(data)}; a tuple is (train, test), columns are a mapping "
            "{'x': ..., 'y': ...}."
        )
    train, test = (
        _columns(part, split) for part, split in zip(data, ("train", "test"), strict=True)
    )
    return Dataset(train, test)


def as_tensor(column: Any, name: str) -> Tensor:
    """Return a tensor that shares the memory of an array; memory-mapped arrays stay mapped.

    Arguments:
        column: a tensor or a numpy array.
        name: the name of the column in error messages.

    Raises:
        DataError: `column` is not an array, or torch does not support its type.
    """
    if isinstance(column, Tensor):
        check_dense(column, name)
        return column.detach()
    if not isinstance(column, np.ndarray):
        raise DataError(
            f"{name} is a {type(column).__name__}; pass a torch tensor or a numpy array."
        )
    try:
        # A read-only array is fine, because columns are never written to.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(column)
    # Objects and strings, a foreign byte order, or a reversed axis.
    except (TypeError, ValueError) as error:
        reason = str(error).split(". ")[0]
        raise DataError(
            f"{name}: torch does not support this array of {column.dtype} ({reason})."
        ) from None


def _columns(data: Any, split: str) -> dict[str, Tensor]:
    columns = data if isinstance(data, Mapping) else {"x": data}
    if unnamed := [name for name in columns if not isinstance(name, str)]:
        raise DataError(
            f"data, {split}: {show(unnamed[0])} names a column; names are text, as in "
            "{'x': ..., 'y': ...}."
        )
    return {
        name: _column(array, f"data, {split}, column {name!r}") for name, array in columns.items()
    }


def _column(array: Any, name: str) -> Tensor:
    x = as_tensor(array, name)
    axes = tuple(x.shape)
    dtypes: tuple[torch.dtype, ...] = (torch.uint8, *_FLOATS)
    allowed = "uint8 or floats in [0, 1]"
    if x.ndim < 3:
        dtypes = (*dtypes, *_INTEGERS)
        allowed = "uint8 levels, floats, or integers for labels"
    if x.dtype not in dtypes:
        raise DataError(f"{name} holds {str(x.dtype).removeprefix('torch.')}: use {allowed}.")
    if x.ndim == 4 and axes[1] not in (1, 3, 4) and axes[3] in (1, 3, 4):
        method = "permute" if isinstance(array, Tensor) else "transpose"
        raise DataError(
            f"{name} has its channels last, {axes}; images are (N, C, H, W): pass "
            f"x.{method}(0, 3, 1, 2)."
        )
    if x.ndim not in (1, 2, 3, 4):
        raise DataError(
            f"{name} has the shape {axes}; it should be (N, D), (N, H, W) or (N, C, H, W), or (N,) "
            "for labels."
        )
    return x[:, None] if x.ndim == 3 else x
