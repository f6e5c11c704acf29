"""The residual networks of WGAN-GP's character model: convolutions over the places of a line, which keep its length.

References:
    Improved Training of Wasserstein GANs, Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, 2017,
        https://arxiv.org/abs/1704.00028; code: https://github.com/igul222/improved_wgan_training (gan_language.py)
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genzoo.contract import Count, Critic, Decoder, NonNegativeFloat, Positive, Shape
from genzoo.errors import DataError, SettingError

EXAMPLES: tuple[Shape, ...] = ((6, 5), (32, 27))


class CharResidual(nn.Module):
    r"""\( h + s \, C_2(\max(0, C_1(\max(0, h)))) \) with convolutions C of five places: `(batch, width, length)` to the same.

    Arguments:
        width: channels.
        scale: \( s \).
    """

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.net = nn.Sequential(
            nn.ReLU(), _conv(width, width, 5), nn.ReLU(), _conv(width, width, 5)
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.scale * self.net(h)

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class CharDecoder(Decoder):
    """Maps latent vectors to the logits of each place's symbol: a linear layer, residual blocks, a linear map at each place.

    Arguments:
        dim: latent dimension.
        shape: `(length, symbols)`.
        width: channels between.
        depth: residual blocks.
        scale: of what a block adds.

    Raises:
        SettingError: `shape` is not that of a line.

    Example:
        >>> import torch
        >>> decoder = CharDecoder(dim=4, shape=(6, 5), width=8, depth=1)
        >>> decoder(torch.randn(3, 4)).shape
        torch.Size([3, 6, 5])
    """

    example_shapes: ClassVar[tuple[Shape, ...]] = EXAMPLES

    def __init__(
        self,
        dim: Positive,
        shape: Shape,
        width: Positive = 512,
        depth: Count = 5,
        scale: NonNegativeFloat = 0.3,
    ) -> None:
        super().__init__()
        self.dim, self.shape = dim, tuple(shape)
        length, symbols = line_shape(shape, "char-resnet")
        blocks = [CharResidual(width, scale) for _ in range(depth)]
        self.net = nn.Sequential(
            _linear(dim, width * length),
            nn.Unflatten(1, (width, length)),
            *blocks,
            _conv(width, symbols, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Latent `(batch, dim)` -> logits `(batch, length, symbols)`."""
        return self.net(z).transpose(1, 2)


class CharCritic(Critic):
    """Maps lines, one-hot or as probabilities of symbols, to a score: the networks of a `CharDecoder` in reverse order.

    Arguments:
        shape: `(length, symbols)`.
        width: channels between.
        depth: residual blocks.
        scale: of what a block adds.

    Raises:
        SettingError: `shape` is not that of a line.

    Example:
        >>> import torch
        >>> critic = CharCritic(shape=(6, 5), width=8, depth=1)
        >>> critic(torch.rand(3, 6, 5)).shape
        torch.Size([3])
    """

    example_shapes: ClassVar[tuple[Shape, ...]] = EXAMPLES

    def __init__(
        self, shape: Shape, width: Positive = 512, depth: Count = 5, scale: NonNegativeFloat = 0.3
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        length, symbols = line_shape(shape, "char-resnet")
        blocks = [CharResidual(width, scale) for _ in range(depth)]
        self.net = nn.Sequential(
            _conv(symbols, width, 1), *blocks, nn.Flatten(), _linear(width * length, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Lines `(batch, length, symbols)` -> scores `(batch,)`, unconstrained."""
        return self.net(x.transpose(1, 2)).squeeze(1)


def line_shape(shape: Shape, who: str) -> tuple[int, int]:
    """`(length, symbols)`.

    Raises:
        SettingError: the shape is another one.
    """
    if len(shape) != 2:
        raise SettingError(
            f"{who} is for lines of text, of shape (length, symbols), not for {tuple(shape)}; take a data set with symbols."
        )
    return shape[0], shape[1]


def symbols_of(x: Tensor, who: str) -> Tensor:
    """One-hot lines `(n, L, V)` as integers `(n, L)`.

    Raises:
        DataError: some place has no single symbol.
    """
    symbols = x.argmax(dim=-1)
    if not torch.equal(one_hot(symbols, x.shape[-1]).to(x.dtype), x):
        raise DataError(
            f'{who} reads one-hot symbols; take a data set that says symbols, such as "lines" or "words".'
        )
    return symbols


def _conv(inputs: int, outputs: int, places: int) -> nn.Module:
    """A convolution that keeps the length; the authors' start, weights of variance 4 / (in + out), is He's for in = out."""
    return _started(nn.Conv1d(inputs, outputs, places, padding="same"), 2**0.5)


def _linear(inputs: int, outputs: int) -> nn.Module:
    """A linear layer with the authors' start, Glorot's."""
    return _started(nn.Linear(inputs, outputs), 1.0)


def _started(layer: nn.Conv1d | nn.Linear, gain: float) -> nn.Module:
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
