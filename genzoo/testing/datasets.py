"""What every data set must do: rows that the trainer can read, and the same ones each time."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import torch

from genzoo.contract import Dataset, is_image
from genzoo.data.arrays import as_tensor
from genzoo.data.stream import Stream, once
from genzoo.errors import MissingDataError, SettingError
from genzoo.registry.build import build, config
from genzoo.testing.subject import Subject, close, demand

_CPU = torch.device("cpu")
_ROWS = 16


def dataset(subject: Subject, seed: int = 0) -> Any:
    """Return the dataset; skip the test if its files are missing on this machine."""
    try:
        return subject(seed)
    except MissingDataError as error:
        raise SkipTest(str(error)) from error


def check_builds(subject: Subject) -> None:
    """It is a `Dataset` with rows of a shape."""
    data = dataset(subject)
    demand(isinstance(data, Dataset), f"{type(data).__name__} is not a genzoo.Dataset")
    demand(
        data.rows("train") > 0 and len(data.shape) > 0,
        f"it has {data.rows('train')} rows of shape {data.shape}",
    )


def check_batches(subject: Subject) -> None:
    """The trainer reads batches of every column from it, of the shapes that it states; images are in [0, 1]."""
    data = dataset(subject)
    for name, column in data.train.items():
        n = min(_ROWS, len(column))
        batch = next(Stream(data, (name,), n, seed=0, device=_CPU).batches())
        _check_batch(data, name, batch, n)


def check_held_out(subject: Subject) -> None:
    """Its held-out rows can be read in order; at every reading they are the same."""
    data = dataset(subject)
    if not data.test:
        raise SkipTest("it holds no rows out")
    for name in data.test:
        one, two = (_read(data, name) for _ in range(2))
        demand(len(one) > 0, f"column {name!r} of the test split has no rows")
        if name in data.train:
            _check_batch(data, name, one[0], len(one[0]))
        for first, second in zip(one, two, strict=True):
            close(
                {"rows": first}, {"rows": second}, f"column {name!r} differs when it is read again"
            )


def check_same_again(subject: Subject) -> None:
    """Built again, it has the same rows, whatever the caller's random state."""
    one, two = dataset(subject), dataset(subject, seed=1)
    for split in ("train", "test"):
        columns, again = getattr(one, split), getattr(two, split)
        demand(columns.keys() == again.keys(), f"built again, its {split} split has other columns")
        for name in columns:
            left, right = columns[name], again[name]
            same = len(left) == len(right) and _rows_equal(left, right)
            demand(
                same,
                f"built again, column {name!r} of its {split} split has other rows; seed a generator of its own",
            )


def check_config(subject: Subject) -> None:
    """Built by name, its configuration builds a data set of the same shape and length again."""
    data = dataset(subject)
    try:
        table = config(data)
    except SettingError:
        raise SkipTest("it was not built by a registered name") from None
    again = build(table, "datasets")
    same = (again.shape, again.rows("train")) == (data.shape, data.rows("train"))
    demand(
        same, f"what is rebuilt from {table} has {again.rows('train')} rows of shape {again.shape}"
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
            f"column {name!r} spans {low:g} to {high:g} as {batch.dtype}; images are floats in [0, 1]",
        )


def _rows_equal(left: Any, right: Any) -> bool:
    """The first and the last rows, as the rest may be large."""
    ends = (slice(1000), slice(-1000, None))
    return all(
        torch.equal(as_tensor(left[end], "rows"), as_tensor(right[end], "rows")) for end in ends
    )


ALWAYS = (check_builds, check_batches, check_held_out, check_same_again, check_config)
