"""Unscaled data, the usual cause of losses that explode on tables."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from genzoo.contract import Batch

__all__ = ["unscaled"]

_LARGEST = 50.0
"""A value that standardized columns rarely have."""
_RATIO = 100.0
"""A ratio of standard deviations that standardized columns never have."""


@torch.no_grad()
def unscaled(batch: Batch) -> str | None:
    """Return a message about unscaled data in a batch, with advice; None if the data are scaled.

    Arguments:
        batch: a batch as a loss gets it: `(batch, *shape)`, or a mapping of such tensors.
    """
    columns = batch if isinstance(batch, Mapping) else {"the data": batch}
    for name, column in columns.items():
        if not column.is_floating_point():
            continue
        message = _message(name, column.detach().double().flatten(1))
        if message:
            return message
    return None


def _message(name: str, x: Tensor) -> str | None:
    deviations = x.std(0, correction=0)
    deviations = deviations[(deviations > 0) & deviations.isfinite()]
    largest = float(x.abs().max())
    low = high = 1.0
    if len(deviations):
        low, high = float(deviations.min()), float(deviations.max())
    scales_differ = high >= _RATIO * low
    if largest <= _LARGEST and not scales_differ:
        return None
    details = ""
    if scales_differ:
        power = round(math.log10(high / low))
        details = (
            f" and its columns have standard deviations from {low:.1g} to {high:.1g}, which differ "
            f"in scale by 10^{power}"
        )
    return (
        f"The likely cause is unscaled data: the largest |value| in a batch of {name} is "
        f"{largest:.3g}{details}. Standardize the columns: set standardize = true, as in "
        "Dataset(..., standardize=True)."
    )
