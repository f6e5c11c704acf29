"""The values of samples of other programs: their axes, their type, and their range."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genzoo.contract import Shape, is_image
from genzoo.errors import DataError

__all__ = ["check_values", "oriented", "scaled"]

_ROUNDING = 1e-4
"""The largest distance of a float image to its range that counts as a rounding error."""


def oriented(x: Tensor, shape: Shape, source: str, data: str) -> Tensor:
    """Return samples in the order of the data's axes, `(n, *shape)`.

    Raises:
        DataError: there are none, or they have another shape.
    """
    row = tuple(x.shape[1:])
    if x.dim() == len(shape) + 1 and row != tuple(shape) and is_image(shape):
        channels_last = (*shape[1:], shape[0])
        x = x.permute(0, 3, 1, 2) if row == channels_last else x
    elif row == tuple(shape[1:]) and is_image(shape) and shape[0] == 1:
        x = x[:, None]
    if tuple(x.shape[1:]) != tuple(shape):
        raise DataError(
            f"{source} holds samples of shape {row}, but {data} has examples of shape "
            f"{tuple(shape)}; resize the samples, or compare with data of their shape."
        )
    if not len(x):
        raise DataError(f"{source} holds no samples.")
    return x


def check_values(
    x: Tensor,
    value_range: tuple[float, float] | None,
    shape: Shape,
    source: str,
    levels: int,
) -> None:
    """Check the type and the range of samples.

    Raises:
        DataError: they are not uint8 or floats, not finite, or images outside their range.
    """
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise DataError(
            f"{source} holds {str(x.dtype).removeprefix('torch.')}; save uint8 (0 to 255) or "
            "floats (0 to 1)."
        )
    low, high = x.min().item(), x.max().item()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{source} holds a value that is not finite; leave such samples out.")
    if not is_image(shape):
        return
    span = f"{source}: the values span {low:g} to {high:g}"
    if value_range is not None:
        least, most = value_range
        slack = _ROUNDING * (most - least)
        if low < least - slack or high > most + slack:
            raise DataError(f"{span}, which exceeds value_range = ({least:g}, {most:g}).")
    elif x.dtype == torch.uint8:
        # Levels of the data, or bits, would look almost black.
        most = levels - 1 if levels < 256 else 1
        if 0 < high <= most:
            # Data of levels may be binarized, so zeros and ones are bits.
            most = 1 if high <= 1 else most
            raise DataError(
                f"{span}, but uint8 stands for 0 to 255; state the range, as in value_range=(0, "
                f"{most}) (--range 0 {most})."
            )
    elif low < -_ROUNDING or high > 1 + _ROUNDING:
        guess = "(-1, 1) (--range -1 1)" if low < -_ROUNDING else "(0, 255) (--range 0 255)"
        raise DataError(
            f"{span}, but float images are in [0, 1]; state their range, as in value_range={guess}."
        )


def scaled(x: Tensor, value_range: tuple[float, float] | None, shape: Shape) -> Tensor:
    """Return samples as float32; images are in [0, 1]."""
    low, high = value_range or (0.0, 255.0 if x.dtype == torch.uint8 else 1.0)
    values = (x.to(torch.float32) - low) / (high - low)
    return values.clamp_(0, 1) if is_image(shape) else values
