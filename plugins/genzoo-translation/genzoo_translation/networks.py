"""Networks from images to images: the U-Net of Pix2Pix, the ResNet of CycleGAN, the bottleneck of DiscoGAN."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from genzoo import build
from genzoo.contract import Count, Part, Positive, Shape, Translator, is_image
from genzoo.distributed import uniform
from genzoo.errors import SettingError

Norm = Literal["instance", "batch", "none"]
_HALVE = {"kernel_size": 4, "stride": 2, "padding": 1}


class UNet(Translator):
    r"""An encoder and a decoder with skips: each level of the decoder also sees the encoder's level of its size.

    Levels halve the image until its shorter side is one pixel, as the paper's eight do with 256. With a batch of one, its batch
    norm, which takes the statistics of the batch also at test time, is instance norm; so that is the default here, for batches of
    any size. The innermost level has none: one pixel has no variance.

    Arguments:
        given_shape: shape of the images that go in, `(C, H, W)`, of any height and width from 4.
        shape: shape of those that come out, of the same height and width.
        width: channels of the outermost level; the inner ones have 2, 4, 8, 8, ... times as many.
        depth: levels; None: as many as there can be.
        norm: `"instance"`, `"batch"` or `"none"`.
        dropout: probability with which the three innermost levels of the decoder drop a number, in training and afterwards: it is
            the model's only noise.

    Raises:
        SettingError: shapes that are no images of one size, or a depth that they do not have.

    References:
        Image-to-Image Translation with Conditional Adversarial Networks, Isola, Zhu, Zhou and Efros, 2017,
        https://arxiv.org/abs/1611.07004

    Example:
        >>> UNet(given_shape=(1, 28, 28), shape=(3, 28, 28), width=8)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 3, 28, 28])
    """

    def __init__(
        self,
        given_shape: Shape,
        shape: Shape,
        width: Positive = 64,
        depth: Count | None = None,
        norm: Norm = "instance",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        height, across = _same_size(given_shape, shape, least=4)
        most = min(height, across).bit_length() - 1
        if (depth or most) > most or not 0 <= dropout < 1:
            raise SettingError(
                f"depth = {depth}, dropout = {dropout:g}: images of {height} x {across} have up to {most} levels, "
                "and dropout is in [0, 1)."
            )
        self.given_shape, self.shape = given_shape, shape
        depth = depth or most
        channels = [given_shape[0], *(width * min(2**level, 8) for level in range(depth))]
        sizes = [(height >> level, across >> level) for level in range(depth)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (inputs, outputs) in enumerate(pairwise(channels)):
            inner = (
                0 < level < depth - 1
            )  # the outermost level sees the data, the innermost makes one pixel
            layers = [nn.LeakyReLU(0.2)] if level else []
            block = _convolution(nn.Conv2d, inputs, outputs, norm if inner else "none", **_HALVE)
            self.down.append(nn.Sequential(*layers, *block))
        for level in reversed(range(depth)):
            inputs = channels[level + 1] * (
                1 if level == depth - 1 else 2
            )  # the encoder's level beside the one below
            outputs = channels[level] if level else shape[0]
            odd = (sizes[level][0] % 2, sizes[level][1] % 2)
            block = _convolution(
                nn.ConvTranspose2d,
                inputs,
                outputs,
                norm if level else "none",
                **_HALVE,
                output_padding=odd,
            )
            noisy = level and level >= depth - 3 and dropout
            self.up.append(nn.Sequential(nn.ReLU(), *block, *([Dropout(dropout)] if noisy else [])))

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *given_shape)` -> `(batch, *shape)`, unconstrained."""
        levels = []
        for down in self.down:
            x = down(x)
            levels.append(x)
        x = self.up[0](levels.pop())
        for up in list(self.up)[1:]:
            x = up(torch.cat([x, levels.pop()], dim=1))
        return x


class ResNet(Translator):
    r"""Residual blocks at a quarter of the size, between two halvings and two doublings, with instance norm and reflected edges.

    Its blocks change an image locally, each pixel by what is near it: colours and textures rather than shapes.

    Arguments:
        given_shape: shape of the images that go in, `(C, H, W)`, of any height and width from 8.
        shape: shape of those that come out, of the same height and width.
        width: channels at the full size.
        blocks: how many; None: 6 for images of less than 256 pixels, else 9, as the paper has for 128 and 256.

    Raises:
        SettingError: shapes that are no images of one size, or smaller ones.

    References:
        Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, Zhu, Park, Isola and Efros, 2017,
        https://arxiv.org/abs/1703.10593

    Example:
        >>> ResNet(given_shape=(3, 30, 41), shape=(3, 30, 41), width=4, blocks=1)(torch.rand(2, 3, 30, 41)).shape
        torch.Size([2, 3, 30, 41])
    """

    def __init__(
        self, given_shape: Shape, shape: Shape, width: Positive = 64, blocks: Count | None = None
    ) -> None:
        super().__init__()
        size = _same_size(given_shape, shape, least=8)
        self.given_shape, self.shape = given_shape, shape
        blocks = blocks or (6 if min(size) < 256 else 9)
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            *_convolution(nn.Conv2d, given_shape[0], width, "plain", kernel_size=7),
        ]
        sizes = [size]
        for level in (1, 2):
            step = {
                "kernel_size": 3,
                "stride": 2,
                "padding": 1,
            }  # n pixels become n / 2, rounded up
            layers += [
                nn.ReLU(),
                *_convolution(nn.Conv2d, width * level, 2 * width * level, "plain", **step),
            ]
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        layers += [nn.ReLU(), *(_Residual(4 * width) for _ in range(blocks))]
        for level in (2, 1):
            even = tuple((side + 1) % 2 for side in sizes[level - 1])
            layers += _convolution(
                nn.ConvTranspose2d,
                2 * width * level,
                width * level,
                "plain",
                **step,
                output_padding=even,
            )
            layers.append(nn.ReLU())
        self.net = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, shape[0], 7))

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *given_shape)` -> `(batch, *shape)`, unconstrained."""
        return self.net(x)


class Bottleneck(Translator):
    """An encoder to a vector and a decoder from it: nothing of the image's layout is left, so that shapes can change.

    Arguments:
        given_shape: shape of what goes in.
        shape: shape of what comes out.
        dim: numbers in the vector, which batch norm and a leaky ReLU follow.
        width: channels of the outermost level.
        encoder: a part of kind `"encoders"`; None: strided convolutions with batch norm that halve the image until its
            shorter side has fewer than 6 pixels, and double the width up to 8 times (four levels for 64 pixels, as in the code).
        decoder: a part of kind `"decoders"`; None: its mirror image.

    References:
        Learning to Discover Cross-Domain Relations with Generative Adversarial Networks, Kim et al., 2017,
        https://arxiv.org/abs/1703.05192; code: https://github.com/SKTBrain/DiscoGAN

    Example:
        >>> net = {"name": "conv", "channels": (4, 8)}
        >>> Bottleneck(given_shape=(1, 28, 28), shape=(3, 28, 28), encoder=net, decoder=net)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 3, 28, 28])
    """

    expected_failures: ClassVar[Mapping[str, str]] = {
        "batch_of_one": "batch norm of a vector has no variance in a batch of one",
    }

    def __init__(
        self,
        given_shape: Shape,
        shape: Shape,
        dim: Positive = 100,
        width: Positive = 64,
        encoder: Part | None = None,
        decoder: Part | None = None,
    ) -> None:
        super().__init__()
        self.given_shape, self.shape = given_shape, shape
        if encoder is None:
            encoder = {
                "name": "conv",
                "channels": _widths(given_shape, width),
                "activation": "leaky-relu",
                "norm": "batch",
            }
        if decoder is None:
            decoder = {
                "name": "conv",
                "channels": _widths(shape, width),
                "activation": "relu",
                "norm": "batch",
            }
        self.encoder = build(encoder, "encoders", shape=given_shape, dim=dim)
        self.between = nn.Sequential(nn.BatchNorm1d(dim), nn.LeakyReLU(0.2))
        self.decoder = build(decoder, "decoders", dim=dim, shape=shape)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *given_shape)` -> `(batch, *shape)`, unconstrained."""
        return self.decoder(self.between(self.encoder(x)))


def _widths(shape: Shape, width: int) -> tuple[int, ...]:
    """Channels of each level, from the data inwards."""
    if not is_image(shape) or min(shape[1:]) < 4:
        raise SettingError(
            f"shape = {shape!r}: convolutions need images (C, H, W) of 4 pixels or more; give an encoder and a decoder."
        )
    depth = next(level for level in range(2, 32) if min(shape[1:]) >> level < 6)
    return tuple(width * min(2**level, 8) for level in range(depth))


class Dropout(nn.Module):
    """Dropout that is always on, drawn for the global batch, so that ranks agree with a single process."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        kept = uniform(x.shape[0], *x.shape[1:], like=x) >= self.probability
        return x * kept / (1 - self.probability)

    def extra_repr(self) -> str:
        return f"{self.probability:g}"


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (
            [nn.ReflectionPad2d(1), *_convolution(nn.Conv2d, width, width, "plain", kernel_size=3)]
            for _ in range(2)
        )
        self.net = nn.Sequential(*first, nn.ReLU(), *second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


def _convolution(
    layer: type[nn.Module],
    inputs: int,
    outputs: int,
    norm: Norm | Literal["plain"],
    **geometry: int | tuple[int, ...],
) -> list[nn.Module]:
    """Weights and their norm; `"plain"` is instance norm without gains, as in CycleGAN's code."""
    norms = {
        "instance": lambda: [nn.InstanceNorm2d(outputs, affine=True)],
        "plain": lambda: [nn.InstanceNorm2d(outputs)],
        "batch": lambda: [nn.BatchNorm2d(outputs)],
        "none": list,
    }
    return [
        layer(inputs, outputs, bias=norm == "none", **geometry),
        *norms[norm](),
    ]  # a norm cancels a bias before it


def _same_size(given_shape: Shape, shape: Shape, least: int) -> tuple[int, int]:
    """Height and width of the images."""
    if (
        not is_image(given_shape)
        or not is_image(shape)
        or given_shape[1:] != shape[1:]
        or min(shape[1:]) < least
    ):
        raise SettingError(
            f"given_shape = {given_shape!r}, shape = {shape!r}: this network needs images (C, H, W) of one height and width, "
            f'{least} pixels at least; "bottleneck" takes others.'
        )
    return shape[1], shape[2]
