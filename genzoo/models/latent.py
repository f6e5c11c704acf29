"""The base class of latent-variable models, which decode samples from a prior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from genzoo import distributed
from genzoo.contract import Prior, conditions
from genzoo.divergences.penalties import batch_norm
from genzoo.errors import SettingError
from genzoo.models.conditioning import Conditional

__all__ = ["LatentModel", "learned", "positive_everywhere", "scores"]


class LatentModel(Conditional):
    r"""A prior on latent vectors and a map from latent vectors to data.

    \[ x = g(z), \qquad z \sim p_Z \]

    With labels, \( x = g(z, y) \), and the distribution of z does not depend on y. A subclass
    determines how both are learned.

    Example:
        >>> import genzoo
        >>> model = genzoo.load("gan.digits")
        >>> model.sample(4, truncation=1.0).shape
        torch.Size([4, 1, 8, 8])
    """

    can_truncate: ClassVar[bool] = True
    latent_dim: int
    prior: Prior

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """Decode latent vectors.

        Arguments:
            z: latent vectors, `(batch, latent_dim)`.
            given: labels, `(batch,)`, if the model is conditional.

        Returns:
            `(batch, *shape)`; images in [0, 1].
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement decode(z).")

    @torch.no_grad()
    def sample(self, n: int, given: Any = None, truncation: float | None = None) -> Tensor:
        """Decode `n` samples from the prior, or from the sampler that was fitted to the codes.

        Arguments:
            n: the number of samples.
            given: labels, `(n,)`, if the model is conditional. By default, they are drawn
                uniformly.
            truncation: keep each latent coordinate within this many standard deviations of its
                mean. Samples become more likely and less varied.

        Returns:
            `(n, *shape)`.

        Raises:
            SettingError: the distribution of latent vectors cannot be truncated.
            DataError: labels are invalid or not accepted.
        """
        labels = conditions(self.labels_for(n, given))
        distribution = self.latent_distribution
        if truncation is None:
            return self.decode(distribution.sample(n), **labels)
        return self.decode(distribution.truncated(n, truncation), **labels)

    @property
    def latent_distribution(self) -> Prior:
        """The distribution of the latent vectors that `sample` decodes."""
        return self.prior

    def expectation(self, f: Callable[..., Tensor], n: int, y: Tensor | None = None) -> Tensor:
        r"""Estimate \( E_{z \sim p_Z} f(z) \) from about `n` draws.

        For a learned prior, the draws are stratified by component, so that the prior's weights are
        learned, too. With several ranks or microbatches, the estimate is the mean of their results.

        Arguments:
            f: `(m, latent_dim)` -> `(m,)`. It must treat each vector independently, because strata
                are not drawn in proportion to their weights. With labels, their second argument.
            n: the number of draws.
            y: the labels of a batch, `(n,)`, which are assigned to the draws.
        """
        if not learned(self.prior):
            z = self.prior.sample(n)
            return (f(z) if y is None else f(z, y)).mean()
        share, shares = distributed.share()
        with distributed.whole_batch():
            # All ranks and microbatches draw the same strata. Each takes its share of each stratum.
            z, weights = self.prior.strata(n * shares)
        draws = z.shape[1]
        z = z[:, share * draws // shares : (share + 1) * draws // shares]
        values = self._at_strata(f, z, y).to(weights.dtype)
        return weights @ values.sum(dim=1) * shares / draws

    @staticmethod
    def _at_strata(f: Callable[..., Tensor], z: Tensor, y: Tensor | None) -> Tensor:
        """Return `f` of stratified draws, `(K, m, latent_dim)` -> `(K, m)`.

        Labels go from stratum to stratum, so each stratum gets an equal share of a shuffled batch.
        Draw and label also belong together on several ranks if K divides the size of the batch.
        """
        if y is None:
            return f(z.flatten(0, 1)).view(z.shape[:2])
        draws = z.transpose(0, 1).flatten(0, 1)
        rows = torch.arange(len(draws), device=y.device) % len(y)
        return f(draws, y[rows]).view(z.shape[1], z.shape[0]).T

    def refuse_mixing(self, *parts: nn.Module) -> None:
        """Refuse batch norm in parts that see the strata of a learned prior.

        The shares of the strata in a batch are not the prior's weights, so batch statistics would
        be biased.

        Raises:
            SettingError: a part has batch norm.
        """
        stratified = getattr(type(self.prior), "strata", Prior.strata) is not Prior.strata
        if not stratified or not learned(self.prior):
            return
        for part in parts:
            if name := batch_norm(part, training=False):
                raise SettingError(
                    f"{type(part).__name__}: {name} mixes the examples of a batch, and a learned "
                    'prior draws equally many from each component; take norm = "layer" or "none", '
                    "or a prior that is not learned."
                )


def scores(critic: nn.Module, x: Tensor) -> Tensor:
    """Return a critic's scores, `(batch,)`.

    Raises:
        SettingError: the scores have another shape, which losses would silently broadcast.
    """
    values: Tensor = critic(x)
    if values.shape != (x.shape[0],):
        raise SettingError(
            f"critic = {type(critic).__name__} returns scores of shape {tuple(values.shape)} for "
            f"{x.shape[0]} examples; return {(x.shape[0],)}, for example with squeeze(1)."
        )
    return values


def learned(prior: Prior) -> bool:
    """Return True if a prior has parameters."""
    return next(iter(prior.parameters()), None) is not None


@torch.no_grad()
def positive_everywhere(prior: Prior) -> bool:
    """Return True if a prior has a density that is positive at a point far from the origin."""
    if getattr(type(prior), "log_prob", Prior.log_prob) is Prior.log_prob:
        return False
    tensors = (*prior.parameters(), *prior.buffers())
    like = next((t for t in tensors if t.is_floating_point()), torch.zeros(()))
    return not prior.log_prob(like.new_full((1, prior.dim), 1e9)).isneginf().any()
