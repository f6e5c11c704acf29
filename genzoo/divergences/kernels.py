"""Kernels, and weighted sums of a kernel over all pairs of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

__all__ = [
    "KERNELS",
    "RADIAL",
    "Kernel",
    "energy",
    "imq",
    "kernel_matrix",
    "linear",
    "quadratic",
    "rbf",
]

Kernel = Callable[[Tensor, tuple[float, ...]], tuple[Tensor, Tensor]]
"""Squared distances (or inner products) of pairs, and scales -> values and derivatives."""
_PAIRS = 2**17
"""The number of pairs in memory at once: a few blocks of half a megabyte, which stay in a cache."""


def imq(pairs: Tensor, scales: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    r"""Compute the inverse multiquadratic kernel, \( \sum_s s / (s + r^2) \)."""
    value, slope = torch.zeros_like(pairs), torch.zeros_like(pairs)
    for scale in scales:
        term = (pairs + scale).reciprocal_()
        value.add_(term, alpha=scale)
        slope.addcmul_(term, term, value=-scale)
    return value, slope


def rbf(pairs: Tensor, scales: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    r"""Compute the Gaussian kernel, \( \sum_s \exp(-r^2 / s) \)."""
    value, slope = torch.zeros_like(pairs), torch.zeros_like(pairs)
    for scale in scales:
        term = (pairs * (-1 / scale)).exp_()
        value.add_(term)
        slope.add_(term, alpha=-1 / scale)
    return value, slope


def linear(pairs: Tensor, scales: tuple[float, ...]) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    r"""Compute \( \langle x, y \rangle \), which compares means."""
    return pairs, torch.ones_like(pairs)


def quadratic(pairs: Tensor, scales: tuple[float, ...]) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    r"""Compute \( (1 + \langle x, y \rangle)^2 \), which compares means and covariances."""
    return (1 + pairs).square(), 2 * (1 + pairs)


RADIAL: dict[str, Kernel] = {"imq": imq, "rbf": rbf}
"""The kernels that are functions of the squared distance."""
KERNELS: dict[str, Kernel] = {**RADIAL, "linear": linear, "quadratic": quadratic}
"""All kernels, by name."""


def energy(
    points: Tensor, weights: Tensor, sizes: tuple[int, ...], kernel: str, scales: tuple[float, ...]
) -> Tensor:
    r"""Compute the energy of weighted strata of points.

    \[ \sum_{s,t} \omega_s \omega_t \bar k_{st} \]

    \( \bar k_{st} \) is the mean of the kernel over all pairs of a point from stratum s and a point
    from stratum t. Within a stratum, it is the mean over pairs of different points (a U-statistic).
    Weights may be negative. For two strata with weights 1 and -1, the energy is the squared maximum
    mean discrepancy.

    Arguments:
        points: `(N, dim)`, stratum after stratum.
        weights: \( \omega \), `(S,)`.
        sizes: the number of points in each stratum, at least two. They add up to N.
        kernel: a name in `KERNELS`.
        scales: the kernel's scales.

    Returns:
        A scalar, differentiable once in points and weights. Pairs are computed in blocks, so the
        memory is linear in N. For radial kernels, rounding errors of distances and gradients within
        a stratum are relative to its width, even if it is far from the other strata.

    Example:
        >>> points = torch.tensor([[0.0], [2.0], [1.0], [1.0]])
        >>> weights = torch.tensor([1.0, -1.0])
        >>> energy(points, weights, (2, 2), "imq", (1.0,))  # 1/5 + 1 - 2 * 1/2
        tensor(0.2000)
    """
    stratum = torch.arange(len(sizes), device=points.device)
    stratum = stratum.repeat_interleave(
        torch.tensor(sizes, device=points.device), output_size=len(points)
    )
    count = points.new_tensor(sizes)
    return _Energy.apply(
        points, (weights / count)[stratum], stratum, count, KERNELS[kernel], scales
    )


def kernel_matrix(x: Tensor, y: Tensor, kernel: str, scales: tuple[float, ...]) -> Tensor:
    """Return the kernel of all pairs, `(n, dim)` and `(m, dim)` -> `(n, m)`.

    It is differentiable once. Unlike in `energy`, all pairs are in memory at once.

    Arguments:
        x: points.
        y: other points, or the same.
        kernel: a name in `KERNELS`.
        scales: the kernel's scales.
    """
    pairs = _squared_distances(x, y) if kernel in RADIAL else x @ y.T
    return _Values.apply(pairs, KERNELS[kernel], scales)


def _refuse_second_derivative() -> None:
    # The decorator `once_differentiable` would silently return a second derivative of zero.
    if torch.is_grad_enabled():
        raise NotImplementedError(
            "the MMD is differentiable only once; leave out create_graph=True."
        )


class _Values(torch.autograd.Function):
    """The values of a kernel; autograd would store the pairs for every scale."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, pairs: Tensor, kernel: Kernel, scales: tuple[float, ...]
    ) -> Tensor:
        value, slope = kernel(pairs, scales)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        _refuse_second_derivative()
        (slope,) = ctx.saved_tensors
        return grad * slope, None, None


class _Energy(torch.autograd.Function):
    """The value and both gradients in one pass; autograd would store all pairs for every scale."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        points: Tensor,
        charge: Tensor,
        stratum: Tensor,
        count: Tensor,
        kernel: Kernel,
        scales: tuple[float, ...],
    ) -> Tensor:
        radial = kernel in RADIAL.values()
        frame = _Strata(points, stratum, count) if radial else None
        if frame is None:
            left = right = columns = points
        else:
            left, right, columns = frame.left, frame.right, frame.columns
        others = (count - 1)[stratum]
        potential = torch.zeros_like(charge)
        force = torch.zeros_like(columns)
        block = max(1, _PAIRS // len(points))
        # The upper triangle of the matrix of pairs, in blocks of rows.
        for start in range(0, len(points), block):
            rows, rest = slice(start, start + block), slice(start, None)
            pairs = left[rows] @ right[rest].T
            value, slope = kernel(pairs.clamp_(min=0) if radial else pairs, scales)
            # Within a stratum, n (n - 1) pairs count instead of n^2.
            different = 1 + (stratum[rows, None] == stratum[rest]) / others[rows, None]
            different.fill_diagonal_(0)
            _multiply(potential, value * different, charge, start)
            _multiply(force, slope * different * charge[rows, None] * charge[rest], columns, start)
        gradient = 2 * force if frame is None else 4 * frame.forces(force)
        ctx.save_for_backward(gradient, 2 * potential)
        return charge @ potential

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        _refuse_second_derivative()
        force, potential = ctx.saved_tensors
        return grad * force, grad * potential, None, None, None, None


class _Strata:
    r"""Points relative to the center of their stratum, \( x_i = c_s + u_i \).

    The product of `left` and `right` is the matrix of squared distances,
    \( |x_i - c_t|^2 + |x_j - c_s|^2 - |c_s - c_t|^2 - 2 u_i u_j \) for i in s and j in t. With the
    origin as the center, rounding errors would exceed the distances within a tight and distant
    cluster.
    """

    def __init__(self, points: Tensor, stratum: Tensor, count: Tensor) -> None:
        self.member = one_hot(stratum, len(count)).to(points)
        points = points - points.mean(dim=0)
        self.centers = self.member.T @ points / count[:, None]
        self.stratum, self.local = stratum, points - self.centers[stratum]
        reach = _squared_distances(points, self.centers)
        apart = _squared_distances(self.centers, self.centers)[stratum]
        self.left = torch.cat([-2 * self.local, reach - apart, self.member], dim=1)
        self.right = torch.cat([self.local, self.member, reach], dim=1)
        self.columns = torch.cat([self.local, self.member], dim=1)

    def forces(self, product: Tensor) -> Tensor:
        r"""Compute \( \sum_j w_{ij} (x_i - x_j) \), `(N, dim)`.

        Arguments:
            product: the product of the weights \( w \) and `columns`.
        """
        pull, weight = product.tensor_split([self.local.shape[1]], dim=1)
        # The terms of a point's stratum cancel in theory, but not exactly after rounding.
        elsewhere = weight * (1 - self.member)
        between = (
            elsewhere.sum(dim=1, keepdim=True) * self.centers[self.stratum]
            - elsewhere @ self.centers
        )
        return weight.sum(dim=1, keepdim=True) * self.local - pull + between


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()


def _multiply(out: Tensor, block: Tensor, vectors: Tensor, start: int) -> None:
    """Multiply vectors by a symmetric matrix, block by block, and add the products to `out`.

    Arguments:
        out: the sum of products.
        block: rows of the matrix, from the diagonal to the right.
        vectors: the vectors, as rows.
        start: the index of the block's first row.
    """
    end = start + len(block)
    out[start:end] += block @ vectors[start:]
    out[end:] += block[:, len(block) :].T @ vectors[start:end]
