"""The maximum mean discrepancy between two samples, or between a sample and a prior."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from genzoo import distributed
from genzoo.contract import PositiveFloat, Prior, SampleDivergence
from genzoo.divergences.analytic import expectation, gaussian_kernels
from genzoo.divergences.kernels import RADIAL, energy, kernel_matrix
from genzoo.errors import SettingError, show

__all__ = ["MMD"]

_ANALYTIC = 2**14
"""The largest components^2 * dim for which the closed form takes milliseconds and megabytes."""

_WIDEST = 1e12
"""The largest ratio of two scales, because the closed form needs nodes for each decade."""


class MMD(SampleDivergence):
    r"""The squared maximum mean discrepancy (MMD).

    The estimate is unbiased, so it is often negative if the distributions are equal.

    \[ \frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j)
       - \frac{2}{nm} \sum_{i,j} k(x_i, y_j) \]

    Arguments:
        kernel: `"imq"`, \( \sum_s sC / (sC + |x-y|^2) \); `"rbf"`,
            \( \sum_s \exp(-|x-y|^2 / sC) \); `"linear"`, \( \langle x, y \rangle \), which compares
            means; or `"quadratic"`, \( (1 + \langle x, y \rangle)^2 \), which compares means and
            covariances.
        scales: the factors \( s \) of \( C \). Their kernels are summed, not averaged, as in the
            authors' code. Their paper has one scale.
        estimator: how a prior is represented. `"sampled"` draws one sample per latent code. For a
            mixture, it draws the same number from each component, at least two, and weights them.
            `"analytic"` uses expectations in closed form, which about halves the noise. It works
            for radial kernels, and for Gaussians and mixtures of Gaussians. Its time and memory are
            O(K^2 dim) for K components. `"auto"` is analytic if that is possible and cheap.
        bandwidth: \( C \), a squared distance. By default
            \( 2 \operatorname{tr} \operatorname{Cov}(y) \), the mean squared distance of two
            samples of the prior, or of two rows of the sample `y`. Gradients treat it as a
            constant.

    Raises:
        SettingError: the kernel has no analytic expectations, or the scales span too many decades.

    References:
        A Kernel Two-Sample Test, Arthur Gretton et al., 2012,
        https://jmlr.org/papers/v13/gretton12a.html (lemma 6).
        Wasserstein Auto-Encoders, Ilya Tolstikhin et al., 2018, https://arxiv.org/abs/1711.01558
            (algorithm 2); code: https://github.com/tolstikhin/wae.

    Example:
        >>> x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]])
        >>> MMD("linear")(x, y)  # 4^2 - 2/2 - 2/2
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
        # The paper samples. The closed form has the same expectation and gradient, and less noise.
        estimator: Literal["auto", "sampled", "analytic"] = "auto",
        bandwidth: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.scales = tuple(scales)
        self.estimator = estimator
        self.bandwidth = bandwidth
        if estimator == "analytic" and kernel not in RADIAL:
            raise SettingError(
                f'estimator = "analytic" does not support the {kernel!r} kernel; take "imq" or '
                '"rbf", or estimator = "sampled".'
            )
        if max(scales) > _WIDEST * min(scales):
            raise SettingError(
                f"scales = {show(scales)} span more than {math.log10(_WIDEST):.0f} decades; take "
                "scales nearer to 1."
            )
        if kernel in RADIAL:
            # Not buffers, which would be rounded to half precision.
            self.rates, self.masses = gaussian_kernels(kernel, self.scales)

    def forward(self, x: Tensor, y: Tensor | Prior) -> Tensor:
        """Compute the squared MMD of the global batch. All ranks return the same value.

        Arguments:
            x: a sample (latent codes), `(n, dim)`.
            y: another sample, `(m, dim)`, or a prior.

        Returns:
            A scalar. It is differentiable once in both arguments and in the parameters of the
            prior, including the weights of a mixture.

        Raises:
            SettingError: a sample has fewer than two rows or a wrong dimension, or `y` has no
                analytic expectations.
        """
        # Half precision is too coarse for squared distances.
        with torch.autocast(x.device.type, enabled=False):
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

    def within_classes(self, x: Tensor, y: Prior, labels: Tensor) -> Tensor:
        r"""Compute the mean squared MMD of the samples of each class and a prior.

        \[ \sum_{k : n_k > 1} \frac{n_k}{n} \mathrm{MMD}^2(\{x_i : y_i = k\}, p) \]

        It is computed for the global batch, in one pass over all pairs, whose number does not
        depend on the labels. All classes share the samples of a prior that has no closed form.

        Arguments:
            x: a sample (latent codes), `(n, dim)`.
            y: a prior.
            labels: the class of each row, integers `(n,)`.

        Returns:
            A scalar, differentiable once in the sample and in the parameters of the prior.

        Raises:
            SettingError: as in `forward`.
        """
        with torch.autocast(x.device.type, enabled=False):
            x, labels = _sample(distributed.gather(x), y.dim), distributed.gather(labels)
            n, unit = len(x), self._unit(y, x.dtype)
            same = labels[:, None] == labels
            others = same.sum(1) - 1
            counts = (others > 0).to(x)
            # Each row has the mean over the other rows of its class.
            share = same.to(x).fill_diagonal_(0) * (counts / others.clamp(min=1) / n)[:, None]
            within = (share * kernel_matrix(x / unit, x / unit, self.kernel, self.scales)).sum()
            cross, prior = self._against(x / unit, y, unit)
            return within - 2 * (counts @ cross) / n + counts.mean() * prior

    def _against(self, x: Tensor, y: Prior, unit: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return the mean kernel of each row and the prior, and of two samples of the prior.

        Arguments:
            x: rows in the unit of distance, `(n, dim)`.
            y: the prior.
            unit: the unit of distance.
        """
        if self._in_closed_form(y):
            return self._expectations(x, y, unit)
        z, weights = (t.to(x.dtype) for t in self._strata(y, x.shape[0]))
        points, sizes = z.flatten(0, 1) / unit, (z.shape[1],) * z.shape[0]
        cross = kernel_matrix(x, points, self.kernel, self.scales)
        prior = energy(points, weights, sizes, self.kernel, self.scales)
        return cross.unflatten(1, z.shape[:2]).mean(2) @ weights, prior

    def _unit(self, y: Tensor | Prior, dtype: torch.dtype) -> Tensor | float:
        """Return the unit of distance, the square root of C."""
        if self.kernel not in RADIAL:
            return 1.0
        if self.bandwidth is not None:
            return self.bandwidth**0.5
        variance = y.var(dim=0) if isinstance(y, Tensor) else y.variance
        # The minimum keeps squared distances in this unit finite if all rows of y are equal.
        smallest = torch.finfo(dtype).tiny ** 0.5
        return (2 * variance.detach().to(dtype).sum()).clamp(min=smallest).sqrt()

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
        # Every rank draws the same samples for the global batch, and keeps all of them.
        with distributed.replicated():
            z, weights = y.strata(n)
        if z.shape[1] < 2:
            raise SettingError(
                f"MMD needs at least two samples from each stratum of {type(y).__name__}, but "
                f"strata({n}) returned {z.shape[1]}."
            )
        return z, weights

    def _analytic(self, x: Tensor, y: Tensor | Prior, unit: Tensor | float) -> Tensor:
        within = energy(x, x.new_ones(1), (x.shape[0],), self.kernel, self.scales)
        cross, prior = self._expectations(x, y, unit)
        return within - 2 * cross.mean() + prior

    def _expectations(
        self, x: Tensor, y: Tensor | Prior, unit: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """Return the same as `_against`, in closed form."""
        gaussians = getattr(y, "gaussians", None)
        if gaussians is None:
            raise SettingError(
                f'estimator = "analytic" needs a Gaussian prior or a mixture of Gaussians, not '
                f'{type(y).__name__}; take estimator = "sampled".'
            )
        weights, means, scales = (t.to(x.dtype) for t in gaussians())
        means, variances = means / unit, (scales / unit).square()
        rates, masses = self.rates.to(means), self.masses.to(means)
        cross = expectation(x[:, None] - means, variances, rates, masses) @ weights
        prior = (
            expectation(means[:, None] - means, variances[:, None] + variances, rates, masses)
            @ weights
            @ weights
        )
        return cross, prior


def _sample(x: Tensor, dim: int) -> Tensor:
    if x.shape[0] < 2 or x.shape[1:] != (dim,):
        raise SettingError(
            f"MMD of a sample of shape {tuple(x.shape)}: expected (n, {dim}) with n >= 2, because "
            "the MMD needs pairs."
        )
    return x.to(torch.promote_types(x.dtype, torch.float32))
