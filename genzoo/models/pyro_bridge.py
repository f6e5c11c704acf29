"""Our distributions as pyro wants them; pyro is imported when one is asked for."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Independent, constraints, register_kl

from genzoo.contract import DistributionDivergence, Prior


def pyro_distribution(distribution: Independent[Any]) -> Any:
    """The same batch of normal or Bernoulli distributions on an event, as a pyro distribution."""
    import pyro.distributions as dist

    base, event = distribution.base_dist, len(distribution.event_shape)
    if isinstance(base, torch.distributions.Normal):
        return dist.Normal(base.loc, base.scale, validate_args=False).to_event(event)
    return dist.Bernoulli(logits=base.logits, validate_args=False).to_event(event)


def pyro_prior(prior: Prior, divergence: DistributionDivergence) -> Any:
    """A prior as a pyro distribution, of which `TraceMeanField_ELBO` takes the divergence as its KL."""
    return _pyro_prior()(prior, divergence)


@cache
def _pyro_prior() -> Any:
    from pyro.distributions import TorchDistribution

    class PyroPrior(TorchDistribution):
        arg_constraints: ClassVar[Any] = {}
        support = constraints.real_vector

        def __init__(
            self, prior: Prior, divergence: DistributionDivergence, batch_shape: Any = ()
        ) -> None:
            super().__init__(torch.Size(batch_shape), torch.Size([prior.dim]), validate_args=False)
            self.prior, self.divergence = prior, divergence

        def expand(self, batch_shape: Any, _instance: Any = None) -> PyroPrior:
            return PyroPrior(self.prior, self.divergence, batch_shape)

        def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
            shape = self.shape(sample_shape)
            return self.prior.sample(math.prod(shape[:-1])).view(shape)

        def log_prob(self, z: Tensor) -> Tensor:
            return self.prior.log_prob(z)

    register_kl(Independent, PyroPrior)(lambda q, p: p.divergence(q, p.prior))
    return PyroPrior
