"""The norms and activations of the layers of encoders, decoders, and critics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils.parametrizations import spectral_norm

__all__ = [
    "Activation",
    "Norm",
    "ShiftedSoftplus",
    "VectorNorm",
    "at_the_edge",
    "finish",
    "weights",
]

Norm = Literal["none", "batch", "layer", "instance", "spectral"]
"""The norm of a layer.

- `"batch"` mixes examples. A training batch of one then needs several pixels to average over, and a
  gradient penalty does not allow it.
- `"layer"` normalizes all units or pixels of an example.
- `"instance"` normalizes the pixels of each channel, so it needs more than one pixel.
- `"spectral"` divides the weights of each layer by their largest singular value.
"""
VectorNorm = Literal["none", "batch", "layer", "spectral"]
"""A `Norm` for layers without pixels."""
Activation = Literal["relu", "leaky-relu", "elu", "silu", "gelu", "tanh", "shifted-softplus"]
"""The activation of a layer."""


class ShiftedSoftplus(nn.Module):
    """The activation softplus(2x + 2) / 2 - 1.

    It is similar to ELU, but has a second derivative everywhere. ELU does not, so it does not suit
    a gradient penalty.

    References:
        Improved Training of Wasserstein GANs, Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville,
            2017, appendix D, https://arxiv.org/abs/1704.00028

    Example:
        >>> ShiftedSoftplus()(torch.tensor([-10.0, 0.0, 10.0]))
        tensor([-1.0000,  0.0635, 10.0000])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation to a tensor of any shape."""
        return softplus(2 * x + 2) / 2 - 1


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    # the slope of DCGAN's discriminator
    "leaky-relu": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "shifted-softplus": ShiftedSoftplus,
}
_VECTOR_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}
_IMAGE_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    # a layer norm with a gain per channel, as in WGAN-GP's critic
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}
_CENTERING = ("batch", "instance")
"""Norms that subtract the mean of each unit, and with it any bias before them."""


def weights(
    layer: Callable[..., nn.Module],
    inputs: int,
    outputs: int,
    norm: Norm,
    **geometry: int | tuple[int, int],
) -> nn.Module:
    """Return a layer without its norm and activation.

    Its weights are normalized if the norm is `"spectral"`. It has no bias if the norm would cancel
    it.
    """
    module = layer(inputs, outputs, bias=norm not in _CENTERING, **geometry)
    return spectral_norm(module) if norm == "spectral" else module


def finish(width: int, norm: Norm, activation: Activation, *, image: bool) -> list[nn.Module]:
    """Return the norm of a hidden layer's `width` units or channels, if any, and its activation."""
    norms = _IMAGE_NORMS if image else _VECTOR_NORMS
    activations = [_ACTIVATIONS[activation]()]
    return [norms[norm](width), *activations] if norm in norms else activations


def at_the_edge(norm: Norm) -> Norm:
    """Return the norm of a layer next to the data or the output: `"spectral"` or none.

    Batch norm in these layers makes samples oscillate.

    References:
        Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
            Networks, Radford, Metz and Chintala, 2016, https://arxiv.org/abs/1511.06434
    """
    return norm if norm == "spectral" else "none"
