"""Layers that see only what comes before: of an image the pixels above and to the left, of a pixel the colours before.

Pixels come in raster order and colours as red, green, blue. Features are split into one group a colour. A group sees, at its own
pixel, the groups up to itself (mask B) or, where the input is the image itself, those before it (mask A).

Masks are multiplied into the weights whenever these are used: a masked weight then has no gradient, and loading any weights
cannot open a leak.

References:
    Pixel Recurrent Neural Networks, van den Oord, Kalchbrenner and Kavukcuoglu, 2016, https://arxiv.org/abs/1601.06759
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad

from genzoo.blocks.recurrent import neighbor

PAST = -1
"""The group of features of earlier pixels, which every group sees."""


def color_groups(features: int, colours: int) -> Tensor:
    """The group of each feature, `(features,)`: runs of equal length, or as near as the numbers allow.

    Example:
        >>> color_groups(7, 3).tolist()
        [0, 0, 0, 1, 1, 2, 2]
    """
    return torch.arange(features) * colours // features


def sees(outputs: Tensor, inputs: Tensor, strict: bool = False) -> Tensor:
    """Which inputs an output may see, by their groups: `(outputs, inputs)`, zeros and ones; not its own group if `strict`."""
    return (outputs[:, None] > inputs if strict else outputs[:, None] >= inputs).float()


class MaskedLinear(nn.Module):
    """A linear map of features, the last axis, in which each group sees the groups up to itself.

    Arguments:
        inputs: the group of each input.
        outputs: the group of each output.
    """

    mask: Tensor

    def __init__(self, inputs: Tensor, outputs: Tensor) -> None:
        super().__init__()
        plain = nn.Linear(len(inputs), len(outputs))
        self.weight, self.bias = plain.weight, plain.bias
        self.register_buffer("mask", sees(outputs, inputs), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., inputs)` -> `(..., outputs)`."""
        return linear(x, self.weight * self.mask, self.bias)

    def fixed(self) -> Callable[[Tensor], Tensor]:
        """The same map, with the weights as they are now: for many small calls."""
        return partial(linear, weight=self.weight * self.mask, bias=self.bias)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]} -> {self.weight.shape[0]}"


class CausalConv(nn.Module):
    """A convolution that sees the pixels before each, and of its own pixel the groups that its mask allows.

    The kernel's rows below its centre, which a mask would blank, are not there at all.

    Arguments:
        inputs: the group of each input channel.
        outputs: the group of each output channel.
        kernel: height and width of the square that the kernel would be; odd.
        strict: mask A, which does not see its own group, instead of mask B.
    """

    mask: Tensor

    def __init__(self, inputs: Tensor, outputs: Tensor, kernel: int, strict: bool) -> None:
        super().__init__()
        self.reach = kernel // 2
        mask = torch.ones(len(outputs), len(inputs), self.reach + 1, kernel)
        mask[:, :, -1, self.reach :] = 0
        mask[:, :, -1, self.reach] = sees(outputs, inputs, strict)
        self.weight = nn.Parameter(torch.empty_like(mask))
        self.bias = nn.Parameter(torch.zeros(len(outputs)))
        bound = 1 / math.sqrt(
            max(1.0, mask[0].sum().item())
        )  # as nn.Conv2d's, of the inputs that count
        nn.init.uniform_(self.weight, -bound, bound)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, inputs, H, W)` -> `(batch, outputs, H, W)`."""
        return conv2d(
            pad(x, (self.reach, self.reach, self.reach, 0)), self.weight * self.mask, self.bias
        )

    def taps(self, height: int, width: int) -> Tensor:
        """The pixels that each pixel of an image sees, `(taps, H * W)`, its own last; `H * W` stands for outside."""
        offsets = [
            (down - self.reach, right - self.reach)
            for down in range(self.reach + 1)
            for right in range(2 * self.reach + 1)
        ]
        return torch.stack(
            [neighbor(height, width, *offset) for offset in offsets if offset <= (0, 0)]
        )

    def fixed(self) -> Callable[[Tensor], Tensor]:
        """The same at a few pixels, with the weights as they are now.

        It maps what each sees, `(taps, n, batch, inputs)`, to `(n, batch, outputs)`.
        """
        taps = self.reach * (2 * self.reach + 2) + 1
        weight, bias = (self.weight * self.mask).flatten(2)[:, :, :taps].flatten(1), self.bias

        def at(seen: Tensor) -> Tensor:
            return linear(seen.permute(1, 2, 3, 0).flatten(2), weight, bias)

        return at

    def extra_repr(self) -> str:
        outputs, inputs, _, kernel = self.weight.shape
        return f"{inputs} -> {outputs}, kernel {kernel} x {kernel}"
