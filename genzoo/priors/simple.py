"""Priors without structure: the normal, the uniform on a cube, the uniform on a sphere."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from genzoo import distributed
from genzoo.contract import Positive, PositiveFloat, Prior
from genzoo.errors import SettingError, show


def truncated_noise(n: int, dim: int, threshold: float, like: Tensor) -> Tensor:
    r"""Standard normal noise given that each coordinate is within `threshold` of 0, `(n, dim)`, equal across rank counts.

    By the inverse of its distribution function: \( \Phi^{-1}\big(u + (1 - 2u)\, \Phi(-t)\big) \) for \( u \) uniform on [0, 1).

    Raises:
        SettingError: the threshold is not a positive number.

    Example:
        >>> bool(truncated_noise(100, 2, 0.5, like=torch.zeros(())).abs().max() <= 0.5)
        True
    """
    if not isinstance(threshold, int | float) or not 0 < threshold < math.inf:
        amount = f"{threshold:g}" if isinstance(threshold, float) else show(threshold)
        raise SettingError(f"truncation at {amount} standard deviations; take a number above 0.")
    # on the CPU, as not every device has double precision, without which the tails are coarse
    tail = torch.special.ndtr(torch.tensor(-threshold, dtype=torch.float64))
    u = distributed.uniform(n, dim, like=tail)
    return torch.special.ndtri(u + (1 - 2 * u) * tail).clamp(-threshold, threshold).to(like)


class _Simple(Prior):
    """A prior without parameters: a buffer of zeros carries its device and dtype."""

    zero: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("zero", torch.zeros(dim), persistent=False)


class Normal(_Simple):
    r"""The isotropic normal distribution \( N(0, \sigma^2 I) \).

    Arguments:
        dim: the number of coordinates.
        scale: the standard deviation \( \sigma \) of each.

    Example:
        >>> Normal(2).log_prob(torch.zeros(1, 2))
        tensor([-1.8379])
    """

    spherical: ClassVar[bool] = True

    def __init__(self, dim: Positive, scale: PositiveFloat = 1.0) -> None:
        super().__init__(dim)
        self.scale = scale

    def sample(self, n: int) -> Tensor:
        return self.scale * distributed.noise(n, self.dim, like=self.zero)

    def truncated(self, n: int, threshold: float) -> Tensor:
        """`n` draws, `(n, dim)`, given that each coordinate is within `threshold` standard deviations of 0."""
        return self.scale * truncated_noise(n, self.dim, threshold, like=self.zero)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z / self.scale).square().sum(dim=1) - self.dim * math.log(
            self.scale * math.sqrt(2 * math.pi)
        )

    @property
    def variance(self) -> Tensor:
        return self.zero + self.scale**2

    def gaussians(self) -> tuple[Tensor, Tensor, Tensor]:
        """The distribution as a mixture of diagonal Gaussians: weights `(K,)`, means and standard deviations `(K, dim)`; here K = 1."""
        return self.zero.new_ones(1), self.zero[None], self.zero[None] + self.scale


class Uniform(_Simple):
    r"""The uniform distribution on the cube \( [\text{low}, \text{high}]^{\text{dim}} \).

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
        return (
            self.low + (self.high - self.low) * distributed.uniform(n, self.dim, like=self.zero)
        ).to(self.zero.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        inside = ((z >= self.low) & (z <= self.high)).all(dim=1)
        return z.new_full((z.shape[0],), -self.dim * math.log(self.high - self.low)).masked_fill(
            ~inside, -math.inf
        )

    @property
    def variance(self) -> Tensor:
        return self.zero + (self.high - self.low) ** 2 / 12


class Sphere(_Simple):
    r"""The uniform distribution on the sphere \( \{z : |z| = \text{radius}\} \), which in one dimension is two points.

    It has no `log_prob`: the sphere has no volume, and a density on its surface compares with no density in space. Losses that
    need samples alone, such as the MMD, take it.

    Arguments:
        dim: the number of coordinates.
        radius: \( \sqrt{\text{dim}} \) by default, which gives each coordinate variance 1.

    Example:
        >>> Sphere(3).sample(5).norm(dim=1)
        tensor([1.7321, 1.7321, 1.7321, 1.7321, 1.7321])
    """

    spherical: ClassVar[bool] = True

    def __init__(self, dim: Positive, radius: PositiveFloat | None = None) -> None:
        super().__init__(dim)
        self.radius = math.sqrt(dim) if radius is None else radius

    def sample(self, n: int) -> Tensor:
        return self.radius * torch.nn.functional.normalize(
            distributed.noise(n, self.dim, like=self.zero)
        )

    @property
    def variance(self) -> Tensor:
        return self.zero + self.radius**2 / self.dim
