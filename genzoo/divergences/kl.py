"""The Kullback-Leibler divergence between posteriors and a prior."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from genzoo import distributed
from genzoo.blocks.precision import at_least_single
from genzoo.contract import DistributionDivergence, Prior
from genzoo.errors import SettingError

__all__ = ["KL"]


class KL(DistributionDivergence):
    r"""The Kullback-Leibler divergence of each posterior from the prior, in nats.

    \[ \operatorname{KL}(q \| p) = E_q[\log q(z) - \log p(z)] \]

    Arguments:
        estimator: `"closed-form"` is
            \( \frac12 \sum_i (\sigma_i^2 / s_i^2 + (\mu_i - m_i)^2 / s_i^2 - 1
            - \log(\sigma_i^2 / s_i^2)) \), for a Gaussian \( p \). `"monte-carlo"` uses one
            reparameterized sample, for any prior with a `log_prob`. `"auto"` is the closed form if
            it exists, else Monte Carlo.

    References:
        Auto-Encoding Variational Bayes, Diederik P. Kingma and Max Welling, 2014,
        https://arxiv.org/abs/1312.6114 (appendix B).

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
        """Compute the divergence of each posterior.

        Arguments:
            q: the posteriors, `Independent(Normal(mean, std), 1)` with mean and std `(batch, dim)`.
            prior: the prior.
            z: one sample from each posterior, `(batch, dim)`. By default, the Monte Carlo
                estimator draws it.

        Returns:
            Nats, `(batch,)`. A Monte Carlo estimate can be negative.

        Raises:
            SettingError: `estimator = "closed-form"`, and no closed form exists.
        """
        distribution = _normal(q)
        if distribution is not None and self.has_closed_form(prior):
            return self.per_coordinate(q, prior).sum(dim=1)
        if self.estimator == "closed-form":
            raise SettingError(
                f"KL has no closed form between {_name(q)} and {type(prior).__name__}, only "
                'between diagonal Gaussians; take estimator = "monte-carlo".'
            )
        if z is None:
            if distribution is None:
                raise SettingError(
                    f"KL can only sample from diagonal Gaussians; pass a sample z from {_name(q)}."
                )
            z = distribution.mean + distribution.stddev * distributed.noise(
                *distribution.mean.shape, like=distribution.mean
            )
        return q.log_prob(z) - prior.log_prob(z)

    def has_closed_form(self, prior: Prior) -> bool:
        """Return whether the closed form is used for diagonal Gaussians and this prior."""
        return _gaussian(prior) is not None and self.estimator != "monte-carlo"

    def per_coordinate(self, q: Distribution, prior: Prior) -> Tensor:
        """Compute the closed form of each coordinate, whose sum is the divergence.

        Arguments:
            q: the posteriors, `Independent(Normal(mean, std), 1)`.
            prior: a prior for which `has_closed_form` is true.

        Returns:
            Nats, `(batch, dim)`.
        """
        distribution, gaussian = _normal(q), _gaussian(prior)
        assert distribution is not None
        assert gaussian is not None
        mean, std = gaussian
        # The square may underflow, so the logarithm is computed from the ratio itself.
        ratio = at_least_single(distribution.stddev) / std
        shift = (distribution.mean - mean) / std
        return 0.5 * (ratio.square() + shift.square() - 1) - ratio.log()


def _normal(q: Distribution) -> Normal | None:
    return q.base_dist if isinstance(q, Independent) and isinstance(q.base_dist, Normal) else None


def _name(q: Distribution) -> str:
    return type(getattr(q, "base_dist", q)).__name__


def _gaussian(prior: Prior) -> tuple[Tensor, Tensor] | None:
    """Return the mean and standard deviation, `(1, dim)`, if a prior is one Gaussian, else None."""
    gaussians = getattr(prior, "gaussians", None)
    if gaussians is None:
        return None
    weights, means, scales = gaussians()
    return (means, scales) if len(weights) == 1 else None
