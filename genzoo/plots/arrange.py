"""The order of images on a sheet: groups side by side, and equations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["columns_for", "equation", "side_by_side"]


def side_by_side(*images: Tensor) -> Tensor:
    """Return the tiles of a sheet with k images side by side.

    Arguments:
        images: k batches of images, `(n, C, H, W)` each.

    Returns:
        `(n * k, C, H, W)`, all in color if any image is.
    """
    shown = [x if x.shape[1] in (1, 3) else x.mean(dim=1, keepdim=True) for x in images]
    channels = max(x.shape[1] for x in shown)
    return torch.stack([x.expand(-1, channels, -1, -1) for x in shown], dim=1).flatten(0, 1)


def columns_for(n: int, side: int) -> int:
    """Return the number of columns of a nearly square sheet.

    Arguments:
        n: the number of groups.
        side: the number of tiles of a group, which are side by side.
    """
    return side * max(1, math.ceil(math.sqrt(n / side)))


def equation(columns: Sequence[Tensor], images: Tensor) -> Tensor:
    """Return the tiles of a sheet with nine columns: a - b + c = the result among its neighbors.

    Arguments:
        columns: for each term its examples, then their mean. The means are in one row, below the
            examples.
        images: the result and its eight neighbors.
    """
    height, width = images.shape[-2:]
    tiles = images.new_ones(max(map(len, columns)) + 1, 9, *images.shape[1:])
    # The last row holds the lower neighbors, and the row above it the means.
    means = len(tiles) - 2
    neighborhood = torch.cat([images[1:5], images[:1], images[5:]])
    tiles[means - 1 :, 6:] = neighborhood.unflatten(0, (3, 3))
    for index, column in zip((0, 2, 4), columns, strict=True):
        tiles[means - len(column) + 1 : means + 1, index] = column
    thick = max(1, height // 12)
    middle, center = (height - thick) // 2, (width - thick) // 2
    for index, top in ((1, middle), (3, middle), (5, middle - thick), (5, middle + thick)):
        tiles[means, index, :, top : top + thick, width // 4 : width - width // 4] = 0
    tiles[means, 3, :, height // 4 : height - height // 4, center : center + thick] = 0
    return tiles.flatten(0, 1)
