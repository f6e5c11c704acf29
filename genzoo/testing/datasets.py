"""Checks of datasets: the trainer can read their rows, which are the same each time."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import torch

from genzoo.contract import Dataset, is_image
from genzoo.data.columns import open_column
from genzoo.data.stream import Stream, once
from genzoo.errors import MissingDataError, SettingError
from genzoo.registry.build import build
from genzoo.registry.records import config
from genzoo.testing.subject import Subject, close, demand

__all__ = ["ALWAYS"]

_CPU = torch.device("cpu")
_ROWS = 16


def dataset(subject: Subject, seed: int = 0) -> Any:
    """Return the dataset; skip the test if its files are missing on this machine."""
    try:
        return subject(seed)
    except MissingDataError as error:
        raise SkipTest(str(error)) from error


def check_builds(subject: Subject) -> None:
    """Check that it is a `Dataset` with at least one row."""
    data = dataset(subject)
    demand(isinstance(data, Dataset), f"{type(data).__name__} is not a genzoo.Dataset")
    demand(
        data.rows("train") > 0 and len(data.shape) > 0,
        f"it has {data.rows('train')} rows of shape {data.shape}",
    )


def check_batches(subject: Subject) -> None:
    """Check the batches of each column: their shapes, and that images are in [0, 1]."""
    data = dataset(subject)
    for name, column in data.train.items():
        n = min(_ROWS, len(column))
        batch = next(Stream(data, (name,), n, seed=0, device=_CPU).batches())
        _check_batch(data, name, batch, n)


def check_held_out(subject: Subject) -> None:
    """Check that held-out rows can be read in order, and are the same each time."""
    data = dataset(subject)
    if not data.test:
        raise SkipTest("it has no held-out rows")
    for name in data.test:
        batches, again = (_read(data, name) for _ in range(2))
        demand(len(batches) > 0, f"column {name!r} of the test split has no rows")
        if name in data.train:
            _check_batch(data, name, batches[0], len(batches[0]))
        message = f"column {name!r} differs when it is read again"
        for first, second in zip(batches, again, strict=True):
            close({"rows": first}, {"rows": second}, message)


def check_same_again(subject: Subject) -> None:
    """Check that a second build has the same rows, with any random state of the caller."""
    one, two = dataset(subject), dataset(subject, seed=1)
    for split in ("train", "test"):
        columns, again = getattr(one, split), getattr(two, split)
        demand(columns.keys() == again.keys(), f"built again, its {split} split has other columns")
        for name in columns:
            left, right = (open_column(data, split, name) for data in (one, two))
            same = len(left) == len(right) and _rows_equal(left, right)
            demand(
                same,
                f"built again, column {name!r} of its {split} split has other rows; use a seeded "
                "generator",
            )


def check_config(subject: Subject) -> None:
    """Check that its config builds a dataset of the same shape and length again."""
    data = dataset(subject)
    try:
        table = config(data)
    except SettingError:
        raise SkipTest("it was not built from a registered name") from None
    again = build(table, "datasets")
    same = (again.shape, again.rows("train")) == (data.shape, data.rows("train"))
    demand(
        same,
        f"the dataset rebuilt from {table} has {again.rows('train')} rows of shape {again.shape}",
    )


def _read(data: Dataset, name: str) -> list[Any]:
    return list(once(data, (name,), _ROWS, device=_CPU, limit=2 * _ROWS))


def _check_batch(data: Dataset, name: str, batch: Any, n: int) -> None:
    shape = data.shape_of(name)
    demand(
        batch.shape == (n, *shape),
        f"a batch of column {name!r} has shape {tuple(batch.shape)}, not {(n, *shape)}",
    )
    if batch.is_floating_point():
        demand(bool(batch.isfinite().all()), f"column {name!r} is not finite")
    if is_image(shape):
        low, high = batch.min().item(), batch.max().item()
        right = batch.is_floating_point() and low >= 0 and high <= 1
        demand(
            right,
            f"column {name!r} spans {low:g} to {high:g} as {batch.dtype}; images are floats in "
            "[0, 1]",
        )


def _rows_equal(left: Any, right: Any) -> bool:
    """Return True if the first and the last rows are equal; the rest may be large."""
    ends = (slice(1000), slice(-1000, None))
    return all(torch.equal(left[end], right[end]) for end in ends)


ALWAYS = (check_builds, check_batches, check_held_out, check_same_again, check_config)
