"""Simple priors: the normal distribution, and uniform distributions on a cube or a sphere."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from genzoo import distributed
from genzoo.contract import Positive, PositiveFloat, Prior
from genzoo.errors import SettingError, show

__all__ = ["Normal", "Sphere", "Uniform", "truncated_noise"]


def truncated_noise(n: int, dim: int, threshold: float, like: Tensor) -> Tensor:
    r"""Draw standard normal noise, conditioned on each coordinate lying within `threshold` of 0.

    The samples are \( \Phi^{-1}\big(u + (1 - 2u)\, \Phi(-t)\big) \) for \( u \) uniform on [0, 1).
    They do not depend on the number of ranks.

    Arguments:
        n: the number of samples.
        dim: the number of coordinates.
        threshold: the bound \( t \), in standard deviations.
        like: a tensor with the device and dtype.

    Returns:
        `(n, dim)`.

    Raises:
        SettingError: the threshold is not a positive number.

    Example:
        >>> bool(truncated_noise(100, 2, 0.5, like=torch.zeros(())).abs().max() <= 0.5)
        True
    """
    if not isinstance(threshold, int | float) or not 0 < threshold < math.inf:
        amount = f"{threshold:g}" if isinstance(threshold, float) else show(threshold)
        raise SettingError(f"truncation at {amount} standard deviations; take a number above 0.")
    # On the CPU, because the tails need double precision, which some devices do not have.
    tail = torch.special.ndtr(torch.tensor(-threshold, dtype=torch.float64))
    u = distributed.uniform(n, dim, like=tail)
    return torch.special.ndtri(u + (1 - 2 * u) * tail).clamp(-threshold, threshold).to(like)


class _Simple(Prior):
    """A prior without parameters. A buffer of zeros holds its device and dtype."""

    zero: Tensor

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("zero", torch.zeros(dim), persistent=False)


class Normal(_Simple):
    r"""The isotropic normal distribution \( N(0, \sigma^2 I) \).

    Arguments:
        dim: the number of coordinates.
        scale: the standard deviation \( \sigma \) of each coordinate.

    Example:
        >>> Normal(2).log_prob(torch.zeros(1, 2))
        tensor([-1.8379])
    """

    spherical: ClassVar[bool] = True

    def __init__(self, dim: Positive, scale: PositiveFloat = 1.0) -> None:
        super().__init__(dim=dim)
        self.scale = scale

    def sample(self, n: int) -> Tensor:
        return self.scale * distributed.noise(n, self.dim, like=self.zero)

    def truncated(self, n: int, threshold: float) -> Tensor:
        """Draw samples with each coordinate within `threshold` standard deviations of 0."""
        return self.scale * truncated_noise(n, self.dim, threshold, like=self.zero)

    def log_prob(self, z: Tensor) -> Tensor:
        constant = self.dim * math.log(self.scale * math.sqrt(2 * math.pi))
        return -0.5 * (z / self.scale).square().sum(dim=1) - constant

    @property
    def variance(self) -> Tensor:
        return self.zero + self.scale**2

    def gaussians(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the distribution as a mixture of K = 1 diagonal Gaussians.

        Returns:
            The weights `(K,)`, the means `(K, dim)`, and the standard deviations `(K, dim)`.
        """
        return self.zero.new_ones(1), self.zero[None], self.zero[None] + self.scale


class Uniform(_Simple):
    r"""The uniform distribution on the cube \( [\text{low}, \text{high}]^{\text{dim}} \).

    Arguments:
        dim: the number of coordinates.
        low: the lower bound of each coordinate.
        high: the upper bound of each coordinate.

    Raises:
        SettingError: `low` is not below `high`.

    Example:
        >>> Uniform(2).log_prob(torch.tensor([[0.0, 0.5], [0.0, 1.5]]))
        tensor([-1.3863,    -inf])
    """

    def __init__(self, dim: Positive, low: float = -1.0, high: float = 1.0) -> None:
        if not low < high:
            raise SettingError(f"Uniform: low = {low:g} is not below high = {high:g}.")
        super().__init__(dim=dim)
        self.low, self.high = low, high

    def sample(self, n: int) -> Tensor:
        u = distributed.uniform(n, self.dim, like=self.zero)
        return (self.low + (self.high - self.low) * u).to(self.zero.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        inside = ((z >= self.low) & (z <= self.high)).all(dim=1)
        density = z.new_full((z.shape[0],), -self.dim * math.log(self.high - self.low))
        return density.masked_fill(~inside, -math.inf)

    @property
    def variance(self) -> Tensor:
        return self.zero + (self.high - self.low) ** 2 / 12


class Sphere(_Simple):
    r"""The uniform distribution on the sphere \( \{z : |z| = \text{radius}\} \).

    In one dimension, the sphere is two points. This prior has no `log_prob`: the sphere has no
    volume, and a density on its surface is not comparable with a density in space. It works with
    losses that only need samples, such as the MMD.

    Arguments:
        dim: the number of coordinates.
        radius: the radius. The default \( \sqrt{\text{dim}} \) gives each coordinate variance 1.

    Example:
        >>> Sphere(3).sample(5).norm(dim=1)
        tensor([1.7321, 1.7321, 1.7321, 1.7321, 1.7321])
    """

    spherical: ClassVar[bool] = True

    def __init__(self, dim: Positive, radius: PositiveFloat | None = None) -> None:
        super().__init__(dim=dim)
        self.radius = math.sqrt(dim) if radius is None else radius

    def sample(self, n: int) -> Tensor:
        noise = distributed.noise(n, self.dim, like=self.zero)
        return self.radius * torch.nn.functional.normalize(noise)

    @property
    def variance(self) -> Tensor:
        return self.zero + self.radius**2 / self.dim
