"""The base class of metrics for models with one input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from genzoo.contract import Metric

__all__ = ["OneInput", "first_rows"]


class OneInput(Metric):
    """A metric for models with one input, whose batches are tensors.

    With several inputs, it would be unclear which one to measure.
    """

    def lacking(self, model: Any) -> list[str]:
        lacking = super().lacking(model)
        if len(model.inputs) > 1:
            lacking.append("a single input")
        return lacking


def first_rows(batches: Iterable[Tensor], limit: int) -> Iterator[Tensor]:
    """Yield the first rows of batches, at most `limit` in all.

    Example:
        >>> import torch
        >>> [len(x) for x in first_rows(torch.zeros(3, 4, 2), 6)]
        [4, 2]
    """
    left = limit
    for batch in batches:
        rows = batch[:left]
        yield rows
        left -= len(rows)
        if not left:
            return
