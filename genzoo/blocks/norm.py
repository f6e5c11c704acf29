"""What stands around a layer's weights, chosen in one place: its norm and its activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils.parametrizations import spectral_norm

Norm = Literal["none", "batch", "layer", "instance", "spectral"]
"""Which norm: `"batch"` mixes examples, so a training batch of one needs pixels to average over, and a gradient penalty has no
place for it; `"layer"` is over all units or pixels of an example; `"instance"` over the pixels of each channel, so it needs more
than one; `"spectral"` divides each layer's weights by their largest singular value."""
VectorNorm = Literal["none", "batch", "layer", "spectral"]
"""`Norm` for layers without pixels."""
Activation = Literal["relu", "leaky-relu", "elu", "silu", "gelu", "tanh", "shifted-softplus"]


class ShiftedSoftplus(nn.Module):
    """softplus(2x + 2) / 2 - 1: near ELU, which a gradient penalty does not suit, but with a second derivative everywhere.

    References:
        Improved Training of Wasserstein GANs (Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, 2017), appendix D,
        https://arxiv.org/abs/1704.00028
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return softplus(2 * x + 2) / 2 - 1


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": lambda: nn.LeakyReLU(0.2),  # the slope of DCGAN's discriminator
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
    "layer": lambda channels: nn.GroupNorm(
        1, channels
    ),  # a layer norm with a gain per channel, as in WGAN-GP's critic
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}
_CENTRES = ("batch", "instance")
"""Norms that subtract each unit's own mean, and with it any bias before them."""


def weights(
    layer: Callable[..., nn.Module],
    inputs: int,
    outputs: int,
    norm: Norm,
    **geometry: int | tuple[int, int],
) -> nn.Module:
    """A layer's weights, normalised if the norm is a norm of weights, without a bias that the norm would cancel."""
    made = layer(inputs, outputs, bias=norm not in _CENTRES, **geometry)
    return spectral_norm(made) if norm == "spectral" else made


def finish(width: int, norm: Norm, activation: Activation, *, image: bool) -> list[nn.Module]:
    """What follows the weights of a hidden layer: the norm of its `width` units or channels, if any, and the activation."""
    norms = _IMAGE_NORMS if image else _VECTOR_NORMS
    return [*([norms[norm](width)] if norm in norms else []), _ACTIVATIONS[activation]()]


def at_the_edge(norm: Norm) -> Norm:
    """The norm of a layer that touches data or gives the output: none, unless it is one of weights.

    Batch norm there makes samples oscillate.

    References:
        Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (Radford, Metz and Chintala,
        2016), https://arxiv.org/abs/1511.06434
    """
    return norm if norm == "spectral" else "none"
