"""Held-out examples, and samples to compare them with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from genzoo.contract import Batch

__all__ = ["with_samples"]


def with_samples(model: Any, batches: Iterable[Batch]) -> Iterator[tuple[Any, Any]]:
    """Yield the examples of each batch, and as many samples under the same conditions.

    Arguments:
        model: a model; its conditions, if any, are columns of the batches.
        batches: held-out batches, as `loss` receives them.
    """
    for batch in batches:
        x, given = model.unpack(batch)
        condition = () if given is None else (given,)
        yield x, model.sample(len(x), *condition)
