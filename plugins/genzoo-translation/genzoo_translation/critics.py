"""Critics of images that say more than one number: the PatchGAN, and one that shows its features."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from genzoo.contract import Count, Critic, Positive, Shape, is_image
from genzoo.errors import SettingError


class PatchCritic(Critic):
    r"""A score for each patch of an image, by convolutions of 4x4: the PatchGAN.

    With n strided layers a score sees 16, 34, 70, 142, ... pixels (n = 1, 2, 3, 4, ...); the paper's is that of 70. Losses are
    means over `patches`; called, it gives each image's mean score, so that any model that holds a critic can hold this one.

    Arguments:
        shape: shape of one image, `(C, H, W)`; of a conditional model, of both images on top of each other.
        width: channels of the first layer; the next have 2, 4, 8, 8, ... times as many.
        layers: n; None: 3, or fewer where 70 or 34 pixels are more than the image has.
        norm: norm of all layers but the first and the last, `"instance"`, `"batch"` or `"none"`.

    Raises:
        SettingError: `shape` is no image's, or too small for so many layers.

    References:
        Image-to-Image Translation with Conditional Adversarial Networks, Isola, Zhu, Zhou and Efros, 2017,
        https://arxiv.org/abs/1611.07004

    Example:
        >>> import torch
        >>> critic = PatchCritic(shape=(2, 28, 28), width=8)
        >>> critic.patches(torch.rand(5, 2, 28, 28)).shape, critic(torch.rand(5, 2, 28, 28)).shape
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
        least = min(shape[1:]) if is_image(shape) else 0
        layers = layers or next((n for n, seen in ((3, 70), (2, 34)) if seen <= least), 1)
        if (least >> layers) < 3:
            raise SettingError(
                f"shape = {shape!r}, layers = {layers}: with so many layers, patches need images (C, H, W) of {3 << layers} "
                "pixels or more; give fewer."
            )
        self.shape = shape
        channels = [shape[0], *(width * min(2**layer, 8) for layer in range(layers + 1))]
        norms: dict[str, Callable[[int], nn.Module]] = {
            "instance": lambda c: nn.InstanceNorm2d(c, affine=True),
            "batch": nn.BatchNorm2d,
        }
        net: list[nn.Module] = []
        for layer, (inputs, outputs) in enumerate(pairwise(channels)):
            normed = layer > 0 and norm != "none"
            net.append(
                nn.Conv2d(
                    inputs,
                    outputs,
                    4,
                    stride=2 if layer < layers else 1,
                    padding=1,
                    bias=not normed,
                )
            )
            net += [*([norms[norm](outputs)] if normed else []), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*net, nn.Conv2d(channels[-1], 1, 4, padding=1))

    def patches(self, x: Tensor) -> Tensor:
        """Images `(batch, *shape)` -> scores of their patches, `(batch, h, w)`, unconstrained."""
        return self.net(x).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(batch, *shape)` -> mean scores `(batch,)`."""
        return self.patches(x).mean(dim=(1, 2))


class PyramidCritic(Critic):
    """A score for an image, and the features of its levels: DiscoGAN's discriminator.

    Strided convolutions of 4x4 halve the image until its shorter side has fewer than 6 pixels (four levels for 64, three for 28),
    with batch norm from the second on; a last one sees all that is left.

    Arguments:
        shape: shape of one image, `(C, H, W)`, of 8 pixels or more.
        width: channels of the first level; it doubles with each, up to 8 times.

    Raises:
        SettingError: `shape` is no image's, or too small.

    References:
        Learning to Discover Cross-Domain Relations with Generative Adversarial Networks, Kim et al., 2017,
        https://arxiv.org/abs/1703.05192; code: https://github.com/SKTBrain/DiscoGAN

    Example:
        >>> import torch
        >>> critic = PyramidCritic(shape=(3, 64, 64), width=4)
        >>> critic(torch.rand(2, 3, 64, 64)).shape, [tuple(f.shape[1:]) for f in critic.features(torch.rand(2, 3, 64, 64))]
        (torch.Size([2]), [(8, 16, 16), (16, 8, 8), (32, 4, 4)])
    """

    def __init__(self, shape: Shape, width: Positive = 64) -> None:
        super().__init__()
        if not is_image(shape) or min(shape[1:]) < 8:
            raise SettingError(
                f"shape = {shape!r}: this critic needs images (C, H, W) of 8 pixels or more."
            )
        self.shape = shape
        least = min(shape[1:])
        depth = next(level for level in range(2, 32) if least >> level < 6)
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
        """Images `(batch, *shape)` -> the output of each level from the second on, `(batch, c, h, w)`."""
        found = []
        for level in self.levels:
            x = level(x)
            found.append(x)
        return found[1:]

    def forward(self, x: Tensor) -> Tensor:
        """Images `(batch, *shape)` -> scores `(batch,)`, unconstrained."""
        return self.last(self.features(x)[-1]).flatten()
