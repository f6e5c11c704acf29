"""The validation split: rows on which training is monitored, and which are not trained on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from genzoo.contract.dataset import Dataset
from genzoo.data.arrays import as_tensor
from genzoo.distributed.random_state import seed_for
from genzoo.errors import DataError

__all__ = ["set_aside"]


def set_aside(dataset: Dataset, fraction: float) -> Dataset:
    """Return a dataset with a validation split.

    A dataset that has this split is returned unchanged. Otherwise a fraction of the training rows,
    rounded to the nearest number, moves to the split. The rows are chosen at random with a fixed
    seed, so every run of a dataset has the same ones, whatever the seed of the run. The columns of
    a group stay together.

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
        generator = torch.Generator().manual_seed(seed_for("validation", number))
        order = torch.randperm(rows, generator=generator)
        for name in group:
            column = as_tensor(dataset.train[name], f"{dataset.name}, train, column {name!r}")
            validation[name] = _rows(column, order[:held])
            train[name] = _rows(column, order[held:])
    return replace(dataset, train=train, validation=validation)


def _rows(column: Tensor, numbers: Tensor) -> Tensor:
    """Return rows of a column in their stored order."""
    return column.index_select(0, numbers.sort().values.to(column.device))
