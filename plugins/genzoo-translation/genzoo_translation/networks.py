"""Networks from images to images: Pix2Pix's U-Net, CycleGAN's ResNet, DiscoGAN's bottleneck."""

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

__all__ = ["Bottleneck", "Dropout", "ResNet", "UNet"]

Norm = Literal["instance", "batch", "none"]
_HALVE = {"kernel_size": 4, "stride": 2, "padding": 1}


class UNet(Translator):
    r"""An encoder and a decoder with skip connections between levels of the same size.

    Each level halves the image, until its shorter side is one pixel. For 256 pixels, these are the
    paper's eight levels. The paper uses batch norm with the statistics of the batch, also at test
    time. For a batch of one, this equals instance norm. So instance norm is the default here, for
    batches of every size. The innermost level has no norm, because one pixel has no variance.

    Arguments:
        given_shape: the shape of the inputs, `(C, H, W)`, with sides of at least 4 pixels.
        shape: the shape of the outputs, with the same height and width.
        width: channels of the outermost level; inner levels have 2, 4, 8, 8, ... times as many.
        depth: the number of levels. By default, the largest possible number.
        norm: `"instance"`, `"batch"`, or `"none"`.
        dropout: the dropout probability in the three innermost levels of the decoder. Dropout
            stays on after training, because it is the model's only noise.

    Raises:
        SettingError: the shapes are not those of images of the same size, or `depth` is too large.

    References:
        Image-to-Image Translation with Conditional Adversarial Networks, Isola, Zhu, Zhou and
        Efros, 2017, https://arxiv.org/abs/1611.07004

    Example:
        >>> net = UNet(given_shape=(1, 28, 28), shape=(3, 28, 28), width=8)
        >>> net(torch.rand(2, 1, 28, 28)).shape
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
        height, image_width = _same_size(given_shape, shape, smallest=4)
        largest = min(height, image_width).bit_length() - 1
        if (depth or largest) > largest or not 0 <= dropout < 1:
            raise SettingError(
                f"depth = {depth}, dropout = {dropout:g}: images of {height} x {image_width} have "
                f"up to {largest} levels, and dropout is in [0, 1)."
            )
        self.given_shape, self.shape = given_shape, shape
        depth = depth or largest
        channels = [given_shape[0], *(width * min(2**level, 8) for level in range(depth))]
        sizes = [(height >> level, image_width >> level) for level in range(depth)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (inputs, outputs) in enumerate(pairwise(channels)):
            # The outermost level sees the data, and the output of the innermost is one pixel.
            inner = 0 < level < depth - 1
            layers = [nn.LeakyReLU(0.2)] if level else []
            block = _convolution(nn.Conv2d, inputs, outputs, norm if inner else "none", **_HALVE)
            self.down.append(nn.Sequential(*layers, *block))
        for level in reversed(range(depth)):
            # Except for the innermost level, the input also contains the encoder's level.
            inputs = channels[level + 1] * (1 if level == depth - 1 else 2)
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
            if dropout and level and level >= depth - 3:
                block.append(Dropout(dropout))
            self.up.append(nn.Sequential(nn.ReLU(), *block))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(batch, *given_shape)` to unconstrained outputs `(batch, *shape)`."""
        levels = []
        for down in self.down:
            x = down(x)
            levels.append(x)
        x = self.up[0](levels.pop())
        for up in list(self.up)[1:]:
            x = up(torch.cat([x, levels.pop()], dim=1))
        return x


class ResNet(Translator):
    r"""Residual blocks at a quarter of the image size, with instance norm and reflection padding.

    Two strided convolutions precede the blocks, and two transposed convolutions follow. The
    blocks change an image locally, so they change colors and textures rather than shapes.

    Arguments:
        given_shape: the shape of the inputs, `(C, H, W)`, with sides of at least 8 pixels.
        shape: the shape of the outputs, with the same height and width.
        width: channels at the full size.
        blocks: the number of residual blocks. By default 6 for images of less than 256 pixels and
            9 for larger images, as in the paper for 128 and 256 pixels.

    Raises:
        SettingError: the shapes are not those of images of the same size, or are too small.

    References:
        Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, Zhu, Park,
        Isola and Efros, 2017, https://arxiv.org/abs/1703.10593

    Example:
        >>> net = ResNet(given_shape=(3, 30, 41), shape=(3, 30, 41), width=4, blocks=1)
        >>> net(torch.rand(2, 3, 30, 41)).shape
        torch.Size([2, 3, 30, 41])
    """

    def __init__(
        self, given_shape: Shape, shape: Shape, width: Positive = 64, blocks: Count | None = None
    ) -> None:
        super().__init__()
        size = _same_size(given_shape, shape, smallest=8)
        self.given_shape, self.shape = given_shape, shape
        blocks = blocks or (6 if min(size) < 256 else 9)
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            *_convolution(nn.Conv2d, given_shape[0], width, "plain", kernel_size=7),
        ]
        sizes = [size]
        for level in (1, 2):
            # n pixels become n / 2, rounded up.
            step = {"kernel_size": 3, "stride": 2, "padding": 1}
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
        """Map `(batch, *given_shape)` to unconstrained outputs `(batch, *shape)`."""
        return self.net(x)


class Bottleneck(Translator):
    """An encoder to a vector and a decoder from it.

    The vector does not contain the layout of the image, so the network can change shapes.

    Arguments:
        given_shape: the shape of the inputs.
        shape: the shape of the outputs.
        dim: the size of the vector. Batch norm and a leaky ReLU follow it.
        width: channels of the outermost level.
        encoder: a part of kind `"encoders"`. By default, strided convolutions with batch norm. They
            halve the image until its shorter side has fewer than 6 pixels, and double the channels
            up to 8 times the width (four levels for 64 pixels, as in the authors' code).
        decoder: a part of kind `"decoders"`. By default, the mirror image of the encoder.

    References:
        Learning to Discover Cross-Domain Relations with Generative Adversarial Networks, Kim, Cha,
        Kim, Lee and Kim, 2017, https://arxiv.org/abs/1703.05192;
        code: https://github.com/SKTBrain/DiscoGAN

    Example:
        >>> part = {"name": "conv", "channels": (4, 8)}
        >>> net = Bottleneck((1, 28, 28), (3, 28, 28), encoder=part, decoder=part)
        >>> net(torch.rand(2, 1, 28, 28)).shape
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
        """Map `(batch, *given_shape)` to unconstrained outputs `(batch, *shape)`."""
        return self.decoder(self.between(self.encoder(x)))


def _widths(shape: Shape, width: int) -> tuple[int, ...]:
    """Return the channels of each level, from the data inwards."""
    if not is_image(shape) or min(shape[1:]) < 4:
        raise SettingError(
            f"shape = {shape!r}: convolutions need images (C, H, W) of 4 pixels or more; set an "
            "encoder and a decoder for other data."
        )
    depth = next(level for level in range(2, 32) if min(shape[1:]) >> level < 6)
    return tuple(width * min(2**level, 8) for level in range(depth))


class Dropout(nn.Module):
    """Dropout that is always on.

    Its noise belongs to the global batch, so several processes give the results of one.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with some numbers set to zero and the others scaled up."""
        kept = uniform(x.shape[0], *x.shape[1:], like=x) >= self.probability
        return x * kept / (1 - self.probability)

    def extra_repr(self) -> str:
        return f"{self.probability:g}"


class _Residual(nn.Module):
    """A residual block of two 3x3 convolutions with reflection padding."""

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
    """Return a convolution and its norm.

    `"plain"` is instance norm without learned parameters, as in CycleGAN's code.
    """
    norms = {
        "instance": lambda: [nn.InstanceNorm2d(outputs, affine=True)],
        "plain": lambda: [nn.InstanceNorm2d(outputs)],
        "batch": lambda: [nn.BatchNorm2d(outputs)],
        "none": list,
    }
    # A norm removes the bias of the convolution before it.
    return [layer(inputs, outputs, bias=norm == "none", **geometry), *norms[norm]()]


def _same_size(given_shape: Shape, shape: Shape, smallest: int) -> tuple[int, int]:
    """Return the height and width of the images.

    Raises:
        SettingError: the shapes are not those of images of the same size, or are too small.
    """
    both_images = is_image(given_shape) and is_image(shape)
    if not both_images or given_shape[1:] != shape[1:] or min(shape[1:]) < smallest:
        raise SettingError(
            f"given_shape = {given_shape!r}, shape = {shape!r}: this network needs images "
            f"(C, H, W) of the same height and width, at least {smallest} pixels; choose "
            '"bottleneck" for others.'
        )
    return shape[1], shape[2]
