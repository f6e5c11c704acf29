"""What models with a latent distribution have in common: samples are decoded draws from a prior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genzoo import distributed
from genzoo.contract import Model, Prior
from genzoo.divergences.penalties import batch_norm
from genzoo.errors import SettingError


class LatentModel(Model):
    r"""A distribution on vectors and a map from vectors to data, \( x = g(z), z \sim p_Z \); a subclass says how both are learned."""

    latent_dim: int
    prior: Prior

    def decode(self, z: Tensor) -> Tensor:
        """`(batch, latent_dim)` -> `(batch, *shape)`; images in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} has no decode(z)")

    @torch.no_grad()
    def sample(self, n: int, given: Any = None, truncation: float | None = None) -> Tensor:  # noqa: ARG002
        """Decode `n` draws from the prior: `(n, *shape)`.

        Arguments:
            n: how many.
            given: not used.
            truncation: keep each latent coordinate within so many standard deviations of its mean: likelier, less varied samples.

        Raises:
            SettingError: the prior cannot be truncated.
        """
        return self.decode(
            self.prior.sample(n) if truncation is None else self.prior.truncated(n, truncation)
        )

    def expectation(self, f: Callable[[Tensor], Tensor], n: int) -> Tensor:
        r"""\( E_{z \sim p_Z} f(z) \) from about `n` draws; for a learned prior by strata, so that its weights learn too.

        Over microbatches and ranks it is the mean of what they return.

        Arguments:
            f: `(m, latent_dim)` -> `(m,)`, for each vector on its own: strata are not drawn by their weights.
            n: draws.
        """
        if not learned(self.prior):
            return f(self.prior.sample(n)).mean()
        share, shares = distributed.share()
        with distributed.whole_batch():
            z, weights = self.prior.strata(
                n * shares
            )  # the same for all, of which each takes its share of every stratum
        draws = z.shape[1]
        z = z[:, share * draws // shares : (share + 1) * draws // shares]
        return (
            weights
            @ f(z.flatten(0, 1)).to(weights.dtype).view(z.shape[:2]).sum(dim=1)
            * shares
            / draws
        )

    def refuse_mixing(self, *parts: nn.Module) -> None:
        """Refuse batch norm in parts that see the strata of a learned prior, whose shares in a batch are not the weights.

        Raises:
            SettingError: there is one.
        """
        stratified = getattr(type(self.prior), "strata", Prior.strata) is not Prior.strata
        for part in parts if learned(self.prior) and stratified else ():
            if name := batch_norm(part, training=False):
                raise SettingError(
                    f"{type(part).__name__}: {name} mixes the examples of a batch, which a learned prior draws in equal numbers "
                    'from each component; take norm = "layer" or "none", or a prior that is not learned.'
                )


def scores(critic: nn.Module, x: Tensor) -> Tensor:
    """A critic's scores, `(batch,)`.

    Raises:
        SettingError: they have another shape, with which losses would broadcast in silence.
    """
    found: Tensor = critic(x)
    if found.shape != (x.shape[0],):
        raise SettingError(
            f"critic = {type(critic).__name__} gives scores of shape {tuple(found.shape)} for {x.shape[0]} examples; "
            f"it must give {(x.shape[0],)}, as by squeeze(1)."
        )
    return found


def learned(prior: Prior) -> bool:
    """Whether a prior has parameters."""
    return any(True for _ in prior.parameters())


@torch.no_grad()
def positive_everywhere(prior: Prior) -> bool:
    """Whether a prior has a density, and one that reaches far out."""
    if getattr(type(prior), "log_prob", Prior.log_prob) is Prior.log_prob:
        return False
    like = next(
        (t for t in (*prior.parameters(), *prior.buffers()) if t.is_floating_point()),
        torch.zeros(()),
    )
    return not prior.log_prob(like.new_full((1, prior.dim), 1e9)).isneginf().any()
