"""The residual networks of WGAN-GP's character model: convolutions along a line of text.

References:
    Improved Training of Wasserstein GANs, Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, 2017,
        https://arxiv.org/abs/1704.00028;
        code: https://github.com/igul222/improved_wgan_training (gan_language.py)
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genzoo.contract import Count, Critic, Decoder, NonNegativeFloat, Positive, Shape
from genzoo.errors import DataError, SettingError

__all__ = ["EXAMPLES", "CharCritic", "CharDecoder", "CharResidual", "line_shape", "symbols_of"]

EXAMPLES: tuple[Shape, ...] = ((6, 5), (32, 27))
"""The shapes, (length, symbols), that the conformance suite uses."""


class CharResidual(nn.Module):
    r"""A residual block: \( h + s \, C_2(\max(0, C_1(\max(0, h)))) \).

    The convolutions \( C \) have kernels of size five and keep the shape, `(batch, width, length)`.

    Arguments:
        width: the number of channels.
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
    """A decoder from latent vectors to the logits of the symbol at each position.

    It consists of a linear layer, residual blocks, and a linear layer at each position.

    Arguments:
        dim: the latent dimension.
        shape: `(length, symbols)`.
        width: the number of hidden channels.
        depth: the number of residual blocks.
        scale: the factor on the output of a block before it is added to the input.

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
        """Map latent vectors `(batch, dim)` to logits `(batch, length, symbols)`."""
        return self.net(z).transpose(1, 2)


class CharCritic(Critic):
    """A critic of lines, which are one-hot vectors or probabilities of symbols.

    It has the layers of a `CharDecoder` in reverse order.

    Arguments:
        shape: `(length, symbols)`.
        width: the number of hidden channels.
        depth: the number of residual blocks.
        scale: the factor on the output of a block before it is added to the input.

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
        """Map lines `(batch, length, symbols)` to unconstrained scores `(batch,)`."""
        return self.net(x.transpose(1, 2)).squeeze(1)


def line_shape(shape: Shape, name: str) -> tuple[int, int]:
    """Return the length and the number of symbols of a line's shape.

    Arguments:
        shape: a shape from a dataset.
        name: the registered name of the model or network, for the message.

    Raises:
        SettingError: it is not the shape of a line.
    """
    if len(shape) != 2:
        raise SettingError(
            f"{name} is for lines of text of shape (length, symbols), not for shape "
            f"{tuple(shape)}; choose a dataset with symbols."
        )
    return shape[0], shape[1]


def symbols_of(x: Tensor, name: str) -> Tensor:
    """Return one-hot lines, `(n, L, V)`, as symbol numbers, `(n, L)`.

    Arguments:
        x: the lines.
        name: the registered name of the model or metric, for the message.

    Raises:
        DataError: the lines are not one-hot.
    """
    symbols = x.argmax(dim=-1)
    if not torch.equal(one_hot(symbols, x.shape[-1]).to(x.dtype), x):
        raise DataError(
            f"{name} reads one-hot symbols, and these values are not one-hot; choose a dataset "
            'with symbols, such as "lines" or "words".'
        )
    return symbols


def _conv(inputs: int, outputs: int, size: int) -> nn.Module:
    """Return a convolution that keeps the length, with the authors' initialization.

    Its weights have variance 4 / (in + out), which is He's initialization for in = out.
    """
    return _initialized(nn.Conv1d(inputs, outputs, size, padding="same"), 2**0.5)


def _linear(inputs: int, outputs: int) -> nn.Module:
    """Return a linear layer with the authors' initialization, which is Glorot's."""
    return _initialized(nn.Linear(inputs, outputs), 1.0)


def _initialized(layer: nn.Conv1d | nn.Linear, gain: float) -> nn.Module:
    """Return a layer with Glorot's uniform weights, times `gain`, and biases of zero."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
