"""Random changes of training images, which make a small dataset larger.

A model learns the distribution of the changed images. So choose changes after which an image still
belongs to the data: a mirrored face does, a mirrored digit does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from genzoo.contract.dataset import Augmentation
from genzoo.distributed import uniform

__all__ = ["augment", "flipped", "per_image", "shifted"]

_SHIFT = 1 / 8
"""The largest shift as a share of the image size."""
_CROP = 1 / 4
"""The largest share of the height and width that a crop cuts off."""
_JITTER = 0.2
"""The largest relative change of brightness, contrast, and saturation."""
_LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green, and blue in the gray value (ITU-R 601-2), as in Pillow."""


def augment(x: Tensor, changes: Iterable[Augmentation]) -> Tensor:
    """Apply random changes to images, each image with its own random numbers.

    The random numbers do not depend on ranks or microbatches.

    Arguments:
        x: images, `(batch, C, H, W)`, in [0, 1].
        changes: names of the changes (see `Dataset`), in the order in which they are applied.

    Returns:
        `(batch, C, H, W)`, in [0, 1].

    Example:
        >>> augment(torch.rand(5, 3, 8, 8), ("flip", "crop")).shape
        torch.Size([5, 3, 8, 8])
    """
    for change in changes:
        x = _CHANGES[change](x)
    return x


def per_image(x: Tensor) -> Tensor:
    """Return a uniform random number on [0, 1) for each image, `(batch, 1, 1, 1)`."""
    return uniform(x.shape[0], 1, 1, 1, like=x).to(x.dtype)


def flipped(x: Tensor, axis: int = 3) -> Tensor:
    """Mirror half of the images along an axis."""
    return torch.where(per_image(x) < 0.5, x.flip(axis), x)


def shifted(x: Tensor, *, fill: str = "replicate") -> Tensor:
    """Move each image by a whole number of pixels, up to an eighth of its size.

    Arguments:
        x: images, `(batch, C, H, W)`.
        fill: `"replicate"` repeats the pixels at the edge, and `"constant"` adds zeros.
    """
    n, _, height, width = x.shape
    rows, row_shift = _positions(x, height)
    columns, column_shift = _positions(x, width)
    padded = pad(x, (column_shift, column_shift, row_shift, row_shift), mode=fill)
    image = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def _positions(x: Tensor, size: int) -> tuple[Tensor, int]:
    """Return the rows (or columns) of each padded image, `(batch, size)`, and the padding."""
    most = int(size * _SHIFT + 0.5)
    shift = (per_image(x).flatten() * (2 * most + 1)).long()
    return shift[:, None] + torch.arange(size, device=x.device), most


def _cropped(x: Tensor) -> Tensor:
    """Enlarge a random window of each image to its full size, with bilinear interpolation."""
    side = 1 - _CROP * per_image(x).flatten()
    top, left = ((1 - side) * per_image(x).flatten() for _ in range(2))
    zero = torch.zeros_like(side)
    # the center of the window, in coordinates from -1 to 1
    across = torch.stack([side, zero, 2 * left + side - 1], 1)
    down = torch.stack([zero, side, 2 * top + side - 1], 1)
    grid = affine_grid(torch.stack([across, down], 1), [*x.shape], align_corners=False)
    return grid_sample(x, grid, padding_mode="border", align_corners=False).clamp(0, 1)


def _jittered(x: Tensor) -> Tensor:
    """Change the brightness, the contrast, and the saturation of each image.

    The changes are those of Pillow's `ImageEnhance`. Gray images have no saturation, and
    transparency does not change.
    """
    colors, rest = (x[:, :3], x[:, 3:]) if x.shape[1] in (3, 4) else (x, x[:, :0])
    colors = (colors * _factor(x)).clamp(0, 1)
    mean = _gray(colors).mean(dim=(2, 3), keepdim=True)
    colors = (mean + _factor(x) * (colors - mean)).clamp(0, 1)
    if colors.shape[1] == 3:
        gray = _gray(colors)
        colors = (gray + _factor(x) * (colors - gray)).clamp(0, 1)
    return torch.cat([colors, rest], 1)


def _factor(x: Tensor) -> Tensor:
    """Return a factor around 1 for each image."""
    return 1 + _JITTER * (2 * per_image(x) - 1)


def _gray(x: Tensor) -> Tensor:
    """Return the gray values of images, `(batch, 1, H, W)`."""
    if x.shape[1] != 3:
        return x.mean(dim=1, keepdim=True)
    return (x * x.new_tensor(_LUMA)[:, None, None]).sum(dim=1, keepdim=True)


_CHANGES: Mapping[Augmentation, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "flip": flipped,
        "vertical-flip": lambda x: flipped(x, 2),
        "shift": shifted,
        "crop": _cropped,
        "jitter": _jittered,
    }
)
