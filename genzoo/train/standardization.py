"""Standardize tables, and warn about columns whose scales differ by orders of magnitude."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from genzoo.contract import Dataset, Model, generated_columns
from genzoo.contract.column import dtype_name
from genzoo.contract.standardize import standardize
from genzoo.data.stream import once
from genzoo.errors import DataError, SettingError

__all__ = ["column_statistics", "standardize_for"]

_CHUNK = 65_536
_RATIO = 100.0
"""The ratio of standard deviations from which scales differ by orders of magnitude."""
_INSPECTED = 10_000
"""The number of rows on which the scales are compared."""


def standardize_for(model: Model, dataset: Dataset, dtype: torch.dtype) -> None:
    """Standardize a model with the statistics of its data, if the dataset asks for it.

    Without this setting, warn if the columns of a table have very different scales. A model that
    is standardized already, such as a trained one, keeps its statistics.

    Arguments:
        model: the model.
        dataset: the dataset.
        dtype: the dtype of the run, in which the model reads the data.

    Raises:
        SettingError: the data are not a table of real numbers, or the model takes discrete values.
        DataError: as in `column_statistics`.
    """
    columns = generated_columns(model)
    column = columns[0] if columns else next(iter(dataset.train))
    if column not in dataset.train:
        return
    stored = dataset.train[column]
    is_real = dtype_name(stored).startswith("float")
    is_table = is_real and len(stored.shape) == 2 and not dataset.binarize
    if model.is_standardized or (not is_table and not dataset.standardize):
        return
    if not dataset.standardize:
        _warn_of_scales(dataset, column)
        return
    if not is_table or len(columns) > 1:
        is_integer = not is_real and len(stored.shape) == 2
        advice = f"convert it, as in {column}.float(), or leave it out" * is_integer
        raise SettingError(
            f"standardize = true: {dataset.name} is not a single table of real numbers, (N, D); "
            f"its column {column!r} is {dtype_name(stored)} of shape {tuple(stored.shape)}; "
            f"{advice or 'leave it out'}."
        )
    if model.is_discrete:
        raise SettingError(
            f"standardize = true: {type(model).__name__} models discrete values; leave it out."
        )
    standardize(model, *column_statistics(dataset, column, dtype), dtype)


def column_statistics(
    dataset: Dataset, column: str, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each column of a table, in double precision.

    The standard deviation of a column whose values are all equal counts as 1.

    Arguments:
        dataset: the dataset.
        column: the name of the table.
        dtype: the dtype in which a model reads the table.

    Raises:
        DataError: rounded to this dtype, the values of a column hardly differ.
    """

    def batches() -> Iterator[Tensor]:
        return _rows(dataset, column, _CHUNK)

    n, total = 0, torch.zeros(())
    low, high = torch.tensor(torch.inf), torch.tensor(-torch.inf)
    for x in batches():
        n, total = n + len(x), total + x.sum(0)
        low, high = torch.minimum(low, x.amin(0)), torch.maximum(high, x.amax(0))
    mean = total / n
    squares = sum(((x - mean).square().sum(0) for x in batches()), torch.zeros_like(mean))
    scale = (squares / n).sqrt()
    is_constant = (low == high) | (scale == 0)
    lost = ~is_constant & (scale < torch.finfo(dtype).eps * mean.abs())
    if lost.any():
        i = int(lost.nonzero()[0])
        precise = "" if dtype == torch.float64 else ', or set precision = "64-true"'
        raise DataError(
            f"{dataset.name}: column {i} of {column} has the mean {mean[i]:.6g} and the standard "
            f"deviation {scale[i]:.2g}, which {str(dtype).removeprefix('torch.')} cannot resolve; "
            f"subtract an offset from it in double precision{precise}."
        )
    return torch.where(is_constant, low, mean), torch.where(is_constant, 1.0, scale)


def _rows(dataset: Dataset, column: str, size: int) -> Iterator[Tensor]:
    """Yield the rows of a table in double precision, `size` at a time."""
    device = torch.device("cpu")
    batches = once(dataset, (column,), size, device=device, split="train", dtype=torch.float64)
    for x in batches:
        assert isinstance(x, Tensor)
        yield x


def _warn_of_scales(dataset: Dataset, column: str) -> None:
    """Warn if the scales of columns differ, unless all values are in [0, 1]."""
    x = next(_rows(dataset, column, _INSPECTED))
    if x.shape[1] < 2 or (x.min() >= 0 and x.max() <= 1):
        return
    deviations = x.std(0, correction=0)
    low = int(torch.where(deviations > 0, deviations, torch.inf).argmin())
    high = int(deviations.argmax())
    if deviations[low] > 0 and deviations[high] >= _RATIO * deviations[low]:
        warnings.warn(
            f"{dataset.name}: the scales of the columns of {column} differ by orders of magnitude: "
            f"the standard deviation of column {low} is {deviations[low]:.2g}, and that of column "
            f"{high} is {deviations[high]:.2g}. Set standardize = true, as in Dataset(..., "
            "standardize=True).",
            stacklevel=4,
        )
