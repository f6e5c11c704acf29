"""The optional methods of models, as protocols for type checkers and for `isinstance`.

`isinstance(model, Encodes)` only looks for a method of this name. Use `has_capability` to check one
particular model, because the arguments of its constructor can switch a capability off.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from torch.distributions import Distribution

from genzoo.contract.dataset import Shape

__all__ = [
    "Completes",
    "Decodes",
    "Encodes",
    "HasBitsPerDim",
    "HasConditionals",
    "HasElbo",
    "HasLogProb",
    "HasLogProbBound",
    "HasPosterior",
    "HasText",
    "Reconstructs",
    "Scores",
    "ScoresSamples",
    "Solves",
    "Translates",
    "has_capability",
]


def has_capability(model: object, name: str) -> bool:
    """Return True if a model supports a method or has an attribute, such as `"log_prob"`.

    Arguments:
        model: a model.
        name: the name of the method or attribute.

    Example:
        >>> from genzoo import build
        >>> wae = build("wae-mmd", shape=(2,))
        >>> has_capability(wae, "encode"), has_capability(wae, "posterior")
        (True, False)
        >>> random_wae = build({"name": "wae-mmd", "random_encoder": True}, shape=(2,))
        >>> has_capability(random_wae, "posterior")
        True
    """
    return hasattr(model, name) and name not in getattr(model, "unsupported", ())


@runtime_checkable
class Encodes(Protocol):
    """A model that maps data to latent codes."""

    def encode(self, x: Tensor, /) -> Tensor:
        """Return latent codes, `(batch, *shape)` -> `(batch, latent_dim)`.

        A model with a random encoder returns the mean of the posterior.
        """
        ...


@runtime_checkable
class HasPosterior(Protocol):
    """A model with a distribution of latent codes for each example."""

    def posterior(self, x: Tensor, /) -> Distribution:
        """Return q(z | x), a batch of distributions on `(latent_dim,)`."""
        ...


@runtime_checkable
class Decodes(Protocol):
    """A model that maps latent codes to data."""

    def decode(self, z: Tensor, /) -> Tensor:
        """Return data, `(batch, latent_dim)` -> `(batch, *shape)`; images are in [0, 1]."""
        ...


@runtime_checkable
class Reconstructs(Protocol):
    """A model that encodes and decodes data in one call."""

    def reconstruct(self, x: Tensor, /) -> Tensor:
        """Return reconstructions, `(batch, *shape)` -> `(batch, *shape)`."""
        ...


@runtime_checkable
class HasLogProb(Protocol):
    """A model with an exact likelihood."""

    def log_prob(self, x: Tensor, /) -> Tensor:
        """Return the exact log-likelihood in nats, `(batch, *shape)` -> `(batch,)`."""
        ...


@runtime_checkable
class HasElbo(Protocol):
    """A model with an evidence lower bound."""

    def elbo(self, x: Tensor, /) -> Tensor:
        """Return a lower bound on the log-likelihood in nats, `(batch, *shape)` -> `(batch,)`."""
        ...


@runtime_checkable
class HasLogProbBound(Protocol):
    """A model with a lower bound that gets tighter with more samples."""

    def log_prob_bound(self, x: Tensor, /, *, samples: int = ...) -> Tensor:
        """Return a lower bound on the log-likelihood in nats, `(batch, *shape)` -> `(batch,)`.

        Arguments:
            x: examples.
            samples: the number of latent samples for each example.
        """
        ...


@runtime_checkable
class HasBitsPerDim(Protocol):
    """A model that measures its likelihood in bits per dimension."""

    def bits_per_dim(self, x: Tensor, /) -> Tensor:
        """Return bits per dimension, `(batch, *shape)` -> `(batch,)`."""
        ...


@runtime_checkable
class HasConditionals(Protocol):
    """An autoregressive model with a distribution for each number of an example."""

    def conditionals(self, x: Tensor, /) -> Distribution:
        """Return the distribution of each number, given the numbers before it.

        Its batch shape is `(batch, *shape)`.
        """
        ...


@runtime_checkable
class Scores(Protocol):
    """A model with a critic of data."""

    def score(self, x: Tensor, /) -> Tensor:
        """Return the critic's score of each example, `(batch, *shape)` -> `(batch,)`."""
        ...


@runtime_checkable
class ScoresSamples(Protocol):
    """A model that can detect anomalies."""

    def score_samples(self, x: Tensor, /) -> Tensor:
        """Return `log_prob` in chunks, without gradients; lower scores are more anomalous."""
        ...


@runtime_checkable
class Completes(Protocol):
    """A model that fills in the missing part of an example."""

    def complete(self, x: Tensor, mask: Tensor, /) -> Tensor:
        """Return `x` where the mask is True, and samples elsewhere.

        Arguments:
            x: examples, `(batch, *shape)`.
            mask: the numbers to keep, bool, `shape` or `(batch, *shape)`.
        """
        ...


@runtime_checkable
class Translates(Protocol):
    """A model that maps data from one domain to another."""

    given_shape: Shape

    def translate(self, x: Tensor, /) -> Tensor:
        """Return translations, `(batch, *given_shape)` -> `(batch, *shape)`.

        A model with `can_reverse` also takes `reverse=True`, which translates the other way.
        """
        ...


@runtime_checkable
class HasText(Protocol):
    """A model whose samples are lines of text."""

    def text(self, x: Tensor, /) -> list[str]:
        """Return one line of text for each sample, `(n, *shape)` -> `n` strings."""
        ...


@runtime_checkable
class Solves(Protocol):
    """A model whose best parameters have a closed form."""

    def solve(self, batches: Iterable[Any], /) -> None:
        """Set the parameters from one pass over the training data.

        The trainer calls this once, instead of training steps.
        """
        ...
