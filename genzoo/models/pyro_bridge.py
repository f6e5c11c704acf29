"""Models, priors, encoders, and decoders as distributions of Pyro, and Pyro programs of a VAE.

Distributions of Pyro are distributions of torch, too. Pyro is imported when one is built.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints, register_kl

from genzoo.contract import DistributionDivergence, Model, Prior, conditions, has_capability
from genzoo.divergences.kl import KL
from genzoo.errors import SettingError, show

if TYPE_CHECKING:
    from genzoo.models.vae import VAE

__all__ = ["as_distribution", "vae_guide", "vae_model"]

_MOST_OUTCOMES = 2**16
"""The largest number of outcomes that `enumerate_support` lists."""


def as_distribution(
    source: Model | Prior,
    *,
    given: Tensor | None = None,
    z: Tensor | None = None,
    x: Tensor | None = None,
) -> Distribution:
    r"""Return a model, its prior, its decoder, or its encoder as a distribution.

    The result is a `pyro.distributions.TorchDistribution`, so it works with torch's distributions
    and in Pyro's programs.

    | call | distribution |
    | --- | --- |
    | `as_distribution(model)` | \( p(x) \), for models with an exact likelihood |
    | `as_distribution(model, given=y)` | \( p(x \mid y) \), a batch with one element per label |
    | `as_distribution(model, z=z)` | \( p(x \mid z) \), the decoder |
    | `as_distribution(model, x=x)` | \( q(z \mid x) \), the encoder |
    | `as_distribution(model.prior)` | \( p(z) \) |

    A decoder without a likelihood and a deterministic encoder are a `Delta`.

    Gradients of `log_prob` reach the parameters of the model. A distribution of discrete values
    with at most 65,536 outcomes lists them in `enumerate_support`.

    Arguments:
        source: a model or a prior.
        given: labels, `batch_shape`, if the model is conditional.
        z: latent codes, `(*batch_shape, latent_dim)`.
        x: examples, `(batch, *shape)`.

    Raises:
        SettingError: the source does not have the distribution, or an argument is missing, is not
            a tensor, or does not apply.

    References:
        Pyro: Deep Universal Probabilistic Programming, Bingham et al., 2018,
            https://arxiv.org/abs/1810.09538

    Example:
        >>> from genzoo import build
        >>> p = as_distribution(build("nade", shape=(4,), hidden=3))
        >>> p.event_shape, p.sample((2, 5)).shape
        (torch.Size([4]), torch.Size([2, 5, 4]))
        >>> round(p.log_prob(p.enumerate_support()).exp().sum().item(), 3)
        1.0
    """
    for name, value in (("given", given), ("z", z), ("x", x)):
        if not (value is None or isinstance(value, Tensor)):
            raise SettingError(f"{name} is {show(value)}; pass a tensor.")
    if isinstance(source, Prior):
        _refuse(source, "is a prior", given=given, z=z, x=x)
        return pyro_prior(source, KL())
    if not isinstance(source, Model):
        raise SettingError(
            f"as_distribution takes a genzoo.Model or a prior, not a {type(source).__name__}; "
            "genzoo.load returns the model of a name or a run folder."
        )
    if source.given and given is None:
        raise SettingError(
            f"{type(source).__name__} is conditional; pass {', '.join(source.given)}, as in "
            "as_distribution(model, given=labels)."
        )
    if not source.given:
        _refuse(source, "is not conditional", given=given)
    if z is not None:
        _refuse(source, "with z is p(x | z)", x=x)
        return _decoder(source, z, given)
    if x is not None:
        return _encoder(source, x, given)
    if not has_capability(source, "log_prob"):
        parts = {"decode": "z for the decoder p(x | z)", "encode": "x for the encoder q(z | x)"}
        passed = ", or ".join(text for name, text in parts.items() if has_capability(source, name))
        raise SettingError(
            f"{type(source).__name__} has no exact likelihood, so p(x) is not a distribution with "
            f"log_prob; {f'pass {passed}' if passed else 'use its sample method'}."
        )
    return _model_distribution()(source, given)


def _refuse(source: Any, reason: str, **arguments: Any) -> None:
    """Refuse arguments that are not None."""
    for name, value in arguments.items():
        if value is not None:
            raise SettingError(f"{type(source).__name__} {reason}; leave out {name}.")


def _decoder(model: Model, z: Tensor, given: Tensor | None) -> Any:
    import pyro.distributions as dist

    if not has_capability(model, "decode"):
        raise SettingError(f"{type(model).__name__} has no decode(z); leave out z.")
    batch = z.shape[:-1]
    try:
        labels = conditions(None if given is None else given.expand(batch).reshape(-1))
    except RuntimeError:
        raise SettingError(
            f"given has shape {tuple(given.shape)}, but z has the batch shape {tuple(batch)}; pass "  # type: ignore[union-attr]
            "one label per latent code."
        ) from None
    rows = z.reshape(-1, z.shape[-1])
    conditional: Any = getattr(model, "conditional", None)
    if conditional is not None:
        return pyro_distribution(conditional(rows, **labels), batch)
    decoded = model.decode(rows, **labels).reshape(*batch, *model.shape)
    return dist.Delta(decoded, event_dim=len(model.shape))


def _encoder(model: Model, x: Tensor, given: Tensor | None) -> Any:
    import pyro.distributions as dist

    if has_capability(model, "posterior"):
        return pyro_distribution(model.posterior(x, **conditions(given)))
    if not has_capability(model, "encode"):
        raise SettingError(f"{type(model).__name__} has no encoder; leave out x.")
    return dist.Delta(model.encode(x, **conditions(given)), event_dim=1)


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


def pyro_distribution(distribution: Distribution, batch_shape: Any = (-1,)) -> Any:
    """Return a batch of normal or Bernoulli distributions, `(n,)`, as a Pyro distribution.

    Arguments:
        distribution: an `Independent` one.
        batch_shape: its new batch shape.
    """
    import pyro.distributions as dist

    assert isinstance(distribution, Independent)
    base, event = distribution.base_dist, len(distribution.event_shape)
    if isinstance(base, torch.distributions.Normal):
        loc, scale = (t.reshape(*batch_shape, *t.shape[1:]) for t in (base.loc, base.scale))
        return dist.Normal(loc, scale, validate_args=False).to_event(event)
    logits = base.logits.reshape(*batch_shape, *base.logits.shape[1:])
    return dist.Bernoulli(logits=logits, validate_args=False).to_event(event)


def pyro_prior(prior: Prior, divergence: DistributionDivergence) -> Any:
    """Return a prior as a Pyro distribution whose KL in `TraceMeanField_ELBO` is `divergence`."""
    return _prior_distribution()(prior, divergence)


@cache
def _wrapped() -> Any:
    """Return the base class of distributions of models and of priors."""
    from pyro.distributions import TorchDistribution

    class Wrapped(TorchDistribution):
        """The distribution of an object that draws and scores rows, `(n, *event_shape)`."""

        arg_constraints: ClassVar[Any] = {}
        given: Tensor | None = None

        def _rows(self, n: int, given: Any) -> Tensor:
            raise NotImplementedError

        def _score(self, rows: Tensor, given: Any) -> Tensor:
            raise NotImplementedError

        def _labels(self, shape: Any) -> Tensor | None:
            return None if self.given is None else self.given.expand(shape).reshape(-1)

        def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
            new = self._get_checked_instance(type(self), _instance)
            vars(new).update(vars(self))
            batch = torch.Size(batch_shape)
            super(Wrapped, new).__init__(batch, self.event_shape, validate_args=False)
            new._validate_args = self._validate_args
            new.given = None if self.given is None else self.given.expand(batch)
            return new

        @torch.no_grad()
        def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
            shape = self.shape(sample_shape)
            batch = shape[: len(shape) - len(self.event_shape)]
            return self._rows(math.prod(batch), self._labels(batch)).reshape(shape)

        def log_prob(self, value: Tensor) -> Tensor:
            if self._validate_args:
                self._validate_sample(value)
            batch = value.shape[: value.dim() - len(self.event_shape)]
            batch = torch.broadcast_shapes(batch, self.batch_shape)
            rows = value.expand(batch + self.event_shape).reshape(-1, *self.event_shape)
            return self._score(rows, self._labels(batch)).reshape(batch)

    return Wrapped


@cache
def _model_distribution() -> Any:
    """Return the class of distributions of models with an exact likelihood."""

    class ModelDistribution(_wrapped()):
        def __init__(self, model: Model, given: Tensor | None) -> None:
            batch = torch.Size() if given is None else given.shape
            super().__init__(batch, torch.Size(model.shape))
            self.model, self.given = model, given
            self.levels: int = getattr(model, "levels", None) or 0
            outcomes = self.levels ** min(math.prod(model.shape), 64)
            self.has_enumerate_support = 0 < outcomes <= _MOST_OUTCOMES

        def _rows(self, n: int, given: Any) -> Tensor:
            return self.model.sample(n, **conditions(given))

        def _score(self, rows: Tensor, given: Any) -> Tensor:
            return self.model.log_prob(rows, **conditions(given))

        @property
        def support(self) -> Any:
            value = _Levels(self.levels) if self.levels else constraints.real
            return constraints.independent(value, len(self.event_shape))

        def enumerate_support(self, expand: bool = True) -> Tensor:  # noqa: FBT001, FBT002
            if not self.has_enumerate_support:
                raise NotImplementedError(f"there are more than {_MOST_OUTCOMES:,} outcomes")
            dims = math.prod(self.event_shape)
            values = torch.linspace(0, 1, self.levels).to(self.model.reference_tensor)
            outcomes = torch.cartesian_prod(*[values] * dims).reshape(-1, *self.event_shape)
            batch = [1] * len(self.batch_shape)
            outcomes = outcomes.reshape(-1, *batch, *self.event_shape)
            if expand:
                outcomes = outcomes.expand(-1, *self.batch_shape, *self.event_shape)
            return outcomes

    return ModelDistribution


@cache
def _prior_distribution() -> Any:
    """Return the class of distributions of priors."""

    class PriorDistribution(_wrapped()):
        support = constraints.real_vector

        def __init__(self, prior: Prior, divergence: DistributionDivergence) -> None:
            super().__init__(torch.Size(), torch.Size([prior.dim]), validate_args=False)
            self.prior, self.divergence = prior, divergence

        def _rows(self, n: int, given: Any) -> Tensor:  # noqa: ARG002
            return self.prior.sample(n)

        def _score(self, rows: Tensor, given: Any) -> Tensor:  # noqa: ARG002
            return self.prior.log_prob(rows)

    register_kl(Independent, PriorDistribution)(lambda q, p: p.divergence(q, p.prior))
    return PriorDistribution


class _Levels(constraints.Constraint):
    """The values k / (levels - 1), for k from 0 to levels - 1."""

    is_discrete = True

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def check(self, value: Tensor) -> Tensor:
        number = value * (self.levels - 1)
        inside = (value >= 0) & (value <= 1)
        return inside & ((number - number.round()).abs() < 1e-3)
