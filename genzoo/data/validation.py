"""The validation split: rows on which training is monitored, and which are not trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genzoo.contract.column import in_memory
from genzoo.contract.dataset import Dataset
from genzoo.data.arrays import as_tensor
from genzoo.data.columns import SelectedRows, take
from genzoo.data.order import random_rows
from genzoo.errors import DataError

__all__ = ["set_aside"]


def set_aside(dataset: Dataset, fraction: float) -> Dataset:
    """Return a dataset with a validation split.

    A dataset that has this split is returned unchanged. Otherwise a fraction of the training rows,
    rounded to the nearest number, moves to the split. The rows are chosen at random with a fixed
    seed, so every run of a dataset has the same ones, whatever the seed of the run. The columns of
    a group stay together. Columns outside memory are not copied.

    Arguments:
        dataset: the dataset.
        fraction: the fraction of the training rows, in [0, 1).

    Raises:
        DataError: the fraction gives no validation row, or leaves no training row.

    Example:
        >>> data = set_aside(Dataset({"x": torch.rand(10, 2)}), 0.2)
        >>> data.rows("train"), data.rows("validation")
        (8, 2)
    """
    if dataset.validation:
        return dataset
    train, validation = {}, {}
    for number, group in enumerate(dataset.groups):
        rows = len(dataset.train[group[0]])
        held = round(rows * fraction)
        if not 0 < held < rows:
            raise DataError(
                f"train.validation = {fraction:g} of the {rows:,} training rows of {dataset.name} "
                f"is {held:,} rows; set a fraction that gives at least one row to each split."
            )
        chosen = random_rows(rows, held, "validation", number)
        others = torch.ones(rows, dtype=torch.bool)
        others[chosen] = False
        rest = others.nonzero()[:, 0]
        for name in group:
            validation[name] = _rows(dataset, name, chosen)
            train[name] = _rows(dataset, name, rest)
    return replace(dataset, train=train, validation=validation)


def _rows(dataset: Dataset, name: str, numbers: Tensor) -> Any:
    """Return training rows of a column in their stored order. Only rows in memory are copied."""
    column = dataset.train[name]
    if not in_memory(column):
        return SelectedRows(column, numbers.numpy())
    tensor = as_tensor(column, f"{dataset.name}, train, column {name!r}")
    return take(tensor, numbers.to(tensor.device))
