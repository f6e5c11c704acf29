"""Layouts of the means of a mixture, on the unit scale.

Each layout takes the number of points and of coordinates, and returns `(points, dim)` in float64.
The points are centered, and the farthest ones have norm 1. A grid spans [-1, 1] along each axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from genzoo.errors import SettingError

__all__ = ["LAYOUTS", "grid", "ring", "simplex", "spread"]

_PAIRS = 2**25
"""The number of pairs over all steps of the descent, which takes some tenths of a second."""


def ring(points: int, dim: int) -> Tensor:
    """Place points evenly on a circle in the first two coordinates.

    Example:
        >>> ring(4, 3).round(decimals=6).abs()
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [1., 0., 0.],
                [0., 1., 0.]], dtype=torch.float64)
    """
    if dim < 2:
        raise SettingError(
            'means = "ring" needs two coordinates, but dim = 1; take "grid" or "spread".'
        )
    angle = torch.arange(points, dtype=torch.float64) * (2 * math.pi / points)
    return _pad(torch.stack([angle.cos(), angle.sin()], dim=1), dim)


def grid(points: int, dim: int) -> Tensor:
    """Place points on a square grid in the first two coordinates, or evenly on a line if dim = 1.

    Example:
        >>> grid(9, 2)[:4]
        tensor([[-1., -1.],
                [-1.,  0.],
                [-1.,  1.],
                [ 0., -1.]], dtype=torch.float64)
    """
    axes = min(dim, 2)
    side = round(points ** (1 / axes))
    if side**axes != points:
        raise SettingError(
            f'means = "grid" needs a square number of components, but components = {points}; take '
            f"{side**2} or {(side + 1) ** 2}."
        )
    ticks = torch.zeros(1, dtype=torch.float64)
    if side > 1:
        ticks = torch.linspace(-1, 1, side, dtype=torch.float64)
    return _pad(torch.cartesian_prod(*[ticks] * axes).reshape(points, axes), dim)


def simplex(points: int, dim: int) -> Tensor:
    """Place points at equal distances from each other.

    Example:
        >>> torch.pdist(simplex(3, 2))
        tensor([1.7321, 1.7321, 1.7321], dtype=torch.float64)
    """
    if points > dim + 1:
        raise SettingError(
            f'means = "simplex" has room for dim + 1 = {dim + 1} components, but components = '
            f'{points}; take "spread", or fewer components.'
        )
    # Helmert's matrix: orthogonal rows that sum to 0.
    rows = torch.ones(points - 1, points, dtype=torch.float64).tril()
    rows.diagonal(1).copy_(-torch.arange(1, points))
    return _pad(normalize(normalize(rows).T), dim)


def spread(points: int, dim: int) -> Tensor:
    """Place points as far from each other as possible.

    They form a simplex, a ring, or a line if that is possible, else they repel each other on a
    sphere. There, they minimize the Riesz energy of exponent 2, the sum of inverse squared
    distances, by gradient descent from fixed random directions. More points take fewer steps,
    because each step computes all pairs.

    Example:
        >>> spread(10, 8).norm(dim=1).round(decimals=6).unique()
        tensor([1.], dtype=torch.float64)
    """
    if points <= dim + 1:
        return simplex(points, dim)
    if dim == 1:
        return grid(points, dim)
    if dim == 2:
        return ring(points, dim)
    z = normalize(
        torch.randn(points, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )
    steps = min(200, _PAIRS // points**2)
    for step in range(steps):
        # |x - y|^-4 on the unit sphere.
        strength = (2 - 2 * z @ z.T).fill_diagonal_(math.inf).square().reciprocal()
        force = strength.sum(dim=1, keepdim=True) * z - strength @ z
        z = normalize(z + 0.5 * (1 - step / steps) * force / force.norm(dim=1).max())
    return z


def _pad(points: Tensor, dim: int) -> Tensor:
    return torch.nn.functional.pad(points, (0, dim - points.shape[1]))


LAYOUTS: dict[str, Callable[[int, int], Tensor]] = {
    "spread": spread,
    "ring": ring,
    "grid": grid,
    "simplex": simplex,
}
"""Name -> layout: the number of points and of coordinates -> `(points, dim)`."""
