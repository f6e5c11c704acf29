"""Mixtures of diagonal Gaussians: fixed, learned, or fitted to latent codes."""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from torch import Tensor, nn

from genzoo import distributed
from genzoo.blocks.precision import at_least_single
from genzoo.contract import Count, Positive, PositiveFloat, Prior
from genzoo.errors import DataError
from genzoo.priors.layouts import LAYOUTS
from genzoo.priors.simple import truncated_noise

__all__ = ["MixtureOfGaussians"]

_GAP = 5.0
"""Distance of the nearest means in standard deviations.

About 99 % of the samples are then nearest to the mean of their component.
"""


class MixtureOfGaussians(Prior):
    r"""A mixture of Gaussians with diagonal covariances, on a fixed layout by default.

    \[ p(z) = \sum_{k=1}^K w_k \, N(z; m_k, \operatorname{diag} s_k^2) \]

    Arguments:
        dim: the number of coordinates.
        components: the number of components \( K \).
        means: the layout of the means. `"spread"` is as far from each other as possible on a sphere
            (a ring in two dimensions, a line in one). `"ring"` and `"grid"` use the first two
            coordinates. `"simplex"` places all means at equal distances from each other.
        radius: the radius of the sphere or ring, or half the side of the grid. By default, it
            follows from `scale`.
        scale: the standard deviation of every component. By default, it is a fifth of the distance
            between the nearest means. Without `radius` and `scale`, the average variance of a
            coordinate is 1, as for the standard normal.
        learn: make weights, means, and standard deviations parameters, which start from the layout.
            The weight of a single component is always 1, so it is not a parameter.

    Raises:
        SettingError: the layout has no room for this number of components.

    Example:
        >>> prior = MixtureOfGaussians(2, components=8, means="ring", radius=2.0, scale=0.3)
        >>> prior.variance
        tensor([2.0900, 2.0900])
        >>> prior.component(torch.tensor([[2.0, 0.0]])).argmax(dim=1)
        tensor([0])
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor

    def __init__(
        self,
        dim: Positive,
        components: Count = 10,
        means: Literal["spread", "ring", "grid", "simplex"] = "spread",
        radius: PositiveFloat | None = None,
        scale: PositiveFloat | None = None,
        *,
        learn: bool = False,
    ) -> None:
        super().__init__()
        self.dim = dim
        unit = LAYOUTS[means](components, dim)
        nearest = float(torch.pdist(unit).min()) if components > 1 else _GAP
        gap = nearest / _GAP
        if scale is None:
            if radius is None:
                unit_variance = float(unit.var(dim=0, correction=0).sum())
                radius = math.sqrt(dim / (unit_variance + dim * gap**2))
            scale = radius * gap
        elif radius is None:
            radius = scale / gap
        start = {
            "logits": torch.zeros(components),
            "means": (radius * unit).to(torch.get_default_dtype()),
            "log_scales": torch.full((components, dim), math.log(scale)),
        }
        for name, value in start.items():
            if learn and (components > 1 or name != "logits"):
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def sample(self, n: int) -> Tensor:
        """Draw independent samples.

        They are differentiable in means and scales, but not in the weights (`strata` is).
        """
        k = self._draw_components(n)
        noise = distributed.noise(n, self.dim, like=self.means)
        return self.means[k] + self.log_scales[k].exp() * noise

    def truncated(self, n: int, threshold: float) -> Tensor:
        """Draw samples near the means of their components.

        Each coordinate is within `threshold` standard deviations of the component's mean.
        """
        k = self._draw_components(n)
        noise = truncated_noise(n, self.dim, threshold, like=self.means)
        return self.means[k] + self.log_scales[k].exp() * noise

    def _draw_components(self, n: int) -> Tensor:
        """Draw the indices of `n` components with their weights as probabilities, `(n,)`."""
        edges = at_least_single(self.logits).softmax(dim=0).cumsum(dim=0)[:-1].detach()
        return torch.searchsorted(edges, distributed.uniform(n, like=edges), right=True)

    def strata(self, n: int) -> tuple[Tensor, Tensor]:
        """Draw equally many samples from each component, at least two.

        Returns:
            The samples `(K, m, dim)`, and the weights `(K,)`, whose gradient reaches the logits.
        """
        components = len(self.logits)
        draws = max(2, -(-n // components))
        noise = distributed.noise(draws, components, self.dim, like=self.means)
        z = self.means + self.log_scales.exp() * noise
        return z.transpose(0, 1), at_least_single(self.logits).softmax(dim=0)

    def log_prob(self, z: Tensor) -> Tensor:
        return self._joint(z).logsumexp(dim=1)

    def component(self, z: Tensor) -> Tensor:
        """Return the responsibilities p(k | z), `(batch, dim)` -> `(batch, K)`."""
        return self._joint(z).softmax(dim=1)

    def _joint(self, z: Tensor) -> Tensor:
        """Return `log w_k + log N(z; m_k, s_k)`, `(batch, K)`."""
        # Not torch's MixtureSameFamily: this is a single pass, which compiles as a whole graph, and
        # which `component` shares.
        standard = (z[:, None] - self.means) * (-self.log_scales).exp()
        constant = (
            self.logits.log_softmax(dim=0)
            - self.log_scales.sum(dim=1)
            - 0.5 * self.dim * math.log(2 * math.pi)
        )
        return constant - 0.5 * standard.square().sum(dim=2)

    @property
    def mean(self) -> Tensor:
        """The mean of each coordinate, `(dim,)`."""
        return self.logits.softmax(dim=0) @ self.means

    @property
    def variance(self) -> Tensor:
        within = (2 * self.log_scales).exp()
        return self.logits.softmax(dim=0) @ (within + (self.means - self.mean).square())

    def gaussians(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights `(K,)`, means `(K, dim)`, and standard deviations `(K, dim)`."""
        return self.logits.softmax(dim=0), self.means, self.log_scales.exp()

    @torch.no_grad()
    def fit(self, codes: Tensor) -> Self:
        """Fit weights, means, and scales to latent codes in place, by expectation-maximization.

        Arguments:
            codes: latent codes, `(n, dim)`.

        Returns:
            The prior itself.

        Raises:
            DataError: there are fewer codes than components, they have a wrong dimension, some are
                not finite, or all are equal.
        """
        from sklearn.mixture import GaussianMixture

        if codes.shape[1:] != (self.dim,) or len(codes) < len(self.logits):
            raise DataError(
                f"a mixture of {len(self.logits)} components in {self.dim} dimensions cannot be "
                f"fitted to codes of shape {tuple(codes.shape)}; it needs (n, {self.dim}) with "
                f"n >= {len(self.logits)}."
            )
        codes = codes.double().cpu()
        if bad := int((~codes.isfinite()).any(dim=1).sum()):
            raise DataError(
                f"{bad} of {len(codes)} codes are not finite, so no mixture fits them; check the "
                "data and the encoder."
            )
        if (codes == codes[0]).all():
            raise DataError(
                f"all {len(codes)} codes are equal, so no mixture fits them; the encoder ignores "
                "its input."
            )
        # The smallest variance of a component is relative to the variance of the codes.
        floor = 1e-6 * float(codes.var(dim=0, correction=0).mean())
        mixture = GaussianMixture(
            len(self.logits), covariance_type="diag", reg_covar=floor, random_state=0
        )
        mixture.fit(codes.numpy())
        self.logits.copy_(torch.from_numpy(mixture.weights_).log())
        self.means.copy_(torch.from_numpy(mixture.means_))
        self.log_scales.copy_(torch.from_numpy(mixture.covariances_).log() / 2)
        return self
