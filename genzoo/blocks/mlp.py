"""Multilayer perceptrons for data of any shape: a strong and fast default for small images on a CPU."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from genzoo.blocks.norm import Activation, VectorNorm, at_the_edge, finish, weights
from genzoo.contract import Critic, Decoder, Encoder, Positive, Shape


class MLPEncoder(Encoder):
    """Maps flattened data to features through fully connected layers.

    Arguments:
        shape: shape of one example.
        dim: number of features, unconstrained.
        hidden: widths of the hidden layers, from the data inwards; empty for a linear map.
        activation: nonlinearity after each hidden layer.
        norm: norm of each hidden layer; `"spectral"` also of the output layer.

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
        self.net = nn.Sequential(
            nn.Flatten(), *_layers((math.prod(shape), *hidden, dim), activation, norm)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Data `(batch, *shape)` -> features `(batch, dim)`."""
        return self.net(x)


class MLPDecoder(Decoder):
    """Maps latent vectors to data through fully connected layers; the mirror image of an `MLPEncoder` of the same settings.

    Arguments:
        dim: latent dimension.
        shape: shape of one example.
        hidden: widths of the hidden layers, from the data inwards as in the encoder.
        activation: nonlinearity after each hidden layer.
        norm: norm of each hidden layer; `"spectral"` also of the output layer.

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
        """Latent `(batch, dim)` -> data `(batch, *shape)`, unconstrained."""
        return self.net(z)


class MLPCritic(Critic):
    """Maps data to a score: an `MLPEncoder` with a single feature.

    Arguments:
        shape: shape of one example.
        hidden: widths of the hidden layers, from the data inwards.
        activation: nonlinearity after each hidden layer.
        norm: norm of each hidden layer; `"spectral"` also of the output layer.

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
        self.encoder = MLPEncoder(shape, 1, hidden, activation, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Data `(batch, *shape)` -> scores `(batch,)`, unconstrained."""
        return self.encoder(x).squeeze(1)


def _layers(widths: tuple[int, ...], activation: Activation, norm: VectorNorm) -> list[nn.Module]:
    """Fully connected layers of these widths; all but the last are hidden."""
    *hidden, (last, outputs) = pairwise(widths)
    layers: list[nn.Module] = []
    for inputs, width in hidden:
        layers += [
            weights(nn.Linear, inputs, width, norm),
            *finish(width, norm, activation, image=False),
        ]
    return [*layers, weights(nn.Linear, last, outputs, at_the_edge(norm))]
