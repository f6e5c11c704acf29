"""The Sinkhorn divergence: a smoothed Wasserstein distance without the bias of the smoothing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import PositiveFloat, Prior, SampleDivergence
from genzoo.divergences.transport import whole_samples
from genzoo.errors import GenzooError, SettingError

__all__ = ["Sinkhorn"]

_ITERATIONS = 1000
_TOLERANCE = 1e-9
"""The error of the marginals of a plan at which the iteration stops."""
_MISPLACED = 0.01
"""The share of misplaced mass from which a plan counts as not converged."""


class Sinkhorn(SampleDivergence):
    r"""The Sinkhorn divergence between two samples, with the squared Euclidean distance as cost.

    \[ S_\varepsilon(x, y) = \mathrm{OT}_\varepsilon(x, y)
       - \tfrac 12 \mathrm{OT}_\varepsilon(x, x) - \tfrac 12 \mathrm{OT}_\varepsilon(y, y),
       \qquad \mathrm{OT}_\varepsilon = \min_P \sum_{ij} P_{ij} \| x_i - y_j \|^2
       + \varepsilon\, \mathrm{KL}(P \,\|\, a b^\top) \]

    The weights a and b of the points are equal. The divergence is 0 for equal samples. It is
    \( W_2^2 \) in the limit of a small \( \varepsilon \), and the squared distance of the means in
    that of a large one. It needs POT: `pip install 'genzoo[transport]'`. Memory is O(nm), and so is
    the time of an iteration; a small \( \varepsilon \) needs many. There are at most 1,000. If more
    than 1 % of the mass of a plan is then misplaced, a warning asks for a larger one.

    Arguments:
        epsilon: the smoothing \( \varepsilon \), a squared distance.

    References:
        Learning Generative Models with Sinkhorn Divergences, Aude Genevay, Gabriel Peyré and Marco
            Cuturi, 2018, https://arxiv.org/abs/1706.00292
        Interpolating between Optimal Transport and MMD using Sinkhorn Divergences, Jean Feydy et
            al., 2019, https://arxiv.org/abs/1810.08278

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[4.0], [5.0]])
        >>> Sinkhorn()(x, y)  # a shift has the same value for every epsilon
        tensor(16.)
    """

    expected_failures: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("compile-1", "compile-4"), "POT solves the transport problem"
    )

    def __init__(self, epsilon: PositiveFloat = 0.1) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: Tensor, y: Tensor | Prior) -> Tensor:
        """Compute the divergence of the global batch. All ranks return the same value.

        Arguments:
            x: a sample, `(n, dim)`.
            y: another sample, `(m, dim)`, or a prior, from which n samples are drawn.

        Returns:
            A scalar. Its gradient treats the plans as constants, which is exact at the optimum (the
            envelope theorem).

        Raises:
            SettingError: a sample is empty, the dimensions differ, or the weights of the prior are
                learned.
            GenzooError: POT is not installed.
        """
        x, y = whole_samples(x, y, "Sinkhorn")
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not min(len(x), len(y)):
            raise SettingError(
                f"Sinkhorn between samples of shapes {tuple(x.shape)} and {tuple(y.shape)}: "
                "expected (n, dim) and (m, dim) with n and m above 0."
            )
        dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            a, b = x.double(), y.double()
            value = self._cost(a, b) - (self._cost(a, a) + self._cost(b, b)) / 2
            return value.to(dtype)

    def _cost(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the regularized transport cost, differentiable in both samples."""
        # The difference of the means adds its square to any plan. Plans of the rest converge fast.
        shift = x.mean(dim=0) - y.mean(dim=0)
        x, y = x - x.mean(dim=0), y - y.mean(dim=0)
        cost = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * x @ y.T
        if not bool(cost.isfinite().all()):
            return cost.mean()
        plan = self._plan(cost.detach())
        entropy = torch.xlogy(plan, plan * plan.numel()).sum()
        return (plan * cost).sum() + self.epsilon * entropy + shift.square().sum()

    def _plan(self, cost: Tensor) -> Tensor:
        """Return the optimal plan for equal weights, from POT."""
        ot = _pot()
        matrix = cost.cpu().numpy()
        plan = ot.sinkhorn(
            [],
            [],
            matrix,
            self.epsilon,
            method="sinkhorn_log",
            numItermax=_ITERATIONS,
            stopThr=_TOLERANCE,
            warn=False,
        )
        # Half of the L1 distance between a marginal and the equal weights is misplaced.
        misplaced = max(
            abs(plan.sum(axis) * m - 1).mean() / 2 for axis, m in enumerate(matrix.T.shape)
        )
        if misplaced > _MISPLACED:
            warnings.warn(
                f"Sinkhorn(epsilon={self.epsilon:g}) has not converged after {_ITERATIONS:,} "
                f"iterations: {misplaced:.1%} of the mass is misplaced; raise epsilon.",
                stacklevel=2,
            )
        return torch.as_tensor(plan, device=cost.device)


def _pot() -> Any:
    """Import POT.

    Raises:
        GenzooError: it is not installed.
    """
    try:
        import ot
    except ImportError:
        raise GenzooError(
            "the Sinkhorn divergence needs POT; install it with: pip install 'genzoo[transport]'."
        ) from None
    return ot
