"""The Wasserstein distance between samples of equal size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from genzoo import distributed
from genzoo.contract import Prior, SampleDivergence
from genzoo.errors import SettingError


class Wasserstein(SampleDivergence):
    r"""The Wasserstein distance of two samples of equal size, exact, with the Euclidean distance as ground cost.

    \[ W_p = \min_\pi \Big( \frac 1n \sum_i \| x_i - y_{\pi(i)} \|^p \Big)^{1/p} \]

    The minimum over permutations is found by sorting in one dimension, and by solving the assignment problem in several, which
    takes O(n^2) memory and up to O(n^3) time: for n = 2500 in the plane about a second, and ten where samples have collapsed on
    few modes.

    In several dimensions the distance between samples is biased upwards, the more so the higher the dimension: samples of one
    distribution are apart. Compare it with a floor, the distance of two samples of that distribution.

    Arguments:
        order: \( p \).

    References:
        Computational Optimal Transport, Gabriel Peyré and Marco Cuturi, 2019, https://arxiv.org/abs/1803.00567 (chapter 2)

    Example:
        >>> Wasserstein()(torch.tensor([[0.0], [1.0]]), torch.tensor([[4.0], [2.0]]))
        tensor(2.5000)
    """

    expected_failures: ClassVar[Mapping[str, str]] = {
        "compile-4": "beyond one dimension scipy solves the assignment problem"
    }

    def __init__(self, order: Literal[1, 2] = 1) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor, y: Tensor | Prior) -> Tensor:
        """The distance of the global batch, the same on every rank.

        Arguments:
            x: a sample, `(n, dim)`.
            y: another, `(n, dim)`, or a prior, which makes as many draws.

        Returns:
            A scalar. Its gradient is that of the matched pairs' distance; the matching itself is a constant, which is exact
            wherever the matching is unique (the envelope theorem).

        Raises:
            SettingError: the samples are empty, or their sizes or dimensions differ.
        """
        x = distributed.gather(x)
        if isinstance(y, Tensor):
            y = distributed.gather(y)
        else:
            with (
                distributed.replicated()
            ):  # every rank makes the same draws for the global batch, and keeps them all
                y = _weighed_alike(y).sample(x.shape[0])
        if x.ndim != 2 or x.shape != y.shape or not x.numel():
            raise SettingError(
                f"Wasserstein between samples of shapes {tuple(x.shape)} and {tuple(y.shape)}: expected (n, dim) twice, with "
                "n >= 1; draw samples of equal size."
            )
        dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            x, y = x.to(dtype), y.to(dtype)
            if x.shape[1] == 1:
                x, y = x.sort(dim=0).values, y.sort(dim=0).values
            else:
                y = y[self._matching(x.detach(), y.detach())]
            # norms of norms: where samples are equal, their gradient is zero, while that of a root of squares is not a number
            distances = torch.linalg.vector_norm(x - y, dim=1)
            return torch.linalg.vector_norm(distances, self.order) / x.shape[0] ** (1 / self.order)

    def _matching(self, x: Tensor, y: Tensor) -> Tensor:
        """For each row of `x`, the row of `y` that it goes to."""
        from scipy.optimize import linear_sum_assignment

        cost = (
            torch.cdist(
                x.cpu().double(), y.cpu().double(), compute_mode="donot_use_mm_for_euclid_dist"
            )
            ** self.order
        )
        if not cost.isfinite().all():  # no matching is best, and the distance is not finite either
            return torch.arange(x.shape[0], device=y.device)
        for dim in (
            0,
            1,
        ):  # the best matching stays the best, and is found sooner: at once where all of `x` are one point
            cost -= cost.amin(dim, keepdim=True)
        return torch.from_numpy(linear_sum_assignment(cost.numpy())[1]).to(y.device)


def _weighed_alike(prior: Prior) -> Prior:
    """A prior whose draws count alike: the weights of a mixture that learns them would get no gradient here.

    Raises:
        SettingError: its weights are learned.
    """
    if prior.strata(2)[1].requires_grad:
        raise SettingError(
            f'Wasserstein gives the weights of {type(prior).__name__} no gradient; take "mmd", or learn = false.'
        )
    return prior
