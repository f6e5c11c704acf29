"""Strided convolutions, as in DCGAN, for images of any size.

Each level halves (or doubles) height and width.

References:
    Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks,
        Radford, Metz and Chintala, 2016, https://arxiv.org/abs/1511.06434
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from genzoo.blocks.norm import Activation, Norm, at_the_edge, finish, weights
from genzoo.contract import Critic, Decoder, Encoder, Positive, Shape, is_image
from genzoo.errors import SettingError

__all__ = ["ConvCritic", "ConvDecoder", "ConvEncoder"]

_HALVE = {"kernel_size": 4, "stride": 2, "padding": 1}
"""A convolution from n to n // 2 pixels. Transposed, it maps n to 2n pixels, and the output padding
adds one for odd sizes."""


class ConvEncoder(Encoder):
    """An encoder of images: strided convolutions, then one linear layer.

    Arguments:
        shape: the shape of one image, `(C, H, W)`; each level halves height and width.
        dim: the number of features, which are unconstrained.
        channels: the width of each level, starting at the data.
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
        channels: tuple[Positive, ...] = (32, 64),
        activation: Activation = "relu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self.shape, self.dim = shape, dim
        height, width = _sizes(shape, channels, norm)[-1]
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
    """A decoder to images: one linear layer, then transposed convolutions.

    Its levels have the sizes of a `ConvEncoder` with the same settings.

    Arguments:
        dim: the number of latent coordinates.
        shape: the shape of one image, `(C, H, W)`; each level halves height and width.
        channels: the width of each level, starting at the data, as in the encoder.
        activation: the nonlinearity after each level.
        norm: the norm of each level except the one that returns the data. `"spectral"` also applies
            to that level.

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
        channels: tuple[Positive, ...] = (32, 64),
        activation: Activation = "relu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self.dim, self.shape = dim, shape
        *sizes, (height, width) = _sizes(shape, channels, norm)
        edge = at_the_edge(norm)
        layers = [
            weights(nn.Linear, dim, channels[-1] * height * width, norm),
            nn.Unflatten(1, (channels[-1], height, width)),
        ]
        levels = enumerate(zip(sizes, pairwise((shape[0], *channels)), strict=True))
        for level, ((height, width), (outputs, inputs)) in reversed(list(levels)):
            level_norm = norm if level else edge
            odd = (height % 2, width % 2)
            layers.extend(finish(inputs, norm, activation, image=True))
            layers.append(
                weights(
                    nn.ConvTranspose2d, inputs, outputs, level_norm, **_HALVE, output_padding=odd
                )
            )
        self.net = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Decode latent vectors `(batch, dim)` to images `(batch, *shape)`, unconstrained."""
        return self.net(z)


class ConvCritic(Critic):
    """A critic of images: a `ConvEncoder` with a single feature.

    Arguments:
        shape: the shape of one image, `(C, H, W)`; each level halves height and width.
        channels: the width of each level, starting at the data.
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
        channels: tuple[Positive, ...] = (32, 64),
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


def _sizes(shape: Shape, channels: tuple[int, ...], norm: Norm) -> list[tuple[int, int]]:
    """Return height and width of the data and after each level."""
    if not is_image(shape):
        raise SettingError(
            f"shape = {shape!r}: convolutions need images (C, H, W); take 'mlp' for data of other "
            "shapes."
        )
    _, height, width = shape
    most = min(height, width).bit_length() - 1
    if not 1 <= len(channels) <= most:
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
    return sizes
