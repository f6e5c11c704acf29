"""Multilayer perceptrons for data of any shape; a fast and strong default for small images."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from genzoo.blocks.norm import Activation, VectorNorm, at_the_edge, finish, weights
from genzoo.contract import Critic, Decoder, Encoder, Positive, Shape

__all__ = ["MLPCritic", "MLPDecoder", "MLPEncoder"]


class MLPEncoder(Encoder):
    """An encoder of flattened data with fully connected layers.

    Arguments:
        shape: the shape of one example.
        dim: the number of features, which are unconstrained.
        hidden: the widths of the hidden layers, starting at the data; empty for a linear map.
        activation: the nonlinearity after each hidden layer.
        norm: the norm of each hidden layer; `"spectral"` also applies to the output layer.

    Example:
        >>> encoder = MLPEncoder(shape=(1, 8, 8), dim=2, hidden=(16,))
        >>> encoder(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        shape: Shape,
        dim: Positive,
        hidden: tuple[Positive, ...] = (512, 256),
        activation: Activation = "silu",
        norm: VectorNorm = "none",
    ) -> None:
        super().__init__()
        self.shape, self.dim = shape, dim
        widths = (math.prod(shape), *hidden, dim)
        self.net = nn.Sequential(nn.Flatten(), *_layers(widths, activation, norm))

    def forward(self, x: Tensor) -> Tensor:
        """Encode data `(batch, *shape)` as features `(batch, dim)`."""
        return self.net(x)


class MLPDecoder(Decoder):
    """A decoder with fully connected layers; the mirror image of an `MLPEncoder`.

    Arguments:
        dim: the number of latent coordinates.
        shape: the shape of one example.
        hidden: the widths of the hidden layers, starting at the data, as in the encoder.
        activation: the nonlinearity after each hidden layer.
        norm: the norm of each hidden layer; `"spectral"` also applies to the output layer.

    Example:
        >>> decoder = MLPDecoder(dim=2, shape=(1, 8, 8), hidden=(16,))
        >>> decoder(torch.randn(5, 2)).shape
        torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self,
        dim: Positive,
        shape: Shape,
        hidden: tuple[Positive, ...] = (512, 256),
        activation: Activation = "silu",
        norm: VectorNorm = "none",
    ) -> None:
        super().__init__()
        self.dim, self.shape = dim, shape
        widths = (dim, *reversed(hidden), math.prod(shape))
        self.net = nn.Sequential(*_layers(widths, activation, norm), nn.Unflatten(1, shape))

    def forward(self, z: Tensor) -> Tensor:
        """Decode latent vectors `(batch, dim)` to data `(batch, *shape)`, unconstrained."""
        return self.net(z)


class MLPCritic(Critic):
    """A critic: an `MLPEncoder` with a single feature.

    Arguments:
        shape: the shape of one example.
        hidden: the widths of the hidden layers, starting at the data.
        activation: the nonlinearity after each hidden layer.
        norm: the norm of each hidden layer; `"spectral"` also applies to the output layer.

    Example:
        >>> critic = MLPCritic(shape=(2,), hidden=(16,), norm="spectral")
        >>> critic(torch.randn(5, 2)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        shape: Shape,
        hidden: tuple[Positive, ...] = (512, 256),
        activation: Activation = "leaky-relu",
        norm: VectorNorm = "none",
    ) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = MLPEncoder(
            shape=shape, dim=1, hidden=hidden, activation=activation, norm=norm
        )

    def forward(self, x: Tensor) -> Tensor:
        """Score data: `(batch, *shape)` -> `(batch,)`, unconstrained."""
        return self.encoder(x).squeeze(1)


def _layers(widths: tuple[int, ...], activation: Activation, norm: VectorNorm) -> list[nn.Module]:
    """Return fully connected layers of these widths; all but the last are hidden."""
    *hidden, (last, outputs) = pairwise(widths)
    layers: list[nn.Module] = []
    for inputs, width in hidden:
        layers.append(weights(nn.Linear, inputs, width, norm))
        layers.extend(finish(width, norm, activation, image=False))
    return [*layers, weights(nn.Linear, last, outputs, at_the_edge(norm))]
