"""The base class of metrics for models with one input and perhaps a condition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from genzoo.contract import Metric

__all__ = ["OneInput", "first_rows"]


class OneInput(Metric):
    """A metric for models of one input, `x`, and perhaps a condition, such as a label.

    With several inputs otherwise, it would be unclear which one to measure.
    """

    def lacking(self, model: Any) -> list[str]:
        lacking = super().lacking(model)
        conditional = tuple(model.inputs) == ("x", *getattr(model, "given", ()))
        if len(model.inputs) > 1 and not conditional:
            lacking.append("a single input")
        return lacking


def first_rows(
    batches: Iterable[tuple[Tensor, Mapping[str, Any]]], limit: int
) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Yield the first rows of examples and of their conditions, at most `limit` in all.

    Example:
        >>> import torch
        >>> batches = [(torch.zeros(4, 2), {"given": torch.arange(4)})] * 3
        >>> [len(x) for x, _ in first_rows(batches, 6)]
        [4, 2]
    """
    left = limit
    for x, condition in batches:
        rows = x[:left]
        yield rows, {name: _first(column, left) for name, column in condition.items()}
        left -= len(rows)
        if not left:
            return


def _first(column: Any, n: int) -> Any:
    """Return the first rows of a condition, a tensor or a mapping to tensors."""
    if isinstance(column, Mapping):
        return {name: values[:n] for name, values in column.items()}
    return column[:n]
