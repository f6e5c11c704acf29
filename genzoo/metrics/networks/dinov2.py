"""The vision transformers of DINOv2."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.contract import FeatureNetwork, Shape, is_image
from genzoo.errors import DataError, SettingError
from genzoo.metrics.networks.weights import assign, read_weights

__all__ = ["DINOv2", "VisionTransformer"]

_SIDE = 224
"""The height and width of the images that the network reads."""
_HEAD = 64
"""The number of coordinates of an attention head."""
_AT_ONCE = 32
"""The number of images per pass."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""The mean and standard deviation of the channels of ImageNet."""
_NAMES = {384: "vits14", 768: "vitb14", 1024: "vitl14"}
"""Width -> the name of the published network."""


class _Scale(nn.Module):
    """A learned factor for each coordinate."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Attention(nn.Module):
    """Self-attention with heads of 64 coordinates."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).unflatten(2, (3, -1, _HEAD))
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _MLP(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Block(nn.Module):
    """Attention and an MLP, each on normalized tokens and with a scaled residual."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = _Attention(dim)
        self.ls1 = _Scale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = _MLP(dim, hidden)
        self.ls2 = _Scale(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _Patches(nn.Module):
    """Tokens of square patches."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """The vision transformer of DINOv2. The names of the weights are those of the published files.

    Arguments:
        dim: the width, a multiple of 64.
        depth: the number of blocks.
        hidden: the width of the MLPs.
        patch: the side of a patch in pixels.
        grid: the side of the grid of position embeddings, in patches.
    """

    def __init__(self, dim: int, depth: int, hidden: int, patch: int = 14, grid: int = 37) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))  # in the files, but unused
        self.patch_embed = _Patches(dim, patch)
        self.blocks = nn.ModuleList(_Block(dim, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.patch, self.grid = patch, grid

    def forward(self, x: Tensor) -> Tensor:
        """Compute the class token, normalized images `(batch, 3, side, side)` -> `(batch, dim)`."""
        first = self.cls_token.expand(len(x), -1, -1)
        tokens = torch.cat([first, self.patch_embed(x)], dim=1)
        tokens = tokens + self._positions(x.shape[-1] // self.patch)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens[:, 0])

    def _positions(self, side: int) -> Tensor:
        """Return the position embeddings of a grid of another side, `(1, 1 + side ** 2, dim)`."""
        if side == self.grid:
            return self.pos_embed
        first, rest = self.pos_embed.split([1, self.grid**2], dim=1)
        rest = rest.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        # The authors add 0.1 before they divide, which moves the embeddings slightly.
        scale = (side + 0.1) / self.grid
        rest = F.interpolate(rest, scale_factor=(scale, scale), mode="bicubic")
        return torch.cat([first, rest.flatten(2).transpose(1, 2)], dim=1)


class DINOv2(FeatureNetwork):
    """The class token of a vision transformer of DINOv2, such as ViT-B/14 with 768 features.

    The weights come from a file that you name; nothing is downloaded. The authors publish
    `dinov2_vits14_pretrain.pth`, `dinov2_vitb14_pretrain.pth`, and `dinov2_vitl14_pretrain.pth`.
    The width and the depth follow from the file. The version ends in the first digits of its
    SHA-256. This implementation was compared with torch's transformer for random weights, and was
    not run with the published ones.

    Images are resized to 224x224 pixels, bicubically and with antialiasing, and normalized with
    ImageNet's mean and standard deviation. Gray images are repeated in three channels.

    Arguments:
        shape: the shape of one image, `(1, H, W)` or `(3, H, W)`.
        weights: the file, `.pth` or `.safetensors`.

    Raises:
        SettingError: the shape is not that of gray or color images.
        DataError: the file is missing, or holds other weights, such as those of a network with
            registers.

    References:
        DINOv2: Learning Robust Visual Features without Supervision, Oquab et al., 2023,
            https://arxiv.org/abs/2304.07193
        Exposing flaws of generative model evaluation metrics and their unfair treatment of
            diffusion models, Stein et al., 2023, https://arxiv.org/abs/2306.04675
        The weights: https://github.com/facebookresearch/dinov2
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: Shape, weights: str) -> None:
        if not is_image(shape) or shape[0] not in (1, 3):
            raise SettingError(
                f"dinov2 reads gray or color images, not examples of shape {tuple(shape)}; use "
                '"random-conv" for other images, and "pixels" for vectors.'
            )
        state, digits = read_weights(weights, "dinov2")
        # The meta device draws no initial weights, so the caller's random state does not change.
        with torch.device("meta"):
            layers = _network_of(state, weights)
        dim = state["cls_token"].shape[-1]
        super().__init__(shape, dim)
        self.version = f"dinov2-{_NAMES.get(dim, f'width-{dim}')}-v1 ({digits})"
        assign(layers, state, weights, "dinov2")
        self.layers = layers
        for name, numbers in (("mean", _MEAN), ("std", _STD)):
            values = torch.tensor(numbers, dtype=torch.float32, device="cpu")
            self.register_buffer(name, values.view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._features(part) for part in x.split(_AT_ONCE)])

    def _features(self, x: Tensor) -> Tensor:
        size = (_SIDE, _SIDE)
        x = F.interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=True)
        return self.layers((x.clamp(0, 1).expand(-1, 3, -1, -1) - self.mean) / self.std)


def _network_of(state: dict[str, Tensor], path: str) -> VisionTransformer:
    """Return the network with the sizes of a file.

    Raises:
        DataError: the sizes are missing, or are not those of a network of DINOv2.
    """
    try:
        dim = state["cls_token"].shape[-1]
        hidden = len(state["blocks.0.mlp.fc1.bias"])
        patch = state["patch_embed.proj.weight"].shape[-1]
        grid = math.isqrt(state["pos_embed"].shape[1] - 1)
    except (KeyError, IndexError) as error:
        hint = ""
        if "blocks.0.mlp.w12.weight" in state:
            hint = " ViT-g/14 is not supported."
        raise DataError(
            f"dinov2: {path} does not hold the weights of this network: {error} is missing.{hint} "
            "Take the published file of ViT-S/14, ViT-B/14, or ViT-L/14."
        ) from None
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    if dim % _HEAD or patch > _SIDE:
        raise DataError(
            f"dinov2: {path} has {dim} features and patches of {patch} pixels; expected a multiple "
            f"of {_HEAD}, and patches of 14 pixels."
        )
    return VisionTransformer(dim, depth, hidden, patch, grid)
