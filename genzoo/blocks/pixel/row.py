"""The Row LSTM of a PixelRNN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from genzoo.blocks.masked import PAST, color_groups
from genzoo.blocks.pixel.layer import KERNEL
from genzoo.blocks.pixel.lstm import LSTMLayer
from genzoo.blocks.recurrent import cell, neighbor, rows

__all__ = ["RowLSTM"]


@dataclass(frozen=True)
class _Location:
    """Raster positions of a front: its pixels, the pixels to the left, and the ones above."""

    pixels: Tensor
    left: Tensor
    above: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Cache:
    """The current weights, and the states, cells, and features, all `(P + 1, batch, .)`."""

    weight: Tensor
    bias: Tensor
    up: Callable[[Tensor], Tensor]
    h: Tensor
    c: Tensor
    f: Tensor


class RowLSTM(LSTMLayer):
    """An LSTM from the top row to the bottom row.

    Its inputs are a convolution of width 3 along the row, and a convolution of width 3 over the
    states of the row above. It sees a triangle above each pixel. In the pixel's row, it sees only
    as far as the convolutions reach.

    Arguments:
        hidden: h, the number of hidden features.
        colors: C, the number of groups of features.
        height: the height of the image.
        width: the width of the image.
        classes: the number of labels to condition on, or 0.
    """

    left: Tensor

    def __init__(
        self, *, hidden: int, colors: int, height: int, width: int, classes: int = 0
    ) -> None:
        groups = color_groups(2 * hidden, colors)
        super().__init__(
            hidden=hidden,
            colors=colors,
            height=height,
            width=width,
            classes=classes,
            fronts=rows(height, width, KERNEL),
            directions=1,
            input_groups=torch.cat([torch.full_like(groups, PAST), groups]),
        )
        self.register_buffer("left", neighbor(height, width, 0, -1), persistent=False)

    def inputs(self, f: Tensor) -> Tensor:
        image = f.unflatten(0, (-1, self.width))
        left = pad(image, (0, 0, 0, 0, 1, 0))[:, :-1]
        return torch.cat([left, image], -1).flatten(0, 1)[None]

    def join(self, states: Tensor) -> Tensor:
        return states[0, :-1]

    def new_cache(self, batch: int, y: Tensor | None = None) -> _Cache:
        h0, c0 = self.outside_states(batch)
        # Before a pixel is computed, its entry holds the state outside; the last entry always does.
        h, c = (outside[0].repeat(self.pixels + 1, 1, 1) for outside in (h0, c0))
        return _Cache(
            weight=self.weights()[0],
            bias=self.gate_bias(y)[0],
            up=self.up.fixed(),
            h=h,
            c=c,
            f=h.new_zeros(self.pixels + 1, batch, 2 * self.hidden),
        )

    def locations(self, fronts: Sequence[Tensor]) -> list[_Location]:
        return [
            _Location(front, self.left[front], self.fronts.before[:, front].unbind())
            for front in fronts
        ]

    def step(self, f: Tensor, location: _Location, cache: _Cache) -> Tensor:
        cache.f.index_copy_(0, location.pixels, f)
        left = cache.f.index_select(0, location.left)
        above = [cache.h.index_select(0, pixels) for pixels in location.above]
        x = torch.cat([left, f, *above], -1)
        c = cache.c.index_select(0, location.above[self.fronts.carry])
        new_h, new_c = cell((x @ cache.weight).add_(cache.bias), c)
        cache.h.index_copy_(0, location.pixels, new_h)
        cache.c.index_copy_(0, location.pixels, new_c)
        return cache.up(new_h)
