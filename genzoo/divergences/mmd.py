"""The maximum mean discrepancy between samples, or between a sample and a prior."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from genzoo import distributed
from genzoo.contract import PositiveFloat, Prior, SampleDivergence
from genzoo.divergences.analytic import expectation, gaussian_kernels
from genzoo.divergences.kernels import RADIAL, energy
from genzoo.errors import SettingError, show

_ANALYTIC = 2**14  # components^2 * dim up to which the closed form costs milliseconds and megabytes

_WIDEST = 1e12  # of the largest scale to the smallest: the closed form has nodes for each decade


class MMD(SampleDivergence):
    r"""The squared maximum mean discrepancy, unbiased, hence negative at times where the distributions are equal.

    \[ \frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j)
       - \frac{2}{nm} \sum_{i,j} k(x_i, y_j) \]

    Arguments:
        kernel: `"imq"`, \( \sum_s sC / (sC + |x-y|^2) \); `"rbf"`, \( \sum_s \exp(-|x-y|^2 / sC) \); `"linear"`,
            \( \langle x, y \rangle \), which compares means; `"quadratic"`, \( (1 + \langle x, y \rangle)^2 \), which compares
            covariances too.
        scales: the factors \( s \) on \( C \). Their kernels are summed, not averaged, as in the authors' code; their paper has
            one scale.
        estimator: what stands for a prior. `"sampled"`: as many draws as there are codes, from a mixture equally many from
            each component (two at least), weighted. `"analytic"`: its expectations in closed form, which about halves the noise;
            for radial kernels, and priors that are Gaussians or mixtures of them; time and memory are O(K^2 dim) in the number
            of components. `"auto"`: analytic where that is possible and cheap.
        bandwidth: \( C \), a squared distance. By default \( 2 \operatorname{tr} \operatorname{Cov}(y) \), the mean squared
            distance of two draws, from the prior or else from the sample `y`; a constant for gradients.

    Raises:
        SettingError: the kernel has no analytic expectations, or the scales span too much.

    References:
        A Kernel Two-Sample Test, Arthur Gretton et al., 2012, https://jmlr.org/papers/v13/gretton12a.html (lemma 6).
        Wasserstein Auto-Encoders, Ilya Tolstikhin et al., 2018, https://arxiv.org/abs/1711.01558 (algorithm 2);
        code: https://github.com/tolstikhin/wae.

    Example:
        >>> MMD("linear")(torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]]))  # 4^2 - 2/2 - 2/2
        tensor(14.)
    """

    def __init__(
        self,
        kernel: Literal["imq", "rbf", "linear", "quadratic"] = "imq",
        scales: Annotated[tuple[PositiveFloat, ...], MinLen(1)] = (
            0.1,
            0.2,
            0.5,
            1.0,
            2.0,
            5.0,
            10.0,
        ),
        # the paper samples; the closed form has the same expectation and gradient, with less noise
        estimator: Literal["auto", "sampled", "analytic"] = "auto",
        bandwidth: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        self.kernel, self.scales, self.estimator, self.bandwidth = (
            kernel,
            tuple(scales),
            estimator,
            bandwidth,
        )
        if estimator == "analytic" and kernel not in RADIAL:
            raise SettingError(
                f'estimator = "analytic" does not know the {kernel!r} kernel; take "imq" or "rbf", or estimator = "sampled".'
            )
        if max(scales) > _WIDEST * min(scales):
            raise SettingError(
                f"scales = {show(scales)} span more than {math.log10(_WIDEST):.0f} decades, between which there is nothing to "
                "compare; take scales nearer to 1."
            )
        if kernel in RADIAL:
            self.rates, self.masses = gaussian_kernels(
                kernel, self.scales
            )  # as buffers they would be rounded to half precision

    def forward(self, x: Tensor, y: Tensor | Prior) -> Tensor:
        """The squared discrepancy of the global batch, the same on every rank.

        Arguments:
            x: a sample (codes), `(n, dim)`.
            y: another, `(m, dim)`, or a prior.

        Returns:
            A scalar, differentiable once in both arguments and in the parameters of a prior, a mixture's weights included.

        Raises:
            SettingError: a sample has fewer than two points or another size than the prior, or `y` has no analytic expectations.
        """
        with torch.autocast(
            x.device.type, enabled=False
        ):  # squared distances do not survive half precision
            dim = y.shape[-1] if isinstance(y, Tensor) else y.dim
            x = _sample(distributed.gather(x), dim)
            if isinstance(y, Tensor):
                y = _sample(distributed.gather(y), dim)
            unit = self._unit(y, x.dtype)
            if self._in_closed_form(y):
                return self._analytic(x / unit, y, unit)
            z, weights = (t.to(x.dtype) for t in self._strata(y, x.shape[0]))
            points = torch.cat([x, z.flatten(0, 1)]) / unit
            signed = torch.cat([weights.new_ones(1), -weights])
            return energy(
                points, signed, (x.shape[0], *[z.shape[1]] * z.shape[0]), self.kernel, self.scales
            )

    def _unit(self, y: Tensor | Prior, dtype: torch.dtype) -> Tensor | float:
        """The distance, the root of C, that becomes 1."""
        if self.kernel not in RADIAL:
            return 1.0
        if self.bandwidth is not None:
            return self.bandwidth**0.5
        variance = y.var(dim=0) if isinstance(y, Tensor) else y.variance
        # the least is the root of the smallest number: where y are all equal, the squares of distances in this unit stay finite
        return (
            (2 * variance.detach().to(dtype).sum()).clamp(min=torch.finfo(dtype).tiny ** 0.5).sqrt()
        )

    def _in_closed_form(self, y: Tensor | Prior) -> bool:
        if self.estimator != "auto":
            return self.estimator == "analytic"
        gaussians = getattr(y, "gaussians", None)
        if self.kernel not in RADIAL or gaussians is None:
            return False
        _, means, _ = gaussians()
        return len(means) * means.numel() <= _ANALYTIC

    @staticmethod
    def _strata(y: Tensor | Prior, n: int) -> tuple[Tensor, Tensor]:
        if isinstance(y, Tensor):
            return y[None], y.new_ones(1)
        with (
            distributed.replicated()
        ):  # every rank makes the same draws for the global batch, and keeps them all
            z, weights = y.strata(n)
        if z.shape[1] < 2:
            raise SettingError(
                f"MMD needs two draws from each stratum of {type(y).__name__}, whose strata({n}) made {z.shape[1]}."
            )
        return z, weights

    def _analytic(self, x: Tensor, y: Tensor | Prior, unit: Tensor | float) -> Tensor:
        gaussians = getattr(y, "gaussians", None)
        if gaussians is None:
            raise SettingError(
                f'estimator = "analytic" needs a prior made of Gaussians, not {type(y).__name__}; take estimator = "sampled".'
            )
        weights, means, scales = (t.to(x.dtype) for t in gaussians())
        means, variances = means / unit, (scales / unit).square()
        rates, masses = self.rates.to(means), self.masses.to(means)
        within = energy(x, x.new_ones(1), (x.shape[0],), self.kernel, self.scales)
        cross = expectation(x[:, None] - means, variances, rates, masses) @ weights
        prior = (
            expectation(means[:, None] - means, variances[:, None] + variances, rates, masses)
            @ weights
            @ weights
        )
        return within - 2 * cross.mean() + prior


def _sample(x: Tensor, dim: int) -> Tensor:
    if x.shape[0] < 2 or x.shape[1:] != (dim,):
        raise SettingError(
            f"MMD of a sample of shape {tuple(x.shape)}: expected (n, {dim}), and n >= 2 to have pairs."
        )
    return x.to(torch.promote_types(x.dtype, torch.float32))
