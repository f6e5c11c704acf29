"""Masked layers, in which a pixel sees only the pixels and colors before it.

Pixels are in raster order, and colors in the order red, green, blue. Features are split into one
group per color. A group sees all features of earlier pixels. Of its own pixel, it sees the groups
up to itself (mask B), or only the groups before it if the input is the image itself (mask A).

Masks are multiplied into the weights at every use. A masked weight then has no gradient, and no
loaded weights can leak information from later pixels.

References:
    Pixel Recurrent Neural Networks, van den Oord, Kalchbrenner and Kavukcuoglu, 2016,
        https://arxiv.org/abs/1601.06759
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad

from genzoo.blocks.recurrent import neighbor

__all__ = ["PAST", "CausalConv", "MaskedLinear", "color_groups", "sees"]

PAST = -1
"""The group of the features of earlier pixels, which every group sees."""


def color_groups(features: int, colors: int) -> Tensor:
    """Return the group of each feature, `(features,)`.

    Groups are runs of equal length, or as near to it as the numbers allow.

    Example:
        >>> color_groups(7, 3).tolist()
        [0, 0, 0, 1, 1, 2, 2]
    """
    return torch.arange(features) * colors // features


def sees(outputs: Tensor, inputs: Tensor, *, strict: bool = False) -> Tensor:
    """Return the mask of the inputs that each output may see, `(outputs, inputs)`.

    Arguments:
        outputs: the group of each output.
        inputs: the group of each input.
        strict: True for mask A, in which an output does not see its own group.
    """
    groups = outputs[:, None]
    return (groups > inputs if strict else groups >= inputs).float()


class MaskedLinear(nn.Module):
    """A linear map of features (the last axis) in which each group sees the groups up to itself.

    Arguments:
        inputs: the group of each input.
        outputs: the group of each output.

    Example:
        >>> red, blue = torch.tensor([0]), torch.tensor([1])
        >>> MaskedLinear(inputs=blue, outputs=red).mask  # red does not see blue
        tensor([[0.]])
    """

    mask: Tensor

    def __init__(self, inputs: Tensor, outputs: Tensor) -> None:
        super().__init__()
        plain = nn.Linear(len(inputs), len(outputs))
        self.weight, self.bias = plain.weight, plain.bias
        self.register_buffer("mask", sees(outputs, inputs), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map features `(..., inputs)` to `(..., outputs)`."""
        return linear(x, self.weight * self.mask, self.bias)

    def fixed(self) -> Callable[[Tensor], Tensor]:
        """Return the same map with the current weights, for many small calls."""
        return partial(linear, weight=self.weight * self.mask, bias=self.bias)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]} -> {self.weight.shape[0]}"


class CausalConv(nn.Module):
    """A convolution that sees earlier pixels, and the groups of its own pixel that a mask allows.

    A full square kernel would be masked below its center, so those rows are left out.

    Arguments:
        inputs: the group of each input channel.
        outputs: the group of each output channel.
        kernel: the height and width of the full square kernel; odd.
        strict: use mask A, which does not see its own group, instead of mask B.

    Example:
        >>> gray = color_groups(1, 1)
        >>> CausalConv(gray, gray, 3, strict=True).mask[0, 0]
        tensor([[1., 1., 1.],
                [1., 0., 0.]])
    """

    mask: Tensor

    def __init__(self, inputs: Tensor, outputs: Tensor, kernel: int, *, strict: bool) -> None:
        super().__init__()
        self.reach = kernel // 2
        mask = torch.ones(len(outputs), len(inputs), self.reach + 1, kernel)
        mask[:, :, -1, self.reach :] = 0
        mask[:, :, -1, self.reach] = sees(outputs, inputs, strict=strict)
        self.weight = nn.Parameter(torch.empty_like(mask))
        self.bias = nn.Parameter(torch.zeros(len(outputs)))
        # as in nn.Conv2d, for the inputs that are not masked
        bound = 1 / math.sqrt(max(1.0, mask[0].sum().item()))
        nn.init.uniform_(self.weight, -bound, bound)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve images `(batch, inputs, H, W)` to `(batch, outputs, H, W)`."""
        padded = pad(x, (self.reach, self.reach, self.reach, 0))
        return conv2d(padded, self.weight * self.mask, self.bias)

    def taps(self, height: int, width: int) -> Tensor:
        """Return the pixels that each pixel of an image sees, `(taps, H * W)`.

        The last one is the pixel itself. `H * W` stands for positions outside the image.
        """
        offsets = [
            (down - self.reach, right - self.reach)
            for down in range(self.reach + 1)
            for right in range(2 * self.reach + 1)
        ]
        past = [offset for offset in offsets if offset <= (0, 0)]
        return torch.stack([neighbor(height, width, *offset) for offset in past])

    def fixed(self) -> Callable[[Tensor], Tensor]:
        """Return the same map at a few pixels, with the current weights.

        The map takes the features that each pixel sees, `(taps, n, batch, inputs)`, and returns
        `(n, batch, outputs)`.
        """
        taps = self.reach * (2 * self.reach + 2) + 1
        weight = (self.weight * self.mask).flatten(2)[:, :, :taps].flatten(1)

        def convolve(seen: Tensor) -> Tensor:
            return linear(seen.permute(1, 2, 3, 0).flatten(2), weight, self.bias)

        return convolve

    def extra_repr(self) -> str:
        outputs, inputs, _, kernel = self.weight.shape
        return f"{inputs} -> {outputs}, kernel {kernel} x {kernel}"
