"""The Inception network of the Fréchet Inception distance."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.contract import FeatureNetwork, Shape, is_image
from genzoo.errors import SettingError
from genzoo.metrics.networks.weights import assign, read_weights

__all__ = ["FIDInception", "Inception"]

_SIDE = 299
"""The height and width of the images that the network reads."""
_AT_ONCE = 32
"""The number of images per pass. 32 images take about 300 MB."""
_UNUSED = ("fc.", "AuxLogits.")
"""The beginnings of the names of the classifier's weights, which features do not need."""
Sizes = tuple[int, int, int | tuple[int, int], int]
"""Input channels, output channels, kernel size, and stride."""


class _Conv(nn.Module):
    """A convolution without bias, batch norm with fixed statistics, and a ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        bn = self.bn
        x = F.batch_norm(
            self.conv(x), bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps
        )
        return F.relu(x, inplace=True)


class _Mixed(nn.Module):
    """Parallel branches, whose outputs are concatenated.

    Layers whose names have the same beginning, such as `branch3x3_1` and `branch3x3_2`, form a
    branch. Names that end in `a` and `b` both follow the layer before them. The branch
    `branch_pool` begins with a pool of stride 1. Without it, a maximum pool of stride 2 is the last
    branch.

    Arguments:
        layers: name -> sizes.
        pool: the pool of stride 1, `"average"` or `"max"`.
    """

    def __init__(self, layers: Mapping[str, Sizes], pool: str = "average") -> None:
        super().__init__()
        self.pool = pool
        groups = groupby(layers, key=lambda name: name.removeprefix("branch_").split("_")[0])
        self.branches = [list(names) for _, names in groups]
        for name, (inputs, outputs, kernel, stride) in layers.items():
            sides = (kernel, kernel) if isinstance(kernel, int) else kernel
            padding = (sides[0] // 2, sides[1] // 2) if stride == 1 else 0
            self.add_module(name, _Conv(inputs, outputs, kernel, stride, padding))

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self._branch(names, x) for names in self.branches]
        if self.branches[-1] != ["branch_pool"]:
            outputs.append(F.max_pool2d(x, 3, stride=2))
        return torch.cat(outputs, dim=1)

    def _branch(self, names: list[str], x: Tensor) -> Tensor:
        if names == ["branch_pool"]:
            x = self._pooled(x)
        ends = [name for name in names if name.endswith(("a", "b"))]
        for name in names:
            x = x if name in ends else self.get_submodule(name)(x)
        return torch.cat([self.get_submodule(name)(x) for name in ends], dim=1) if ends else x

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "max":
            return F.max_pool2d(x, 3, stride=1, padding=1)
        # Zeros of the padding do not count, as in TensorFlow.
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _block_a(inputs: int, pooled: int) -> _Mixed:
    return _Mixed(
        {
            "branch1x1": (inputs, 64, 1, 1),
            "branch5x5_1": (inputs, 48, 1, 1),
            "branch5x5_2": (48, 64, 5, 1),
            "branch3x3dbl_1": (inputs, 64, 1, 1),
            "branch3x3dbl_2": (64, 96, 3, 1),
            "branch3x3dbl_3": (96, 96, 3, 1),
            "branch_pool": (inputs, pooled, 1, 1),
        }
    )


def _block_b() -> _Mixed:
    return _Mixed(
        {
            "branch3x3": (288, 384, 3, 2),
            "branch3x3dbl_1": (288, 64, 1, 1),
            "branch3x3dbl_2": (64, 96, 3, 1),
            "branch3x3dbl_3": (96, 96, 3, 2),
        }
    )


def _block_c(width: int) -> _Mixed:
    row, column = (1, 7), (7, 1)
    return _Mixed(
        {
            "branch1x1": (768, 192, 1, 1),
            "branch7x7_1": (768, width, 1, 1),
            "branch7x7_2": (width, width, row, 1),
            "branch7x7_3": (width, 192, column, 1),
            "branch7x7dbl_1": (768, width, 1, 1),
            "branch7x7dbl_2": (width, width, column, 1),
            "branch7x7dbl_3": (width, width, row, 1),
            "branch7x7dbl_4": (width, width, column, 1),
            "branch7x7dbl_5": (width, 192, row, 1),
            "branch_pool": (768, 192, 1, 1),
        }
    )


def _block_d() -> _Mixed:
    return _Mixed(
        {
            "branch3x3_1": (768, 192, 1, 1),
            "branch3x3_2": (192, 320, 3, 2),
            "branch7x7x3_1": (768, 192, 1, 1),
            "branch7x7x3_2": (192, 192, (1, 7), 1),
            "branch7x7x3_3": (192, 192, (7, 1), 1),
            "branch7x7x3_4": (192, 192, 3, 2),
        }
    )


def _block_e(inputs: int, pool: str) -> _Mixed:
    row, column = (1, 3), (3, 1)
    return _Mixed(
        {
            "branch1x1": (inputs, 320, 1, 1),
            "branch3x3_1": (inputs, 384, 1, 1),
            "branch3x3_2a": (384, 384, row, 1),
            "branch3x3_2b": (384, 384, column, 1),
            "branch3x3dbl_1": (inputs, 448, 1, 1),
            "branch3x3dbl_2": (448, 384, 3, 1),
            "branch3x3dbl_3a": (384, 384, row, 1),
            "branch3x3dbl_3b": (384, 384, column, 1),
            "branch_pool": (inputs, 192, 1, 1),
        },
        pool,
    )


class FIDInception(nn.Module):
    """Inception v3 without its classifier, as ported from TensorFlow for the Fréchet distance.

    It differs from other versions in its pools: averages leave out the padding, and the last block
    takes the maximum. The names of the weights are those of the published file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _block_a(192, 32)
        self.Mixed_5c = _block_a(256, 64)
        self.Mixed_5d = _block_a(288, 64)
        self.Mixed_6a = _block_b()
        self.Mixed_6b = _block_c(128)
        self.Mixed_6c = _block_c(160)
        self.Mixed_6d = _block_c(160)
        self.Mixed_6e = _block_c(192)
        self.Mixed_7a = _block_d()
        self.Mixed_7b = _block_e(1280, "average")
        self.Mixed_7c = _block_e(2048, "max")

    def forward(self, x: Tensor) -> Tensor:
        """Compute the last average pool, images in [-1, 1] `(batch, 3, 299, 299)` -> 2048."""
        for name, layer in self.named_children():
            if name in ("Conv2d_3b_1x1", "Mixed_5b"):
                x = F.max_pool2d(x, 3, stride=2)
            x = layer(x)
        return x.mean(dim=(2, 3))


class Inception(FeatureNetwork):
    """The Inception network of the Fréchet Inception distance, with 2048 features.

    The weights come from a file that you name; nothing is downloaded. pytorch-fid publishes it as
    `pt_inception-2015-12-05-6726825d.pth`. Its name ends in the first digits of its SHA-256, and
    the version of this network does, too: values are comparable with others only for that file.
    This implementation was compared with pytorch-fid's for random weights, and was not run with the
    published ones.

    Images are resized to 299x299 pixels, bilinearly and without antialiasing, as pytorch-fid does.
    Gray images are repeated in three channels.

    Arguments:
        shape: the shape of one image, `(1, H, W)` or `(3, H, W)`.
        weights: the file, `.pth` or `.safetensors`.

    Raises:
        SettingError: the shape is not that of gray or color images.
        DataError: the file is missing, or holds other weights.

    References:
        GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, Heusel,
            Ramsauer, Unterthiner, Nessler and Hochreiter, 2017, https://arxiv.org/abs/1706.08500
        Rethinking the Inception Architecture for Computer Vision, Szegedy, Vanhoucke, Ioffe, Shlens
            and Wojna, 2015, https://arxiv.org/abs/1512.00567
        The weights: https://github.com/mseitzer/pytorch-fid
    """

    def __init__(self, shape: Shape, weights: str) -> None:
        if not is_image(shape) or shape[0] not in (1, 3):
            raise SettingError(
                f"inception reads gray or color images, not examples of shape {tuple(shape)}; use "
                '"random-conv" for other images, and "pixels" for vectors.'
            )
        super().__init__(shape, 2048)
        state, digits = read_weights(weights, "inception")
        state = {name: x for name, x in state.items() if not name.startswith(_UNUSED)}
        self.version = f"inception-v1 ({digits})"
        # The meta device draws no initial weights, so the caller's random state does not change.
        with torch.device("meta"):
            self.layers = FIDInception()
        for name in self.layers.state_dict():
            if name.endswith("num_batches_tracked"):  # older files lack this count
                state.setdefault(name, torch.zeros((), dtype=torch.long))
        assign(self.layers, state, weights, "inception")

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._features(part) for part in x.split(_AT_ONCE)])

    def _features(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        return self.layers(2 * x.expand(-1, 3, -1, -1) - 1)
