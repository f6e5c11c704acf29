"""The masked convolution of a PixelCNN, as a layer of a PixelRNN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from einops import rearrange
from torch import Tensor

from genzoo.blocks.masked import CausalConv, MaskedLinear
from genzoo.blocks.pixel.layer import KERNEL, PixelLayer

__all__ = ["ConvLayer"]


@dataclass(frozen=True)
class _Location:
    """Raster positions of a front: its pixels, and the pixels that each of them sees."""

    pixels: Tensor
    seen: Tensor


@dataclass(frozen=True)
class _Cache:
    """The current weights, the term of the labels, and all features, `(P + 1, batch, h)`."""

    h: Tensor
    label: Tensor | float
    down: Callable[[Tensor], Tensor]
    conv: Callable[[Tensor], Tensor]
    up: Callable[[Tensor], Tensor]


class ConvLayer(PixelLayer):
    """A layer of a PixelCNN: h features, a masked 3x3 convolution, and 2h features again.

    A ReLU precedes each of the three maps.

    Arguments:
        hidden: h, the number of hidden features.
        colors: C, the number of groups of features.
        height: the height of the image.
        width: the width of the image.
        classes: the number of labels to condition on, or 0.
    """

    seen: Tensor

    def __init__(
        self, *, hidden: int, colors: int, height: int, width: int, classes: int = 0
    ) -> None:
        super().__init__(
            hidden=hidden,
            colors=colors,
            height=height,
            width=width,
            classes=classes,
            gates=hidden,
        )
        self.down = MaskedLinear(self.outer, self.inner)
        self.conv = CausalConv(self.inner, self.inner, KERNEL, strict=False)
        self.register_buffer("seen", self.conv.taps(height, width), persistent=False)

    def to_layout(self, f: Tensor) -> Tensor:
        return rearrange(f, "b k r c -> b r c k").contiguous()

    def from_layout(self, f: Tensor) -> Tensor:
        return f

    def forward(self, f: Tensor, y: Tensor | None = None) -> Tensor:
        h = rearrange(self.down(f.relu()).relu(), "b r c k -> b k r c")
        h = rearrange(self.conv(h), "b k r c -> b r c k")
        if y is not None:
            h = h + self.label(y)[:, None, None]
        return self.up(h.relu())

    def locations(self, fronts: Sequence[Tensor]) -> list[_Location]:
        return [_Location(front, self.seen[:, front]) for front in fronts]

    def new_cache(self, batch: int, y: Tensor | None = None) -> _Cache:
        return _Cache(
            h=self.conv.bias.new_zeros(self.pixels + 1, batch, self.hidden),
            label=0.0 if y is None else self.label(y),
            down=self.down.fixed(),
            conv=self.conv.fixed(),
            up=self.up.fixed(),
        )

    def step(self, f: Tensor, location: _Location, cache: _Cache) -> Tensor:
        cache.h.index_copy_(0, location.pixels, cache.down(f.relu()).relu_())
        seen = cache.h.index_select(0, location.seen.flatten()).unflatten(0, location.seen.shape)
        h = cache.conv(seen) + cache.label
        return cache.up(h.relu_())
