"""The Kullback-Leibler divergence from a prior."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from genzoo import distributed
from genzoo.blocks.precision import at_least_single
from genzoo.contract import DistributionDivergence, Prior
from genzoo.errors import SettingError


class KL(DistributionDivergence):
    r"""The Kullback-Leibler divergence \( \operatorname{KL}(q \| p) = E_q[\log q(z) - \log p(z)] \) of each posterior, in nats.

    Arguments:
        estimator: `"closed-form"` where \( p \) is Gaussian,
            \( \frac12 \sum_i (\sigma_i^2 / s_i^2 + (\mu_i - m_i)^2 / s_i^2 - 1 - \log(\sigma_i^2 / s_i^2)) \);
            `"monte-carlo"`, one reparameterised draw, for any prior with a `log_prob`; `"auto"`, the first where it exists.

    References:
        Auto-Encoding Variational Bayes, Diederik P. Kingma and Max Welling, 2014, https://arxiv.org/abs/1312.6114 (appendix B).

    Example:
        >>> import torch
        >>> from genzoo.priors.simple import Normal as Prior
        >>> q = Independent(Normal(torch.tensor([[1.0, 0.0]]), torch.ones(1, 2)), 1)
        >>> KL()(q, Prior(2))
        tensor([0.5000])
    """

    def __init__(self, estimator: Literal["auto", "closed-form", "monte-carlo"] = "auto") -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, q: Distribution, prior: Prior, z: Tensor | None = None) -> Tensor:
        """The divergence of each posterior.

        Arguments:
            q: the posteriors, `Independent(Normal(mean, std), 1)` with mean and std `(batch, dim)`.
            prior: what they are compared with.
            z: a draw from `q`, `(batch, dim)`, if the caller has one; the Monte-Carlo estimator draws its own otherwise.

        Returns:
            Nats, `(batch,)`; a Monte-Carlo estimate can be negative.

        Raises:
            SettingError: a closed form is asked for and there is none.
        """
        distribution = _normal(q)
        gaussian = _gaussian(prior)
        if distribution is not None and gaussian is not None and self.estimator != "monte-carlo":
            mean, std = gaussian
            ratio = (
                at_least_single(distribution.stddev) / std
            )  # its logarithm is taken before the square, which underflows
            return (
                0.5 * (ratio.square() + ((distribution.mean - mean) / std).square() - 1)
                - ratio.log()
            ).sum(dim=1)
        if self.estimator == "closed-form":
            raise SettingError(
                f"KL has no closed form between {_name(q)} and {type(prior).__name__}, only between diagonal Gaussians; "
                'take estimator = "monte-carlo".'
            )
        if z is None:
            if distribution is None:
                raise SettingError(
                    f"KL draws from diagonal Gaussians only; hand it a draw z from {_name(q)}."
                )
            z = distribution.mean + distribution.stddev * distributed.noise(
                *distribution.mean.shape, like=distribution.mean
            )
        return q.log_prob(z) - prior.log_prob(z)


def _normal(q: Distribution) -> Normal | None:
    return q.base_dist if isinstance(q, Independent) and isinstance(q.base_dist, Normal) else None


def _name(q: Distribution) -> str:
    return type(getattr(q, "base_dist", q)).__name__


def _gaussian(prior: Prior) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation `(1, dim)` of a prior that is one diagonal Gaussian."""
    gaussians = getattr(prior, "gaussians", None)
    if gaussians is None:
        return None
    weights, means, scales = gaussians()
    return (means, scales) if len(weights) == 1 else None
