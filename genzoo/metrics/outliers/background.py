"""Background distributions that count levels, and the length of images as PNG files.

Both measure how simple an image is, without a neural network.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from genzoo import memory
from genzoo.contract import PositiveFloat, Shape
from genzoo.errors import DataError, SettingError

__all__ = ["Background", "png_bits"]

_BINS = 16
"""The number of bins of more than 32 levels. A table of pairs would have too few counts."""


class Background:
    r"""A distribution on levels, in closed form: independent pixels, or a Markov chain.

    \[ p(x) = \prod_d p_d(x_d) \qquad \text{or} \qquad p(x) = \prod_d p_d(x_d \mid x_{d-1}) \]

    The values of an example are read in raster order; before the first one is level 0. Each table
    \( p_d \) has the smoothed frequencies of the training examples. More than 32 levels are
    grouped into 16 bins, and the levels of a bin are equally likely. For zeros and ones, these are
    the models `independent` and `markov`.

    Arguments:
        kind: `"independent"` or `"markov"`.
        levels: the number of levels; values are 0 to levels - 1.
        shape: the shape of one example.
        smoothing: the number of examples that are added to the count of each bin.

    Raises:
        SettingError: the tables do not fit into the free memory.

    Example:
        >>> x = torch.tensor([[0, 1], [1, 1]])
        >>> background = Background("independent", levels=2, shape=(2,), smoothing=1e-9)
        >>> background = background.fit([x])
        >>> background.log_prob(x).exp()
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    def __init__(
        self,
        kind: Literal["independent", "markov"],
        *,
        levels: int,
        shape: Shape,
        smoothing: PositiveFloat = 0.5,
    ) -> None:
        self.kind, self.levels, self.smoothing = kind, levels, smoothing
        size = check_memory(kind, levels, shape)
        self._bin_of = torch.arange(levels) * size[-1] // levels
        self._log_size = self._bin_of.bincount().double().log()
        self._counts = torch.zeros(size, dtype=torch.int64)
        self.fit(())

    def fit(self, batches: Iterable[Tensor]) -> Background:
        """Add the counts of batches of examples, integers `(batch, *shape)`."""
        for x in batches:
            cells = self._cells(self._bin_of[x.flatten(1).long()])
            counts = cells.flatten().bincount(minlength=self._counts.numel())
            self._counts += counts.view_as(self._counts)
        smoothed = self._counts.double() + self.smoothing
        self._table = (smoothed / smoothed.sum(-1, keepdim=True)).log() - self._log_size
        return self

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the exact log-probability in nats, integers `(batch, *shape)` -> `(batch,)`."""
        return self._table.flatten()[self._cells(self._bin_of[x.flatten(1).long()])].sum(1)

    def _cells(self, bins: Tensor) -> Tensor:
        """Return the position of each value in the flat table."""
        dims, cases, size = self._counts.shape
        before = torch.zeros_like(bins)
        if cases > 1:
            before[:, 1:] = bins[:, :-1]
        return (torch.arange(dims) * cases + before) * size + bins


def check_memory(kind: str, levels: int, shape: Shape) -> tuple[int, int, int]:
    """Return the size of the table of counts: values, cases of the value before, and bins.

    Raises:
        SettingError: the tables of a background do not fit into the free memory.
    """
    bins = levels if levels <= 2 * _BINS else _BINS
    size = (math.prod(shape), bins if kind == "markov" else 1, bins)
    # Counts, their smoothed form, and logarithms have 8 bytes each.
    left, needed = memory.free_memory(torch.device("cpu")), 3 * 8 * math.prod(size)
    if left is not None and needed > left:
        raise SettingError(
            f"the tables of the background {kind!r} for examples of shape {tuple(shape)} need "
            f"{memory.format_bytes(needed)}, and {memory.format_bytes(left)} are free; choose "
            "other scores."
        )
    return size


def png_bits(images: Tensor) -> Tensor:
    """Return the number of bits of each image as a PNG file.

    The file has 8 bits per value and the highest compression. Images with a number of channels
    other than 1 or 3 are written as one gray image, channel below channel. The length depends
    slightly on the version of zlib.

    Arguments:
        images: images, uint8 `(n, C, H, W)`.

    Raises:
        DataError: the images have another shape or type.

    Example:
        >>> flat, noise = torch.zeros(1, 1, 28, 28), 255 * torch.rand(1, 1, 28, 28)
        >>> short, long = png_bits(torch.cat([flat, noise]).byte()).tolist()
        >>> short < 1000 < long
        True
    """
    from PIL import Image

    if images.dtype != torch.uint8 or images.dim() != 4:
        raise DataError(
            f"images are {str(images.dtype).removeprefix('torch.')} of shape "
            f"{tuple(images.shape)}; expected uint8 of shape (n, C, H, W)."
        )
    bits = torch.empty(len(images), dtype=torch.float64)
    for number, image in enumerate(images.cpu().numpy()):
        colors, _, width = image.shape
        pixels = image.transpose(1, 2, 0) if colors == 3 else image.reshape(-1, width)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", optimize=True)
        bits[number] = 8 * file.tell()
    return bits
