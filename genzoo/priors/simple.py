"""Priors without structure: the normal, the uniform on a cube, the uniform on a sphere."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genzoo import ranks
from genzoo.contract import Positive, PositiveFloat, Prior
from genzoo.errors import SettingError


class _Simple(Prior):
    """A prior without parameters: a buffer of zeros carries its device and dtype."""

    zero: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("zero", torch.zeros(dim), persistent=False)


class Normal(_Simple):
    r"""The isotropic normal law \( N(0, \sigma^2 I) \).

    Arguments:
        dim: the number of coordinates.
        scale: the standard deviation \( \sigma \) of each.

    Example:
        >>> Normal(2).log_prob(torch.zeros(1, 2))
        tensor([-1.8379])
    """

    def __init__(self, dim: Positive, scale: PositiveFloat = 1.0) -> None:
        super().__init__(dim)
        self.scale = scale

    def sample(self, n: int) -> Tensor:
        return self.scale * ranks.noise(n, self.dim, like=self.zero)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z / self.scale).square().sum(dim=1) - self.dim * math.log(self.scale * math.sqrt(2 * math.pi))

    @property
    def variance(self) -> Tensor:
        return self.zero + self.scale**2

    def gaussians(self) -> tuple[Tensor, Tensor, Tensor]:
        """The law as a mixture of diagonal Gaussians: weights `(K,)`, means and standard deviations `(K, dim)`; here K = 1."""
        return self.zero.new_ones(1), self.zero[None], self.zero[None] + self.scale


class Uniform(_Simple):
    r"""The uniform law on the cube \( [\text{low}, \text{high}]^{\text{dim}} \).

    Arguments:
        dim: the number of coordinates.
        low: where each begins.
        high: where each ends.

    Raises:
        SettingError: the interval is empty.

    Example:
        >>> Uniform(2).log_prob(torch.tensor([[0.0, 0.5], [0.0, 1.5]]))
        tensor([-1.3863,    -inf])
    """

    def __init__(self, dim: Positive, low: float = -1.0, high: float = 1.0) -> None:
        if not low < high:
            raise SettingError(f"Uniform: low = {low:g} is not below high = {high:g}.")
        super().__init__(dim)
        self.low, self.high = low, high

    def sample(self, n: int) -> Tensor:
        return self.low + (self.high - self.low) * ranks.uniform(n, self.dim, like=self.zero)

    def log_prob(self, z: Tensor) -> Tensor:
        inside = ((z >= self.low) & (z <= self.high)).all(dim=1)
        return z.new_full((len(z),), -self.dim * math.log(self.high - self.low)).masked_fill(~inside, -math.inf)

    @property
    def variance(self) -> Tensor:
        return self.zero + (self.high - self.low) ** 2 / 12


class Sphere(_Simple):
    r"""The uniform law on the sphere \( \{z : |z| = \text{radius}\} \), which in one dimension is two points.

    It has no `log_prob`: the sphere has no volume, and a density on its surface compares with no density in space. Losses that
    need samples alone, such as the MMD, take it.

    Arguments:
        dim: the number of coordinates.
        radius: \( \sqrt{\text{dim}} \) by default, which gives each coordinate variance 1.

    Example:
        >>> Sphere(3).sample(5).norm(dim=1)
        tensor([1.7321, 1.7321, 1.7321, 1.7321, 1.7321])
    """

    def __init__(self, dim: Positive, radius: PositiveFloat | None = None) -> None:
        super().__init__(dim)
        self.radius = math.sqrt(dim) if radius is None else radius

    def sample(self, n: int) -> Tensor:
        return self.radius * torch.nn.functional.normalize(ranks.noise(n, self.dim, like=self.zero))

    @property
    def variance(self) -> Tensor:
        return self.zero + self.radius**2 / self.dim
