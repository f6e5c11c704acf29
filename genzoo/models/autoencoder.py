"""The base class of autoencoders with a prior on the latent codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torch.distributions import Independent, Normal

from genzoo.blocks.bounds import bounded
from genzoo.contract import Part, Player, Shape, is_image
from genzoo.distributed import noise
from genzoo.models.latent import LatentModel
from genzoo.registry.build import build

__all__ = ["Autoencoder", "diagonal_normal", "reparameterized"]

_LOG_VARIANCES = (-30.0, 20.0)
"""Bounds on the log-variances of latent codes: standard deviations from 3e-7 to 22,026."""


class Autoencoder(LatentModel):
    r"""An encoder \( x \to z \), a decoder \( z \to x \), and a prior on \( z \).

    A subclass adds the loss.

    Arguments:
        latent_dim: \( d_z \), the number of latent coordinates.
        features: the number of encoder outputs: `latent_dim`, or twice as many for a mean and a
            log-variance.
        unit_range: map the decoder's output to [0, 1] with a sigmoid. Images are always mapped.
        encoder: a part of kind `"encoders"`.
        decoder: a part of kind `"decoders"`.
        prior: a part of kind `"priors"`.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.
    """

    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-3}

    def __init__(
        self,
        *,
        latent_dim: int,
        features: int,
        unit_range: bool,
        encoder: Part,
        decoder: Part,
        prior: Part,
        shape: Shape,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = tuple(shape)
        self.unit_range = unit_range or is_image(self.shape)
        self.encoder = build(encoder, "encoders", shape=self.shape, dim=features)
        self.decoder = build(decoder, "decoders", dim=latent_dim, shape=self.shape)
        self.prior = build(prior, "priors", dim=latent_dim)

    def encode(self, x: Tensor) -> Tensor:
        """Return the latent code of each example, or its mean if the encoder is random.

        Arguments:
            x: examples, `(batch, *shape)`.

        Returns:
            `(batch, latent_dim)`.
        """
        return self.encoder(x)[:, : self.latent_dim]

    def decode(self, z: Tensor) -> Tensor:
        """Decode latent codes.

        Arguments:
            z: latent codes, `(batch, latent_dim)`.

        Returns:
            `(batch, *shape)`; images in [0, 1].
        """
        output: Tensor = self.decoder(z)
        return output.sigmoid() if self.unit_range else output

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decode the latent code of each example, `(batch, *shape)` -> `(batch, *shape)`."""
        return self.decode(self.encode(x))

    def players(self) -> tuple[Player, ...]:
        return (Player(name="autoencoder", owns=(self,), loss=self.loss, optimizer=self.optimizer),)


def diagonal_normal(features: Tensor) -> Independent[Normal]:
    """Return a batch of diagonal normal distributions from their means and log-variances.

    Log-variances are clamped to [-30, 20], so that their exponential does not overflow if the
    encoder's outputs are large. No posterior of scaled data comes near the bounds, and the gradient
    passes them unchanged.

    Arguments:
        features: means, then log-variances, `(batch, 2 * dim)`.

    Returns:
        A batch of distributions on `(dim,)`.

    References:
        High-Resolution Image Synthesis with Latent Diffusion Models, Rombach et al., 2021,
            https://arxiv.org/abs/2112.10752 (the bounds are those of the authors' code)
    """
    mean, log_variance = features.chunk(2, dim=-1)
    log_variance = bounded(log_variance, *_LOG_VARIANCES)
    return Independent(
        Normal(mean, (log_variance / 2).exp(), validate_args=False), 1, validate_args=False
    )


def reparameterized(q: Independent[Normal]) -> Tensor:
    """Draw one differentiable sample per distribution; the samples do not depend on the ranks."""
    # q.stddev is the square root of a variance, and its gradient is infinite if that underflows.
    return q.mean + q.base_dist.scale * noise(*q.mean.shape, like=q.mean)
