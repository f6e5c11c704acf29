"""Kernels, and their weighted sums over all pairs of a set of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

Kernel = Callable[[Tensor, tuple[float, ...]], tuple[Tensor, Tensor]]
"""Pairs' squared distances (or inner products) and scales -> values and derivatives."""
_PAIRS = 2**17  # held at once: a few blocks of half a megabyte, which stay in a cache


def imq(pairs: Tensor, scales: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    r"""Inverse multiquadratics, \( \sum_s s / (s + r^2) \)."""
    value, slope = torch.zeros_like(pairs), torch.zeros_like(pairs)
    for scale in scales:
        term = (pairs + scale).reciprocal_()
        value.add_(term, alpha=scale)
        slope.addcmul_(term, term, value=-scale)
    return value, slope


def rbf(pairs: Tensor, scales: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    r"""Gaussians, \( \sum_s \exp(-r^2 / s) \)."""
    value, slope = torch.zeros_like(pairs), torch.zeros_like(pairs)
    for scale in scales:
        term = (pairs * (-1 / scale)).exp_()
        value.add_(term)
        slope.add_(term, alpha=-1 / scale)
    return value, slope


def linear(pairs: Tensor, scales: tuple[float, ...]) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    r"""\( \langle x, y \rangle \), which compares means."""
    return pairs, torch.ones_like(pairs)


def quadratic(pairs: Tensor, scales: tuple[float, ...]) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    r"""\( (1 + \langle x, y \rangle)^2 \), which compares means and covariances."""
    return (1 + pairs).square(), 2 * (1 + pairs)


RADIAL: dict[str, Kernel] = {"imq": imq, "rbf": rbf}
"""Functions of the squared distance."""
KERNELS: dict[str, Kernel] = {**RADIAL, "linear": linear, "quadratic": quadratic}


def energy(
    points: Tensor, weights: Tensor, sizes: tuple[int, ...], kernel: str, scales: tuple[float, ...]
) -> Tensor:
    r"""The energy \( \sum_{s,t} \omega_s \omega_t \bar k_{st} \) of strata of points with weights of either sign.

    \( \bar k_{st} \) is the mean of the kernel over the pairs with a point from each stratum; within a stratum, over the pairs of
    different points (a U-statistic). With weights 1 and -1 it is the squared maximum mean discrepancy of two samples.

    Arguments:
        points: `(N, dim)`, stratum after stratum.
        weights: \( \omega \), `(S,)`.
        sizes: how many points each stratum has, at least two; they add up to N.
        kernel: a name in `KERNELS`.
        scales: of the kernel.

    Returns:
        A scalar, once differentiable in points and weights. Pairs are taken block by block, so the memory is linear in N.
        Within a stratum, distances and forces of the radial kernels are rounded relative to its width, however far from the
        others it is.

    Example:
        >>> points, weights = torch.tensor([[0.0], [2.0], [1.0], [1.0]]), torch.tensor([1.0, -1.0])
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


class _Energy(torch.autograd.Function):
    """The value and both gradients in one pass: autograd would keep every pair for every scale."""

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
        left, right, columns = (
            (frame.left, frame.right, frame.columns) if frame else (points, points, points)
        )
        others, potential, force = (
            (count - 1)[stratum],
            torch.zeros_like(charge),
            torch.zeros_like(columns),
        )
        rows = max(1, _PAIRS // len(points))
        for start in range(0, len(points), rows):  # the upper triangle, by blocks of rows
            own, rest = slice(start, start + rows), slice(start, None)
            pairs = left[own] @ right[rest].T
            value, slope = kernel(pairs.clamp_(min=0) if radial else pairs, scales)
            different = (
                1 + (stratum[own, None] == stratum[rest]) / others[own, None]
            )  # n^2 -> n (n - 1) within a stratum
            different.fill_diagonal_(0)
            _multiply(potential, value * different, charge, start)
            _multiply(force, slope * different * charge[own, None] * charge[rest], columns, start)
        ctx.save_for_backward(4 * frame.forces(force) if frame else 2 * force, 2 * potential)
        return charge @ potential

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if (
            torch.is_grad_enabled()
        ):  # `once_differentiable` would let a second derivative pass as zero
            raise NotImplementedError(
                "the MMD is differentiable once; leave out create_graph=True."
            )
        force, potential = ctx.saved_tensors
        return grad * force, grad * potential, None, None, None, None


class _Strata:
    r"""Points as seen from the centre of their stratum, \( x_i = c_s + u_i \), where no difference cancels.

    The products of `left` and `right` are squared distances, \( |x_i - c_t|^2 + |x_j - c_s|^2 - |c_s - c_t|^2 - 2 u_i u_j \) for
    i in s and j in t; seen from the origin, the distances within a tight cluster far away would drown in rounding.
    """

    def __init__(self, points: Tensor, stratum: Tensor, count: Tensor) -> None:
        self.member = one_hot(stratum, len(count)).to(points)
        points = points - points.mean(dim=0)
        self.centres = self.member.T @ points / count[:, None]
        self.stratum, self.local = stratum, points - self.centres[stratum]
        reach = _squared_distances(points, self.centres)
        apart = _squared_distances(self.centres, self.centres)[stratum]
        self.left = torch.cat([-2 * self.local, reach - apart, self.member], dim=1)
        self.right = torch.cat([self.local, self.member, reach], dim=1)
        self.columns = torch.cat([self.local, self.member], dim=1)

    def forces(self, product: Tensor) -> Tensor:
        r"""\( \sum_j w_{ij} (x_i - x_j) \), `(N, dim)`, from the product of the weights \( w \) and `columns`."""
        pull, weight = product.tensor_split([self.local.shape[1]], dim=1)
        elsewhere = weight * (
            1 - self.member
        )  # the centre of a point's own stratum would cancel, but not exactly
        between = (
            elsewhere.sum(dim=1, keepdim=True) * self.centres[self.stratum]
            - elsewhere @ self.centres
        )
        return weight.sum(dim=1, keepdim=True) * self.local - pull + between


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()


def _multiply(out: Tensor, block: Tensor, vectors: Tensor, start: int) -> None:
    """Add to `out` what a block of a symmetric matrix's upper triangle, and its mirror image, do to vectors."""
    end = start + len(block)
    out[start:end] += block @ vectors[start:]
    out[end:] += block[:, len(block) :].T @ vectors[start:end]
