"""Estimates with standard errors, and the checks that functions of two samples share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genzoo.errors import DataError

__all__ = ["Estimate", "as_features"]


class Estimate(NamedTuple):
    """An estimate and its standard error."""

    value: float
    """The estimate."""
    standard_error: float | None = None
    """The standard error, or None if there are too few examples to estimate it."""


def as_features(
    *samples: Tensor, least: int = 2, equal: bool = False, names: str = "x, y"
) -> tuple[Tensor, ...]:
    """Return samples as float64 matrices on the CPU, `(n, dim)`, after checks.

    Arguments:
        *samples: samples, `(n, ...)`; images are flattened.
        least: the smallest number of rows.
        equal: True if all samples need the same number of rows.
        names: the names of the samples in messages.

    Raises:
        DataError: a sample has too few rows or a value that is not finite, or the samples have
            different numbers of features or, if `equal`, of rows.
    """
    matrices = tuple(sample.detach().cpu().double().reshape(len(sample), -1) for sample in samples)
    for name, matrix in zip(names.split(", "), matrices, strict=True):
        if len(matrix) < least:
            raise DataError(f"{name} has {len(matrix)} examples, but at least {least} are needed.")
        if not matrix.isfinite().all():
            raise DataError(f"{name} has values that are not finite; remove those examples.")
    dims = [matrix.shape[1] for matrix in matrices]
    if len(set(dims)) > 1:
        raise DataError(f"{names} have {show(dims)} features, but the numbers must be equal.")
    rows = [len(matrix) for matrix in matrices]
    if equal and len(set(rows)) > 1:
        raise DataError(f"{names} have {show(rows)} examples, but the numbers must be equal.")
    return matrices


def show(numbers: list[int]) -> str:
    """Return numbers as words of a message."""
    return ", ".join(f"{number:,}" for number in numbers)


def chunk_rows(columns: int, entries: int) -> int:
    """Return the number of rows of a chunk with about `entries` entries."""
    return max(1, entries // max(1, columns))


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the unbiased covariance of a matrix, `(dim,)` and `(dim, dim)`."""
    mean = x.mean(dim=0)
    centered = x - mean
    return mean, centered.T @ centered / (len(x) - 1)


def variance_of_mean(x: Tensor) -> float:
    """Return the estimated variance of the mean of independent numbers, `(n,)`."""
    return (x.var() / len(x)).item()


def shuffled(n: int, seed: int) -> Tensor:
    """Return a random order of n rows."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))
