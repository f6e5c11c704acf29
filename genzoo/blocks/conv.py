"""Strided convolutions in the manner of DCGAN, for images of any size: each level halves (or doubles) height and width.

References:
    Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (Radford, Metz and Chintala,
    2016), https://arxiv.org/abs/1511.06434
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from genzoo.blocks.norm import Activation, Norm, at_the_edge, finish, weights
from genzoo.contract import Critic, Decoder, Encoder, Positive, Shape, is_image
from genzoo.errors import SettingError

_HALVE = {"kernel_size": 4, "stride": 2, "padding": 1}
"""n pixels become n // 2, and transposed, n become 2n: what an odd size lacks is the output padding."""


class ConvEncoder(Encoder):
    """Maps images to features: strided convolutions, then one linear layer.

    Arguments:
        shape: shape of one image, `(C, H, W)`, of any height and width that can be halved once a level.
        dim: number of features, unconstrained.
        channels: width of each level, from the data inwards.
        activation: nonlinearity after each level.
        norm: norm of each level but the one that sees the data; `"spectral"` also of that one and of the output layer.

    Raises:
        SettingError: `shape` is not that of an image, or too small for so many levels or for the norm.

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
            here = norm if level else edge
            layers += [
                weights(nn.Conv2d, inputs, outputs, here, **_HALVE),
                *finish(outputs, here, activation, image=True),
            ]
        self.net = nn.Sequential(
            *layers, nn.Flatten(), weights(nn.Linear, channels[-1] * height * width, dim, edge)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images `(batch, *shape)` -> features `(batch, dim)`."""
        return self.net(x)


class ConvDecoder(Decoder):
    """Maps latent vectors to images: one linear layer, then transposed convolutions through the sizes of the `ConvEncoder`.

    Arguments:
        dim: latent dimension.
        shape: shape of one image, `(C, H, W)`, of any height and width that can be halved once a level.
        channels: width of each level, from the data inwards as in the encoder.
        activation: nonlinearity after each level.
        norm: norm of each level but the one that makes the data; `"spectral"` also of that one.

    Raises:
        SettingError: `shape` is not that of an image, or too small for so many levels or for the norm.

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
            here = norm if level else edge
            odd = (height % 2, width % 2)
            layers += finish(inputs, norm, activation, image=True)
            layers += [
                weights(nn.ConvTranspose2d, inputs, outputs, here, **_HALVE, output_padding=odd)
            ]
        self.net = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Latent `(batch, dim)` -> images `(batch, *shape)`, unconstrained."""
        return self.net(z)


class ConvCritic(Critic):
    """Maps images to a score: a `ConvEncoder` with a single feature.

    Arguments:
        shape: shape of one image, `(C, H, W)`, of any height and width that can be halved once a level.
        channels: width of each level, from the data inwards.
        activation: nonlinearity after each level.
        norm: norm of each level but the one that sees the data; `"layer"` goes with a gradient penalty, which `"batch"` does not
            allow; `"spectral"` also of the first and the output layer.

    Raises:
        SettingError: `shape` is not that of an image, or too small for so many levels or for the norm.

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
        self.encoder = ConvEncoder(shape, 1, channels, activation, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(batch, *shape)` -> scores `(batch,)`, unconstrained."""
        return self.encoder(x).squeeze(1)


def _sizes(shape: Shape, channels: tuple[int, ...], norm: Norm) -> list[tuple[int, int]]:
    """Height and width at the data and after each level."""
    if not is_image(shape):
        raise SettingError(
            f"shape = {shape!r}: convolutions need images (C, H, W); take 'mlp' for data of other shapes."
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
            f'norm = "instance" needs more than the one pixel that {len(channels)} levels leave of images of {height} x {width}; '
            'give fewer channels, or take "layer".'
        )
    return sizes
