"""The Diagonal BiLSTM of a PixelRNN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.blocks.masked import color_groups
from genzoo.blocks.pixel.lstm import LSTMLayer
from genzoo.blocks.recurrent import cell, diagonals

__all__ = ["DiagonalBiLSTM"]


@dataclass
class _Cache:
    """The current weights, and one row of pixels, as lists of tensors `(batch, .)`.

    `weight`, `bias`, `h0`, and `c0` hold both directions. `h`, `c`, and `f` are the states, cells,
    and features of the current row. `above` and `right` are the states of the two directions in the
    row above.
    """

    weight: Tensor
    bias: Tensor
    up: Callable[[Tensor], Tensor]
    h0: Tensor
    c0: Tensor
    h: list[Tensor]
    c: list[Tensor]
    f: list[Tensor]
    above: list[Tensor]
    right: list[Tensor]


class DiagonalBiLSTM(LSTMLayer):
    """Two LSTMs along diagonals, which start at the two upper corners.

    Each state sees the state above it and the state next to it, and therefore everything above its
    diagonal. The direction from the right reads the mirrored image. Its states see later pixels of
    the same row, so a pixel gets the state of the pixel above it. In the top row, it gets the
    initial state.

    As in the paper, a pixel sees the last pixel of the row above only if the first convolution
    reaches it, because a state never sees the last color of the pixel that it belongs to.

    Arguments:
        hidden: h, the number of hidden features.
        colors: C, the number of groups of features.
        height: the height of the image.
        width: the width of the image.
        classes: the number of labels to condition on, or 0.
    """

    mirror: Tensor
    above: Tensor

    def __init__(
        self, *, hidden: int, colors: int, height: int, width: int, classes: int = 0
    ) -> None:
        fronts = diagonals(height, width)
        super().__init__(
            hidden=hidden,
            colors=colors,
            height=height,
            width=width,
            classes=classes,
            fronts=fronts,
            directions=2,
            input_groups=color_groups(2 * hidden, colors),
        )
        self.reach = width - 1
        mirrored = torch.arange(height * width).view(height, width).flip(1).flatten()
        # the pixel above each pixel, in the mirrored image
        above = torch.cat([torch.full((width,), height * width), mirrored[:-width]])
        self.register_buffer("mirror", fronts.position[mirrored[fronts.order]], persistent=False)
        self.register_buffer("above", fronts.position[above[fronts.order]], persistent=False)

    def inputs(self, f: Tensor) -> Tensor:
        return torch.stack([f, f.index_select(0, self.mirror)])

    def join(self, states: Tensor) -> Tensor:
        return states[0, :-1] + states[1].index_select(0, self.above)

    def new_cache(self, batch: int, y: Tensor | None = None) -> _Cache:
        h0, c0 = self.outside_states(batch)
        return _Cache(
            weight=self.weights(),
            bias=self.gate_bias(y),
            up=self.up.fixed(),
            h0=h0,
            c0=c0,
            h=[h0[0]] * self.width,
            c=[c0[0]] * self.width,
            f=[h0.new_empty(0)] * self.width,
            above=[h0[0]] * self.width,
            right=[h0[1]] * self.width,
        )

    def locations(self, fronts: Sequence[Tensor]) -> list[int]:
        """Return the column of each front, which is a single pixel; fronts are in raster order."""
        return [pixel % self.width for pixel in range(len(fronts))]

    def step(self, f: Tensor, location: int, cache: _Cache) -> Tensor:
        column = location
        left_h = cache.h[column - 1] if column else cache.h0[0]
        left_c = cache.c[column - 1] if column else cache.c0[0]
        cache.f[column] = f[0]
        x = torch.cat([f[0], cache.above[column], left_h], -1)
        z = torch.addmm(cache.bias[0], x, cache.weight[0])
        cache.h[column], cache.c[column] = cell(z, left_c)
        return cache.up((cache.h[column] + cache.right[column])[None])

    @staticmethod
    def finish_row(caches: Sequence[_Cache]) -> None:
        """Run the direction from the right along a row whose pixels are all known.

        The inputs of every layer are known, so all layers run at once.
        """
        # (layers, W, batch, .)
        f = torch.stack([torch.stack(cache.f) for cache in caches])
        right = torch.stack([torch.stack(cache.right) for cache in caches])
        # (layers, ., .)
        weight = torch.stack([cache.weight[1] for cache in caches])
        bias = torch.stack([cache.bias[1] for cache in caches])
        h = torch.stack([cache.h0[1] for cache in caches])
        c = torch.stack([cache.c0[1] for cache in caches])
        parts = weight.tensor_split([f.shape[-1]], 1)
        input_weight, state_weight = (part.contiguous() for part in parts)
        z = (f.flatten(1, 2) @ input_weight).unflatten(1, f.shape[1:3]).add_(bias[:, None])
        for column in reversed(range(z.shape[1])):
            states = torch.cat([right[:, column], h], -1)
            h, c = cell(z[:, column].baddbmm_(states, state_weight), c)
            for cache, state in zip(caches, h.unbind(), strict=True):
                cache.right[column] = state
        for cache in caches:
            cache.above = list(cache.h)
