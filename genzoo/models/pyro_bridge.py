"""Pyro programs of a VAE, and our distributions as Pyro distributions.

Pyro is imported when a program runs.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Independent, constraints, register_kl

from genzoo.contract import DistributionDivergence, Prior

if TYPE_CHECKING:
    from genzoo.models.vae import VAE

__all__ = ["pyro_distribution", "pyro_prior", "vae_guide", "vae_model"]


def vae_model(vae: VAE, x: Tensor, given: Tensor | None = None) -> None:
    """Run the generative half of a VAE as a Pyro program on examples `(batch, *shape)`."""
    import pyro

    pyro.module("vae", vae)
    with pyro.plate("batch", x.shape[0]):
        with _weighted(vae.beta):
            z = pyro.sample("z", pyro_prior(vae.prior, vae.divergence))
        pyro.sample("x", pyro_distribution(vae.conditional(z, fit=x, given=given)), obs=x)


def vae_guide(vae: VAE, x: Tensor, given: Tensor | None = None) -> None:
    """Run the encoder of a VAE as a Pyro program on examples `(batch, *shape)`."""
    import pyro

    with pyro.plate("batch", x.shape[0]), _weighted(vae.beta):
        pyro.sample("z", pyro_distribution(vae.posterior(x, given)))


def _weighted(beta: float) -> Any:
    """Return a context in which the latent site has the weight beta.

    Pyro scales by positive numbers only, so a weight of 0 is a mask.
    """
    from pyro import poutine

    return poutine.scale(scale=beta) if beta else poutine.mask(mask=False)


def pyro_distribution(distribution: Independent[Any]) -> Any:
    """Return a batch of normal or Bernoulli distributions as a Pyro distribution."""
    import pyro.distributions as dist

    base, event = distribution.base_dist, len(distribution.event_shape)
    if isinstance(base, torch.distributions.Normal):
        return dist.Normal(base.loc, base.scale, validate_args=False).to_event(event)
    return dist.Bernoulli(logits=base.logits, validate_args=False).to_event(event)


def pyro_prior(prior: Prior, divergence: DistributionDivergence) -> Any:
    """Return a prior as a Pyro distribution whose KL in `TraceMeanField_ELBO` is `divergence`."""
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
