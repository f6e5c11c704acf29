"""The Wasserstein distance between samples of equal size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from genzoo import distributed
from genzoo.contract import Prior, SampleDivergence
from genzoo.errors import SettingError

__all__ = ["Wasserstein", "whole_samples"]


class Wasserstein(SampleDivergence):
    r"""The exact Wasserstein distance between two samples of equal size.

    The ground cost is the Euclidean distance.

    \[ W_p = \min_\pi \Big( \frac 1n \sum_i \| x_i - y_{\pi(i)} \|^p \Big)^{1/p} \]

    In one dimension, sorting gives the best permutation. In several dimensions, it is the solution
    of an assignment problem, with O(n^2) memory and up to O(n^3) time: for n = 2500 in the plane,
    about one second, and ten seconds if the samples have collapsed to few modes.

    In several dimensions, the distance is biased upwards, and the bias grows with the dimension:
    even two samples of the same distribution have a distance above 0. Compare with that distance.

    Arguments:
        order: the order \( p \).

    References:
        Computational Optimal Transport, Gabriel Peyré and Marco Cuturi, 2019,
        https://arxiv.org/abs/1803.00567 (chapter 2)

    Example:
        >>> Wasserstein()(torch.tensor([[0.0], [1.0]]), torch.tensor([[4.0], [2.0]]))
        tensor(2.5000)
    """

    expected_failures: ClassVar[Mapping[str, str]] = {
        "compile-4": "in several dimensions, SciPy solves the assignment problem"
    }

    def __init__(self, order: Literal[1, 2] = 1) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor, y: Tensor | Prior) -> Tensor:
        """Compute the distance of the global batch. All ranks return the same value.

        Arguments:
            x: a sample, `(n, dim)`.
            y: another sample, `(n, dim)`, or a prior, from which n samples are drawn.

        Returns:
            A scalar. Its gradient is the gradient of the distances of matched pairs. The matching
            is a constant, which is exact where the matching is unique (the envelope theorem).

        Raises:
            SettingError: the samples are empty, their shapes differ, or the weights of the prior
                are learned.
        """
        x, y = whole_samples(x, y, "Wasserstein")
        if x.ndim != 2 or x.shape != y.shape or not x.numel():
            raise SettingError(
                f"Wasserstein between samples of shapes {tuple(x.shape)} and {tuple(y.shape)}: "
                "expected equal shapes (n, dim) with n >= 1; draw samples of equal size."
            )
        dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            x, y = x.to(dtype), y.to(dtype)
            if x.shape[1] == 1:
                x, y = x.sort(dim=0).values, y.sort(dim=0).values
            else:
                y = y[self._matching(x.detach(), y.detach())]
            # The gradient of a norm is zero at zero. The gradient of a square root is NaN there.
            distances = torch.linalg.vector_norm(x - y, dim=1)
            return torch.linalg.vector_norm(distances, self.order) / x.shape[0] ** (1 / self.order)

    def _matching(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the index of the row of `y` for each row of `x`."""
        from scipy.optimize import linear_sum_assignment

        cost = (
            torch.cdist(
                x.cpu().double(), y.cpu().double(), compute_mode="donot_use_mm_for_euclid_dist"
            )
            ** self.order
        )
        # The distance is not finite either, so any matching will do.
        if not cost.isfinite().all():
            return torch.arange(x.shape[0], device=y.device)
        # This does not change the best matching, but makes the search faster. If all rows of `x`
        # are equal, it takes no search at all.
        for dim in (0, 1):
            cost -= cost.amin(dim, keepdim=True)
        return torch.from_numpy(linear_sum_assignment(cost.numpy())[1]).to(y.device)


def whole_samples(x: Tensor, y: Tensor | Prior, name: str) -> tuple[Tensor, Tensor]:
    """Return the samples of the global batch, and as many samples of a prior.

    Arguments:
        x: this rank's rows of a sample.
        y: this rank's rows of another sample, or a prior.
        name: the name of the divergence, for messages.

    Raises:
        SettingError: the weights of the prior are learned.
    """
    x = distributed.gather(x)
    if isinstance(y, Tensor):
        return x, distributed.gather(y)
    # Every rank draws the same samples for the global batch, and keeps all of them.
    with distributed.replicated():
        _check_weights(y, name)
        return x, y.sample(x.shape[0])


def _check_weights(prior: Prior, name: str) -> None:
    """Reject a mixture that learns its weights, because they would get no gradient.

    Arguments:
        prior: the prior.
        name: the name of the divergence in the message.

    Raises:
        SettingError: the weights are learned.
    """
    _, weights = prior.strata(2)
    if weights.requires_grad:
        raise SettingError(
            f"{name} gives the weights of {type(prior).__name__} no gradient; "
            'take "mmd", or learn = false.'
        )
