"""Kernels, and their weighted sums over all pairs of a set of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

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


def energy(points: Tensor, weights: Tensor, sizes: tuple[int, ...], kernel: str, scales: tuple[float, ...]) -> Tensor:
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

    Example:
        >>> points, weights = torch.tensor([[0.0], [2.0], [1.0], [1.0]]), torch.tensor([1.0, -1.0])
        >>> energy(points, weights, (2, 2), "imq", (1.0,))  # 1/5 + 1 - 2 * 1/2
        tensor(0.2000)
    """
    count = points.new_tensor(sizes)
    index = torch.arange(len(sizes), device=points.device)
    stratum = torch.repeat_interleave(index, torch.tensor(sizes, device=points.device), output_size=len(points))
    return _Energy.apply(points, (weights / count)[stratum], stratum, (count - 1)[stratum], KERNELS[kernel], scales)


class _Energy(torch.autograd.Function):
    """The value and both gradients in one pass: autograd would keep every pair for every scale."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, points: Tensor, charge: Tensor, stratum: Tensor, others: Tensor, kernel: Kernel, scales: tuple[float, ...]
    ) -> Tensor:
        radial = kernel in RADIAL.values()
        points = points - points.mean(dim=0) if radial else points  # near the origin, |x - y|^2 from inner products cancels least
        norms = points.square().sum(dim=1)
        columns = torch.cat([points, torch.ones_like(norms)[:, None]], dim=1)
        potential, force = torch.zeros_like(charge), torch.zeros_like(columns)
        rows = max(1, _PAIRS // len(points))
        for start in range(0, len(points), rows):  # the upper triangle, by blocks of rows
            own, rest = slice(start, start + rows), slice(start, None)
            pairs = points[own] @ points[rest].T
            if radial:
                pairs = (norms[own, None] + norms[rest] - 2 * pairs).clamp_(min=0)
            value, slope = kernel(pairs, scales)
            different = 1 + (stratum[own, None] == stratum[rest]) / others[own, None]  # n^2 -> n (n - 1) within a stratum
            different.fill_diagonal_(0)
            _multiply(potential, value * different, charge, start)
            _multiply(force, slope * different * charge[own, None] * charge[rest], columns, start)
        force = 4 * (force[:, -1:] * points - force[:, :-1]) if radial else 2 * force[:, :-1]
        ctx.save_for_backward(force, 2 * potential)
        return charge @ potential

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if torch.is_grad_enabled():  # `once_differentiable` would let a second derivative pass as zero
            raise NotImplementedError("the MMD is differentiable once; leave out create_graph=True.")
        force, potential = ctx.saved_tensors
        return grad * force, grad * potential, None, None, None, None


def _multiply(out: Tensor, block: Tensor, vectors: Tensor, start: int) -> None:
    """Add to `out` what a block of a symmetric matrix's upper triangle, and its mirror image, do to vectors."""
    end = start + len(block)
    out[start:end] += block @ vectors[start:]
    out[end:] += block[:, len(block) :].T @ vectors[start:end]
