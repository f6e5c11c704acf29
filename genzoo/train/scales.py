"""Unscaled data, the usual cause of losses that explode on tables."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from genzoo.contract import Batch

_LARGEST = 50.0
"""A value that standardized columns rarely have."""
_SPAN = 100.0
"""A ratio of standard deviations that standardized columns never have."""


@torch.no_grad()
def unscaled(batch: Batch) -> str | None:
    """Say in words that a batch is of unscaled data, and what to do; None if it is not.

    Arguments:
        batch: what a loss gets: `(batch, *shape)`, or a mapping of such tensors.
    """
    columns = batch if isinstance(batch, Mapping) else {"the data": batch}
    for name, column in columns.items():
        if column.is_floating_point() and (
            words := _words(name, column.detach().double().flatten(1))
        ):
            return words
    return None


def _words(name: str, x: Tensor) -> str | None:
    spreads = x.std(0, correction=0)
    spreads = spreads[(spreads > 0) & spreads.isfinite()]
    largest = float(x.abs().max())
    low, high = (float(spreads.min()), float(spreads.max())) if len(spreads) else (1.0, 1.0)
    if largest <= _LARGEST and high < _SPAN * low:
        return None
    differ = (
        f" and its columns have standard deviations from {low:.1g} to {high:.1g}"
        if high >= _SPAN * low
        else ""
    )
    power = (
        f", which differ in scale by 10^{round(torch.tensor(high / low).log10().item())}"
        if differ
        else ""
    )
    return (
        f"The likely cause is unscaled data: the largest |value| in a batch of {name} is {largest:.3g}{differ}{power}. "
        "Standardize each column and train on that, as in x = (x - x.mean(0)) / x.std(0).clamp(min=1e-6)."
    )
