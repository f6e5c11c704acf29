"""Arrays that a program already holds, as a data set."""

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
    """A data set from whatever names or holds one.

    Arguments:
        data: a `Dataset`; a registered name (`"digits"`) or a table (`{"name": "toy", "distribution": "moons"}`); an array, which becomes
            the column `x`; a mapping of arrays, which become columns of one group; or a pair (train, test) of either. Arrays are
            tensors or numpy arrays, memory-mapped ones included: `(N, D)`, `(N, H, W)`, which gains a channel axis, or
            `(N, C, H, W)`; uint8 levels, floats (images in [0, 1]), or integers for labels.

    Raises:
        DataError: what was handed in is none of these, or its values, its axes or its type are unfit.
        SettingError: no such name or setting.

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
            f"data: a tuple of {len(data)}; a tuple is (train, test), columns are a mapping {{'x': ..., 'y': ...}}."
        )
    train, test = (
        _columns(part, split) for part, split in zip(data, ("train", "test"), strict=True)
    )
    return Dataset(train, test)


def as_tensor(column: Any, place: str) -> Tensor:
    """A tensor over the memory of an array, copying nothing: what is memory-mapped stays so.

    Arguments:
        column: a tensor or a numpy array.
        place: what messages call it.

    Raises:
        DataError: it is no array, or torch cannot hold its type.
    """
    if isinstance(column, Tensor):
        check_dense(column, place)
        return column.detach()
    if not isinstance(column, np.ndarray):
        raise DataError(
            f"{place} is a {type(column).__name__}; hand in a torch tensor or a numpy array."
        )
    try:
        with warnings.catch_warnings():  # a read-only array is fine, for nobody writes to a column
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(column)
    except (
        TypeError,
        ValueError,
    ) as error:  # objects and strings, a foreign byte order, a reversed axis
        raise DataError(
            f"{place}: torch cannot hold this array of {column.dtype} ({str(error).split('. ')[0]})."
        ) from None


def _columns(data: Any, split: str) -> dict[str, Tensor]:
    columns = data if isinstance(data, Mapping) else {"x": data}
    if unnamed := [name for name in columns if not isinstance(name, str)]:
        raise DataError(
            f"data, {split}: {show(unnamed[0])} names a column; names are text, as in {{'x': ..., 'y': ...}}."
        )
    return {
        name: _column(array, f"data, {split}, column {name!r}") for name, array in columns.items()
    }


def _column(array: Any, place: str) -> Tensor:
    x = as_tensor(array, place)
    axes = tuple(x.shape)
    image = x.ndim >= 3
    if x.dtype not in (torch.uint8, *_FLOATS, *(() if image else _INTEGERS)):
        allowed = (
            "uint8 or floats in [0, 1]" if image else "uint8 levels, floats, or integers for labels"
        )
        raise DataError(f"{place} holds {str(x.dtype).removeprefix('torch.')}: use {allowed}.")
    if x.ndim == 4 and axes[1] not in (1, 3, 4) and axes[3] in (1, 3, 4):
        way = "permute" if isinstance(array, Tensor) else "transpose"
        raise DataError(
            f"{place} has its channels last, {axes}; images are (N, C, H, W): hand in x.{way}(0, 3, 1, 2)."
        )
    if x.ndim not in (1, 2, 3, 4):
        raise DataError(
            f"{place} has the shape {axes}; it should be (N, D), (N, H, W) or (N, C, H, W), or (N,) for labels."
        )
    return x[:, None] if x.ndim == 3 else x
