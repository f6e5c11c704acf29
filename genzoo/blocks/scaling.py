"""The two ranges of images: [0, 1] outside a model, and [-1, 1], the range of tanh, inside."""

from __future__ import annotations

from torch import Tensor

__all__ = ["from_tanh_range", "to_tanh_range"]


def to_tanh_range(x: Tensor) -> Tensor:
    """Map [0, 1] to [-1, 1].

    Example:
        >>> import torch
        >>> to_tanh_range(torch.tensor([0.0, 0.75, 1.0]))
        tensor([-1.0000,  0.5000,  1.0000])
    """
    return 2 * x - 1


def from_tanh_range(x: Tensor) -> Tensor:
    """Map [-1, 1] to [0, 1]; the inverse of `to_tanh_range`.

    Example:
        >>> import torch
        >>> from_tanh_range(torch.tensor([-1.0, 0.5, 1.0]))
        tensor([0.0000, 0.7500, 1.0000])
    """
    return (x + 1) / 2
