"""Feature networks without training: the identity, and random convolutions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genzoo.contract import Count, FeatureNetwork, Shape, is_image
from genzoo.errors import SettingError

__all__ = ["Pixels", "RandomConv", "draw_weights"]


class Pixels(FeatureNetwork):
    """The identity: the features are the numbers of an example.

    Arguments:
        shape: the shape of one example.

    Example:
        >>> Pixels((3, 4, 4))(torch.rand(5, 3, 4, 4)).shape
        torch.Size([5, 48])
    """

    example_shapes = ((2,), (3, 9, 12))
    version = "pixels-v1"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, math.prod(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class RandomConv(FeatureNetwork):
    """A convolutional network with fixed random weights, for images of any shape.

    Convolutions of stride 2, each followed by a ReLU, halve the image until its shorter side has at
    most 4 pixels. A random projection of their 4 x 4 average pool gives the features. Random
    networks rank models of any domain without the bias of a classifier's training images.

    Arguments:
        shape: the shape of one image, `(C, H, W)`.
        dim: the number of features.
        seed: the seed of the weights. The version names other settings than the defaults.

    Raises:
        SettingError: the shape is not the shape of an image.

    References:
        Reliable Fidelity and Diversity Metrics for Generative Models, Naeem, Oh, Uh, Choi and Yoo,
            2020, https://arxiv.org/abs/2002.09797

    Example:
        >>> RandomConv((3, 64, 64))(torch.rand(5, 3, 64, 64)).shape
        torch.Size([5, 64])
    """

    def __init__(self, shape: Shape, dim: Count = 64, seed: int = 0) -> None:
        if not is_image(shape):
            raise SettingError(
                f"random-conv reads images of shape (C, H, W), not examples of shape "
                f'{tuple(shape)}; use "pixels".'
            )
        super().__init__(shape, dim)
        self.version = "random-conv-v1"
        if (dim, seed) != (64, 0):
            self.version += f" (dim {dim}, seed {seed})"
        depth = max(1, math.ceil(math.log2(min(shape[1:]) / 4)))
        layers: list[nn.Module] = []
        channels = shape[0]
        # The meta device draws no initial weights, so the caller's random state does not change.
        with torch.device("meta"):
            for i in range(depth):
                width = min(64, 16 * 2**i)
                layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU()]
                channels = width
            layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * channels, dim)]
            self.layers = nn.Sequential(*layers).float()
        draw_weights(self.layers, seed)

    def forward(self, x: Tensor) -> Tensor:
        # Centered pixels give features that depend less on the brightness.
        return self.layers(2 * x - 1)


@torch.inference_mode(mode=False)
@torch.no_grad()
def draw_weights(module: nn.Module, seed: int) -> None:
    """Give a module on the meta device frozen weights: zero biases, and N(0, 2 / inputs).

    Arguments:
        module: the module, which is moved to the CPU.
        seed: the seed of the weights. The caller's random state does not change.
    """
    module.to_empty(device="cpu").requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(seed % 2**63)
    for name, weights in module.named_parameters():
        if name.endswith("bias"):
            weights.zero_()
            continue
        draws = torch.randn(weights.shape, generator=generator, dtype=torch.float32)
        weights.copy_(draws * math.sqrt(2 / weights[0].numel()))
