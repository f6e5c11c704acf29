"""A mixture of diagonal Gaussians: fixed, learned, or fitted to codes."""

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

_GAP = 5.0  # standard deviations between the nearest means: about 99 % of the draws are nearest to their own mean


class MixtureOfGaussians(Prior):
    r"""A mixture of Gaussians with diagonal covariances, on a fixed layout by default.

    \[ p(z) = \sum_{k=1}^K w_k \, N(z; m_k, \operatorname{diag} s_k^2) \]

    Arguments:
        dim: the number of coordinates.
        components: \( K \).
        means: where the means stand. `"spread"`: as far from each other as they can be on a sphere (in two dimensions a ring, in
            one a line); `"ring"` and `"grid"`: in the first two coordinates; `"simplex"`: all equally far from each other.
        radius: of the sphere or the ring, half the side of the grid. By default what `scale` asks for.
        scale: the standard deviation of every component. By default a fifth of the distance between the nearest means. With
            neither radius nor scale the variance of a coordinate is 1 on average, as for the standard normal.
        learn: weights, means and standard deviations are parameters, which start from the layout; the weight of a single
            component is not, as it is always 1.

    Raises:
        SettingError: the layout has no room for so many components.

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
        learn: bool = False,
    ) -> None:
        super().__init__()
        self.dim = dim
        unit = LAYOUTS[means](components, dim)
        nearest = float(torch.pdist(unit).min()) if components > 1 else _GAP
        gap = nearest / _GAP
        if scale is None:
            if radius is None:
                radius = math.sqrt(
                    dim / (float(unit.var(dim=0, correction=0).sum()) + dim * gap**2)
                )
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
        """`n` independent draws; differentiable in means and scales but not in the weights (`strata` is)."""
        k = self._draw_components(n)
        return self.means[k] + self.log_scales[k].exp() * distributed.noise(
            n, self.dim, like=self.means
        )

    def truncated(self, n: int, threshold: float) -> Tensor:
        """`n` draws, `(n, dim)`, each coordinate within `threshold` standard deviations of the mean of the draw's component."""
        k = self._draw_components(n)
        return self.means[k] + self.log_scales[k].exp() * truncated_noise(
            n, self.dim, threshold, like=self.means
        )

    def _draw_components(self, n: int) -> Tensor:
        """The indices of `n` components, drawn by their weights, `(n,)`."""
        edges = at_least_single(self.logits).softmax(dim=0).cumsum(dim=0)[:-1].detach()
        return torch.searchsorted(edges, distributed.uniform(n, like=edges), right=True)

    def strata(self, n: int) -> tuple[Tensor, Tensor]:
        """As many draws from each component, two at least, and the components' weights, through which the logits learn."""
        components = len(self.logits)
        draws = max(2, -(-n // components))
        noise = distributed.noise(draws, components, self.dim, like=self.means)
        return (self.means + self.log_scales.exp() * noise).transpose(0, 1), at_least_single(
            self.logits
        ).softmax(dim=0)

    def log_prob(self, z: Tensor) -> Tensor:
        return self._joint(z).logsumexp(dim=1)

    def component(self, z: Tensor) -> Tensor:
        """The probability of each component given a point (its responsibility): `(batch, dim)` -> `(batch, K)`."""
        return self._joint(z).softmax(dim=1)

    def _joint(self, z: Tensor) -> Tensor:
        """`log w_k + log N(z; m_k, s_k)`, `(batch, K)`."""
        # Written out, rather than torch's MixtureSameFamily: a single pass that `component` shares and that compiles whole.
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
        """Weights `(K,)`, means and standard deviations `(K, dim)`."""
        return self.logits.softmax(dim=0), self.means, self.log_scales.exp()

    @torch.no_grad()
    def fit(self, codes: Tensor) -> Self:
        """Fit weights, means and scales to codes `(n, dim)` by expectation-maximisation, in place; learned or not.

        Raises:
            DataError: there are fewer codes than components, or of another size, or they are not finite, or all equal.
        """
        from sklearn.mixture import GaussianMixture

        if codes.shape[1:] != (self.dim,) or len(codes) < len(self.logits):
            raise DataError(
                f"a mixture of {len(self.logits)} components in {self.dim} dimensions cannot be fitted to codes of shape "
                f"{tuple(codes.shape)}; it needs (n, {self.dim}) with n >= {len(self.logits)}."
            )
        codes = codes.double().cpu()
        if bad := int((~codes.isfinite()).any(dim=1).sum()):
            raise DataError(
                f"{bad} of {len(codes)} codes are not finite, so no mixture fits them; look at what was encoded."
            )
        if (codes == codes[0]).all():
            raise DataError(
                f"all {len(codes)} codes are equal, so no mixture fits them; the encoder ignores its input."
            )
        floor = 1e-6 * float(
            codes.var(dim=0, correction=0).mean()
        )  # of a component's variances, in the codes' own units
        distribution = GaussianMixture(
            len(self.logits), covariance_type="diag", reg_covar=floor, random_state=0
        )
        found = distribution.fit(codes.numpy())
        self.logits.copy_(torch.from_numpy(found.weights_).log())
        self.means.copy_(torch.from_numpy(found.means_))
        self.log_scales.copy_(torch.from_numpy(found.covariances_).log() / 2)
        return self
