"""Convolutional encoders, decoders, and critics for images of any size.

Each level halves (or doubles) height and width. An encoder has strided convolutions, as in DCGAN. A
decoder enlarges the image and then applies a convolution to it. A transposed convolution, as in
DCGAN, does both at once, but it leaves a grid with a period of two pixels in the image.

References:
    Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks,
        Radford, Metz and Chintala, 2016, https://arxiv.org/abs/1511.06434
    Deconvolution and Checkerboard Artifacts, Odena, Dumoulin and Olah, 2016,
        https://doi.org/10.23915/distill.00003
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from genzoo.blocks.norm import Activation, Norm, at_the_edge, finish, weights
from genzoo.contract import Critic, Decoder, Encoder, Positive, Shape, is_image
from genzoo.errors import SettingError

__all__ = ["ConvCritic", "ConvDecoder", "ConvEncoder", "Upsampling", "default_channels"]

Upsampling = Literal["nearest", "bilinear", "transposed"]
"""The layer that doubles height and width in a decoder.

`"nearest"` and `"bilinear"` interpolate the image, and a 3x3 convolution follows. `"transposed"` is
a transposed convolution.
"""

_HALVE: dict[str, int] = {"kernel_size": 4, "stride": 2, "padding": 1}
"""A convolution from n to n // 2 pixels. Transposed, it maps n to 2n pixels, and the output padding
adds one for odd sizes."""
_SAME: dict[str, int] = {"kernel_size": 3, "padding": 1}
"""A convolution that keeps height and width."""
_NARROWEST, _WIDEST = 32, 256
"""The default number of channels next to the data, and the largest default number."""
_SMALLEST = 5
"""By default, levels are added while the shorter side is longer than this."""
_FEWEST = 2
"""The smallest default number of levels, if the image can be halved so often."""


def default_channels(shape: Shape) -> tuple[int, ...]:
    """Return the channels of each level that suit images of a shape, starting at the data.

    Levels halve the image until its shorter side has at most five pixels: three levels for 28 and
    32 pixels, four for 64, and five for 128. Smaller images get two levels if they can be halved
    twice. The first level has 32 channels. Each further level doubles them, up to 256.

    Arguments:
        shape: the shape of one image, `(C, H, W)`.

    Example:
        >>> default_channels((1, 28, 28))
        (32, 64, 128)
    """
    side, levels = min(shape[1:]), 0
    while side > _SMALLEST or (levels < _FEWEST and side > 1):
        side, levels = side // 2, levels + 1
    return tuple(min(_NARROWEST * 2**level, _WIDEST) for level in range(levels))


class ConvEncoder(Encoder):
    """An encoder of images: strided convolutions, then one linear layer.

    Arguments:
        shape: the shape of one image, `(C, H, W)`; each level halves height and width.
        dim: the number of features, which are unconstrained.
        channels: the number of channels of each level, starting at the data. None chooses depth and
            channels by the size of the image (see `default_channels`).
        activation: the nonlinearity after each level.
        norm: the norm of each level except the one next to the data. `"spectral"` also applies to
            that level and to the output layer.

    Raises:
        SettingError: `shape` is not the shape of an image, or the image is too small for the number
            of levels or for the norm.

    Example:
        >>> encoder = ConvEncoder(shape=(3, 25, 31), dim=2, channels=(4, 8))
        >>> encoder(torch.rand(5, 3, 25, 31)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        shape: Shape,
        dim: Positive,
        channels: tuple[Positive, ...] | None = None,
        activation: Activation = "relu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self.shape, self.dim = shape, dim
        channels, sizes = _levels(shape, channels, norm)
        height, width = sizes[-1]
        edge = at_the_edge(norm)
        layers: list[nn.Module] = []
        for level, (inputs, outputs) in enumerate(pairwise((shape[0], *channels))):
            level_norm = norm if level else edge
            layers.append(weights(nn.Conv2d, inputs, outputs, level_norm, **_HALVE))
            layers.extend(finish(outputs, level_norm, activation, image=True))
        output = weights(nn.Linear, channels[-1] * height * width, dim, edge)
        self.net = nn.Sequential(*layers, nn.Flatten(), output)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images `(batch, *shape)` as features `(batch, dim)`."""
        return self.net(x)


class ConvDecoder(Decoder):
    """A decoder to images: one linear layer, then levels that double height and width.

    Its levels have the sizes of a `ConvEncoder` with the same settings.

    Arguments:
        dim: the number of latent coordinates.
        shape: the shape of one image, `(C, H, W)`; each level halves height and width.
        channels: the number of channels of each level, starting at the data, as in the encoder.
        activation: the nonlinearity after each level.
        norm: the norm of each level except the one that returns the data. `"spectral"` also applies
            to that level.
        upsample: how a level doubles height and width: `"nearest"`, `"bilinear"`, or
            `"transposed"`. With the first two, each level ends with a 3x3 convolution, and a last
            3x3 convolution at full size maps `channels[0] // 2` channels to the data.

    Raises:
        SettingError: `shape` is not the shape of an image, or the image is too small for the number
            of levels or for the norm.

    Example:
        >>> decoder = ConvDecoder(dim=2, shape=(3, 25, 31), channels=(4, 8))
        >>> decoder(torch.randn(5, 2)).shape
        torch.Size([5, 3, 25, 31])
    """

    def __init__(
        self,
        dim: Positive,
        shape: Shape,
        channels: tuple[Positive, ...] | None = None,
        activation: Activation = "relu",
        norm: Norm = "none",
        upsample: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        self.dim, self.shape = dim, shape
        channels, sizes = _levels(shape, channels, norm)
        height, width = sizes[-1]
        edge = at_the_edge(norm)
        layers = [
            weights(nn.Linear, dim, channels[-1] * height * width, norm),
            nn.Unflatten(1, (channels[-1], height, width)),
        ]
        # interpolated levels end before the data, because a last convolution works at full size
        last = shape[0] if upsample == "transposed" else max(1, channels[0] // 2)
        levels = [*zip(sizes, pairwise((last, *channels)), strict=False)]
        for size, (outputs, inputs) in reversed(levels):
            layers.extend(finish(inputs, norm, activation, image=True))
            if upsample == "transposed":
                level_norm = edge if size == sizes[0] else norm
                odd = (size[0] % 2, size[1] % 2)
                layers.append(
                    weights(
                        nn.ConvTranspose2d,
                        inputs,
                        outputs,
                        level_norm,
                        **_HALVE,
                        output_padding=odd,
                    )
                )
            else:
                layers.append(nn.Upsample(size, mode=upsample))
                layers.append(weights(nn.Conv2d, inputs, outputs, norm, **_SAME))
        if upsample != "transposed":
            layers.extend(finish(last, norm, activation, image=True))
            layers.append(weights(nn.Conv2d, last, shape[0], edge, **_SAME))
        self.net = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Decode latent vectors `(batch, dim)` to images `(batch, *shape)`, unconstrained."""
        return self.net(z)


class ConvCritic(Critic):
    """A critic of images: a `ConvEncoder` with a single feature.

    Arguments:
        shape: the shape of one image, `(C, H, W)`; each level halves height and width.
        channels: the number of channels of each level, starting at the data. None chooses depth and
            channels by the size of the image (see `default_channels`).
        activation: the nonlinearity after each level.
        norm: the norm of each level except the one next to the data. Use `"layer"` with a gradient
            penalty, which does not allow `"batch"`. `"spectral"` also applies to the first and to
            the output layer.

    Raises:
        SettingError: `shape` is not the shape of an image, or the image is too small for the number
            of levels or for the norm.

    Example:
        >>> critic = ConvCritic(shape=(1, 8, 8), channels=(4, 8), norm="layer")
        >>> critic(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        shape: Shape,
        channels: tuple[Positive, ...] | None = None,
        activation: Activation = "leaky-relu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = ConvEncoder(
            shape=shape, dim=1, channels=channels, activation=activation, norm=norm
        )

    def forward(self, x: Tensor) -> Tensor:
        """Score images: `(batch, *shape)` -> `(batch,)`, unconstrained."""
        return self.encoder(x).squeeze(1)


def _levels(
    shape: Shape, channels: tuple[int, ...] | None, norm: Norm
) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """Return the channels of each level, and height and width of the data and after each level."""
    if not is_image(shape):
        raise SettingError(
            f"shape = {shape!r}: convolutions need images (C, H, W); take 'mlp' for data of other "
            "shapes."
        )
    _, height, width = shape
    most = min(height, width).bit_length() - 1
    if channels is None and most:
        channels = default_channels(shape)
    if channels is None or not 1 <= len(channels) <= most:
        way_out = f"give 1 to {most} levels, or take 'mlp'." if most else "take 'mlp'."
        raise SettingError(
            f"channels = {channels!r}: each level halves images of {height} x {width}; {way_out}"
        )
    sizes = [(height >> level, width >> level) for level in range(len(channels) + 1)]
    if norm == "instance" and sizes[-1] == (1, 1):
        raise SettingError(
            f'norm = "instance" needs more than one pixel, but {len(channels)} levels leave one '
            f'of images of {height} x {width}; give fewer channels, or take "layer".'
        )
    return channels, sizes
