"""Differentiable augmentation of the images that a critic sees.

With few training images, a critic learns them by heart. If it only sees random changes of real and
generated images, it cannot, and the generator is still trained towards the images without changes,
because each change is invertible in distribution.

References:
    Differentiable Augmentation for Data-Efficient GAN Training, Zhao, Liu, Lin, Zhu and Han, 2020,
        https://arxiv.org/abs/2006.10738; code: https://github.com/mit-han-lab/data-efficient-gans
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from genzoo.data.augment import flipped, per_image, shifted

__all__ = ["Augmentation", "augment"]

Augmentation = Literal["flip", "color", "translation", "cutout"]
"""A random change of images.

- `"flip"` mirrors half of the images. It suits data without writing.
- `"color"` changes brightness, saturation, and contrast.
- `"translation"` moves images by up to an eighth of their size, and fills with 0.
- `"cutout"` sets a square of half the image's size to 0.
"""

_CUTOUT = 1 / 2
"""The side of the square as a share of the image size; the authors' value, as the largest shift."""


def augment(x: Tensor, changes: Iterable[Augmentation]) -> Tensor:
    """Apply random changes to images, each image with its own random numbers.

    The result is differentiable in the images. The random numbers do not depend on ranks or
    microbatches.

    Arguments:
        x: images, `(batch, C, H, W)`, in [-1, 1].
        changes: names of the changes, in the order in which they are applied.

    Returns:
        `(batch, C, H, W)`; color changes may leave the range.

    Example:
        >>> augment(torch.rand(5, 3, 8, 8), ("color", "translation")).shape
        torch.Size([5, 3, 8, 8])
    """
    for change in changes:
        x = _CHANGES[change](x)
    return x


def _recolored(x: Tensor) -> Tensor:
    x = x + per_image(x) - 0.5
    gray = x.mean(dim=1, keepdim=True)
    x = gray + 2 * per_image(x) * (x - gray)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (0.5 + per_image(x)) * (x - mean)


def _translated(x: Tensor) -> Tensor:
    return shifted(x, fill="constant")


def _cut(x: Tensor) -> Tensor:
    _, _, height, width = x.shape
    rows, columns = (_outside(x, size) for size in (height, width))
    keep = rows[:, None, :, None] | columns[:, None, None, :]
    return x * keep.to(x.dtype)


def _outside(x: Tensor, size: int) -> Tensor:
    """Return for each image which rows (or columns) the square leaves free, `(batch, size)`."""
    side = int(size * _CUTOUT + 0.5)
    # the center may be at any pixel, so the square may reach over the edge
    first = (per_image(x).flatten() * (size + 1 - side % 2)).long() - side // 2
    index = torch.arange(size, device=x.device)
    return (index < first[:, None]) | (index >= first[:, None] + side)


_CHANGES = {
    "flip": flipped,
    "color": _recolored,
    "translation": _translated,
    "cutout": _cut,
}
