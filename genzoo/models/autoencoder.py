"""The base class of autoencoders with a prior on the latent codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from genzoo.blocks.bounds import bounded
from genzoo.contract import (
    Batch,
    Part,
    Player,
    Prior,
    Shape,
    conditions,
    has_capability,
    is_image,
)
from genzoo.distributed import noise
from genzoo.errors import SettingError
from genzoo.models.conditioning import Classes
from genzoo.models.latent import LatentModel, learned
from genzoo.models.networks import CONV, network
from genzoo.registry.build import build

__all__ = ["DEFAULT_SAMPLER", "Autoencoder", "diagonal_normal", "reparameterized"]

DEFAULT_SAMPLER = MappingProxyType({"name": "mog", "components": 50})
"""The sampler of a model without the setting `sampler`."""
_CHUNK = 1000
"""The number of examples that `fit_sampler` encodes at once."""

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
        encoder: a part of kind `"encoders"`. By default, `"conv"` for images of 8 x 8 pixels or
            more, and `"mlp"` for other data.
        decoder: a part of kind `"decoders"`, with the same default.
        prior: a part of kind `"priors"`.
        sampler: a part of kind `"priors"` that is fitted to the latent codes after training, such
            as `{name = "mog", components = 50}`; or `"none"`. `sample` then uses it instead of the
            prior (see `fit_sampler`).
        classes: the number of labels that encoder and decoder are conditioned on; 0 for none.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    Raises:
        SettingError: the sampler cannot be fitted to codes, or has parameters that training would
            change.

    Example:
        >>> import genzoo
        >>> model = genzoo.load("vae.digits")
        >>> codes = model.encode(torch.rand(4, 1, 8, 8))
        >>> codes.shape, model.decode(codes).shape
        (torch.Size([4, 16]), torch.Size([4, 1, 8, 8]))
    """

    has_fitted_sampler: Tensor
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-3}

    def __init__(
        self,
        *,
        latent_dim: int,
        features: int,
        unit_range: bool,
        encoder: Part | None,
        decoder: Part | None,
        prior: Part,
        sampler: Part,
        shape: Shape,
        classes: Classes = 0,
    ) -> None:
        super().__init__()
        if classes:
            self.condition_on(classes)
        self.latent_dim = latent_dim
        self.shape = tuple(shape)
        self.unit_range = unit_range or is_image(self.shape)
        encoder = network(encoder, self.shape, conv=CONV, mlp="mlp")
        decoder = network(decoder, self.shape, conv=CONV, mlp="mlp")
        self.encoder = build(
            encoder, "encoders", shape=self.with_label_maps(self.shape), dim=features
        )
        self.decoder = build(decoder, "decoders", dim=latent_dim + classes, shape=self.shape)
        self.prior = build(prior, "priors", dim=latent_dim)
        self.sampler: Prior | None = None
        self.register_buffer("has_fitted_sampler", torch.tensor(0))
        if sampler != "none":
            self.sampler = self._built_sampler(sampler)

    def _built_sampler(self, part: Part) -> Prior:
        sampler = build(part, "priors", slot="sampler", dim=self.latent_dim)
        name = type(sampler).__name__
        if not callable(getattr(sampler, "fit", None)):
            raise SettingError(
                f"sampler = {name} has no method fit(codes), which adapts it to latent codes; "
                'take "mog".'
            )
        if learned(sampler):
            raise SettingError(
                f"sampler = {name} has parameters that training would change; leave out learn = "
                "true. The sampler is fitted after training."
            )
        return sampler

    @property
    def latent_distribution(self) -> Prior:
        """The distribution that `sample` decodes: the fitted sampler, or else the prior."""
        if self.sampler is not None and self.has_fitted_sampler:
            return self.sampler
        return self.prior

    @torch.no_grad()
    def fit_sampler(
        self, x: Tensor, sampler: Part = DEFAULT_SAMPLER, given: Tensor | None = None
    ) -> Self:
        r"""Fit a sampler to the latent codes of examples, for `sample` to use instead of the prior.

        The codes of real data, \( q_Z = E_x\, q(z \mid x) \), never match the prior exactly, and
        what the decoder makes of other codes is worse. Samples are better if latent codes are drawn
        from a density that is fitted to \( q_Z \). Likelihoods and bounds still use the prior.

        A conditional model has one sampler for all labels, which is right if latent codes do not
        depend on the label, as its training demands.

        Arguments:
            x: training examples, `(n, *shape)`. Codes are sampled if the encoder is random.
            sampler: a part of kind `"priors"`, for a model that does not have a sampler yet. By
                default, a mixture of 50 Gaussians with diagonal covariances.
            given: the labels of the examples, `(n,)`, if the model is conditional.

        Returns:
            The model itself.

        Raises:
            DataError: there are fewer examples than components, or the codes are all equal or not
                finite.

        References:
            From Variational to Deterministic Autoencoders, Ghosh et al., 2020,
                https://arxiv.org/abs/1903.12436 (ex-post density estimation)

        Example:
            >>> from genzoo import build
            >>> vae = build("vae", shape=(1, 8, 8))
            >>> vae = vae.fit_sampler(torch.rand(100, 1, 8, 8), {"name": "mog", "components": 5})
            >>> type(vae.latent_distribution).__name__
            'MixtureOfGaussians'
        """
        if self.sampler is None:
            self.sampler = self._built_sampler(sampler).to(x)
        self.check_given(given, len(x))
        parts = x.split(_CHUNK)
        labels = [None] * len(parts) if given is None else given.split(_CHUNK)
        self._fit_sampler(map(self._sampled_codes, parts, labels))
        return self

    def after_training(self, batches: Iterable[Batch]) -> None:
        if self.sampler is not None:
            self._fit_sampler(self._sampled_codes(*self.unpack(batch)) for batch in batches)

    def _fit_sampler(self, codes: Iterable[Tensor]) -> None:
        self.sampler.fit(torch.cat(list(codes)))  # type: ignore[union-attr, operator]
        self.has_fitted_sampler.fill_(1)

    def _sampled_codes(self, x: Tensor, given: Tensor | None) -> Tensor:
        """Return a latent code of each example, drawn from the posterior if there is one."""
        if has_capability(self, "posterior"):
            return reparameterized(self.posterior(x, **conditions(given)))  # type: ignore[arg-type]
        return self.encode(x, **conditions(given))

    def encode(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the latent code of each example, or its mean if the encoder is random.

        Arguments:
            x: examples, `(batch, *shape)`.
            given: labels, `(batch,)`, if the model is conditional.

        Returns:
            `(batch, latent_dim)`.
        """
        return self.encoder(self.with_labels(x, given))[:, : self.latent_dim]

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """Decode latent codes.

        Arguments:
            z: latent codes, `(batch, latent_dim)`.
            given: labels, `(batch,)`, if the model is conditional.

        Returns:
            `(batch, *shape)`; images in [0, 1].
        """
        output: Tensor = self.decoder(self.with_labels(z, given))
        return output.sigmoid() if self.unit_range else output

    def reconstruct(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Decode the latent code of each example, `(batch, *shape)` -> `(batch, *shape)`."""
        labels = conditions(given)
        return self.decode(self.encode(x, **labels), **labels)

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
