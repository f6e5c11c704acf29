"""The base class of PixelRNN layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from genzoo.blocks.masked import MaskedLinear, color_groups

__all__ = ["KERNEL", "PixelLayer"]

KERNEL = 3
"""The width of the convolution along a row, and of the convolution in a PixelCNN layer."""


class PixelLayer(nn.Module):
    """The base class of PixelRNN layers.

    Each class chooses the layout of its features, with the features last. LSTMs store pixels front
    after front, `(P, batch, 2h)` with P = H * W. Convolutions store images, `(batch, H, W, 2h)`.

    To sample, `step` computes a few pixels from a cache of the previous ones, with the same result
    as `forward`. Tensors in a cache have one entry per pixel and one more, which stands for
    positions outside the image.

    Arguments:
        hidden: h, the number of hidden features.
        colors: C, the number of groups of features.
        height: the height of the image.
        width: the width of the image.
        classes: the number of labels to condition on, or 0.
        gates: the number of values that a label adds to.
    """

    reach: int = KERNEL // 2
    """The number of columns to the right that a layer sees in the row above."""

    def __init__(
        self,
        *,
        hidden: int,
        colors: int,
        height: int,
        width: int,
        classes: int = 0,
        gates: int = 0,
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.width = width
        self.pixels = height * width
        self.inner = color_groups(hidden, colors)
        self.outer = color_groups(2 * hidden, colors)
        self.up = MaskedLinear(self.inner, self.outer)
        if classes:
            self.label = nn.Embedding(classes, gates)
            nn.init.zeros_(self.label.weight)

    def to_layout(self, f: Tensor) -> Tensor:
        """Convert features of images, `(batch, 2h, H, W)`, to the layer's layout, `(..., 2h)`."""
        raise NotImplementedError

    def from_layout(self, f: Tensor) -> Tensor:
        """Convert features in the layer's layout, `(..., k)`, to images, `(batch, H, W, k)`."""
        raise NotImplementedError

    def forward(self, f: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the features that the layer adds.

        Arguments:
            f: features in the layer's layout.
            y: labels, `(batch,)`.

        Returns:
            Features in the layer's layout.
        """
        raise NotImplementedError

    def locations(self, fronts: Sequence[Tensor]) -> list[Any]:
        """Return the indices that `step` needs for each front.

        Arguments:
            fronts: sets of pixels that are computed together, as raster positions.
        """
        raise NotImplementedError

    def new_cache(self, batch: int, y: Tensor | None = None) -> Any:
        """Return a cache for `batch` images: storage for pixels, and the current weights."""
        raise NotImplementedError

    def step(self, f: Tensor, location: Any, cache: Any) -> Tensor:
        """Compute the same as `forward` for a few pixels, after all pixels that they depend on.

        Arguments:
            f: features of the pixels, `(n, batch, 2h)`.
            location: the result of `locations` for these pixels.
            cache: the cache, which is updated.

        Returns:
            `(n, batch, 2h)`.
        """
        raise NotImplementedError

    @staticmethod
    def finish_row(caches: Sequence[Any]) -> None:
        """Update the caches of all layers after all pixels of a row are known."""
