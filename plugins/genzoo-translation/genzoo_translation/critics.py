"""Critics of images: the PatchGAN, and DiscoGAN's critic, which returns its features."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from genzoo.contract import Count, Critic, Positive, Shape, is_image
from genzoo.errors import SettingError

__all__ = ["PatchCritic", "PyramidCritic"]


class PatchCritic(Critic):
    r"""The PatchGAN critic: a score for each patch of an image, from 4x4 convolutions.

    With n strided layers, a patch has 16, 34, 70, 142, ... pixels (n = 1, 2, 3, 4, ...); the paper
    uses 70. Losses of translation models are means over `patches`. A call returns the mean score of
    each image, so any model can use this critic.

    Arguments:
        shape: the shape of one image, `(C, H, W)`. For a conditional critic, the channels of both
            images.
        width: channels of the first layer; the next layers have 2, 4, 8, 8, ... times as many.
        layers: n. By default 3, or fewer if the image is smaller than 70 or 34 pixels.
        norm: the norm of all layers except the first and the last: `"instance"`, `"batch"`, or
            `"none"`.

    Raises:
        SettingError: `shape` is not the shape of an image, or is too small for the layers.

    References:
        Image-to-Image Translation with Conditional Adversarial Networks, Isola, Zhu, Zhou and
        Efros, 2017, https://arxiv.org/abs/1611.07004

    Example:
        >>> import torch
        >>> critic = PatchCritic(shape=(2, 28, 28), width=8)
        >>> x = torch.rand(5, 2, 28, 28)
        >>> critic.patches(x).shape, critic(x).shape
        (torch.Size([5, 12, 12]), torch.Size([5]))
    """

    def __init__(
        self,
        shape: Shape,
        width: Positive = 64,
        layers: Count | None = None,
        norm: Literal["instance", "batch", "none"] = "instance",
    ) -> None:
        super().__init__()
        side = min(shape[1:]) if is_image(shape) else 0
        layers = layers or next((n for n, patch in ((3, 70), (2, 34)) if patch <= side), 1)
        if (side >> layers) < 3:
            raise SettingError(
                f"shape = {shape!r}, layers = {layers}: patches need images (C, H, W) of "
                f"{3 << layers} pixels or more; use fewer layers."
            )
        self.shape = shape
        channels = [shape[0], *(width * min(2**layer, 8) for layer in range(layers + 1))]
        norms: dict[str, Callable[[int], nn.Module]] = {
            "instance": lambda c: nn.InstanceNorm2d(c, affine=True),
            "batch": nn.BatchNorm2d,
        }
        net: list[nn.Module] = []
        for layer, (inputs, outputs) in enumerate(pairwise(channels)):
            has_norm = layer > 0 and norm != "none"
            stride = 2 if layer < layers else 1
            net.append(nn.Conv2d(inputs, outputs, 4, stride, padding=1, bias=not has_norm))
            if has_norm:
                net.append(norms[norm](outputs))
            net.append(nn.LeakyReLU(0.2))
        self.net = nn.Sequential(*net, nn.Conv2d(channels[-1], 1, 4, padding=1))

    def patches(self, x: Tensor) -> Tensor:
        """Map images `(batch, *shape)` to unconstrained scores of patches, `(batch, h, w)`."""
        return self.net(x).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images `(batch, *shape)` to mean scores `(batch,)`."""
        return self.patches(x).mean(dim=(1, 2))


class PyramidCritic(Critic):
    """DiscoGAN's critic: a score for an image, and the features of its levels.

    Strided 4x4 convolutions halve the image until its shorter side has fewer than 6 pixels: four
    levels for 64 pixels, three for 28. Batch norm follows from the second level on. The last
    convolution covers the remaining pixels.

    Arguments:
        shape: the shape of one image, `(C, H, W)`, of 8 pixels or more.
        width: channels of the first level. They double with each level, up to 8 times the width.

    Raises:
        SettingError: `shape` is not the shape of an image, or is too small.

    References:
        Learning to Discover Cross-Domain Relations with Generative Adversarial Networks, Kim, Cha,
        Kim, Lee and Kim, 2017, https://arxiv.org/abs/1703.05192; code: https://github.com/SKTBrain/DiscoGAN

    Example:
        >>> import torch
        >>> critic = PyramidCritic(shape=(3, 64, 64), width=4)
        >>> x = torch.rand(2, 3, 64, 64)
        >>> critic(x).shape, [tuple(features.shape[1:]) for features in critic.features(x)]
        (torch.Size([2]), [(8, 16, 16), (16, 8, 8), (32, 4, 4)])
    """

    def __init__(self, shape: Shape, width: Positive = 64) -> None:
        super().__init__()
        if not is_image(shape) or min(shape[1:]) < 8:
            raise SettingError(
                f"shape = {shape!r}: this critic needs images (C, H, W) of 8 pixels or more."
            )
        self.shape = shape
        side = min(shape[1:])
        depth = next(level for level in range(2, 32) if side >> level < 6)
        channels = [shape[0], *(width * min(2**level, 8) for level in range(depth))]
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=level == 0),
                *([nn.BatchNorm2d(outputs)] if level else []),
                nn.LeakyReLU(0.2),
            )
            for level, (inputs, outputs) in enumerate(pairwise(channels))
        )
        self.last = nn.Conv2d(channels[-1], 1, (shape[1] >> depth, shape[2] >> depth))

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the output of each level from the second on, `(batch, c, h, w)`."""
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features[1:]

    def forward(self, x: Tensor) -> Tensor:
        """Map images `(batch, *shape)` to unconstrained scores `(batch,)`."""
        return self.last(self.features(x)[-1]).flatten()
