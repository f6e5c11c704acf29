"""The base class of Wasserstein autoencoders, which match all latent codes to the prior."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Independent, Normal

from genzoo.blocks.precision import at_least_single
from genzoo.contract import Part, Shape
from genzoo.errors import SettingError
from genzoo.models.autoencoder import Autoencoder, diagonal_normal, reparameterized

__all__ = ["WAE"]


class WAE(Autoencoder):
    r"""The base class of Wasserstein autoencoders: latent codes and the reconstruction cost.

    The squared error is a sum over pixels, without a factor 1/2, as in the paper.

    Arguments:
        latent_dim: \( d_z \), the number of latent coordinates.
        weight: \( \lambda \), the weight of the divergence from the prior.
        random_encoder: use a Gaussian \( q(z \mid x) \) instead of a deterministic encoder.
        variance_penalty: the weight of \( \sum_i |\log \sigma_i^2(x)| \), for a random encoder.
        encoder: a part of kind `"encoders"`. By default, `"conv"` for images of 8 x 8 pixels or
            more, and `"mlp"` for other data.
        decoder: a part of kind `"decoders"`, with the same default.
        prior: a part of kind `"priors"`.
        sampler: a part of kind `"priors"` that is fitted to the latent codes after training, such
            as `{name = "mog", components = 50}`, or `"none"`. `sample` then uses it instead of the
            prior.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    Raises:
        SettingError: a variance penalty without a random encoder.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        weight: float,
        random_encoder: bool,
        variance_penalty: float,
        encoder: Part | None,
        decoder: Part | None,
        prior: Part,
        sampler: Part,
        shape: Shape,
    ) -> None:
        if variance_penalty and not random_encoder:
            raise SettingError(
                f"variance_penalty = {variance_penalty} has no variances to act on; set "
                "random_encoder = true."
            )
        super().__init__(
            latent_dim=latent_dim,
            features=2 * latent_dim if random_encoder else latent_dim,
            unit_range=False,
            encoder=encoder,
            decoder=decoder,
            prior=prior,
            sampler=sampler,
            shape=shape,
        )
        self.weight = weight
        self.random_encoder = random_encoder
        self.unsupported = () if random_encoder else ("posterior",)
        self.variance_penalty = variance_penalty

    def posterior(self, x: Tensor) -> Independent[Normal]:
        r"""Return \( q(z \mid x) \), for a random encoder only.

        Arguments:
            x: examples, `(batch, *shape)`.

        Returns:
            A batch of distributions on `(latent_dim,)`.

        Raises:
            SettingError: the encoder is deterministic.
        """
        if not self.random_encoder:
            raise SettingError(
                f"{type(self).__name__} has a deterministic encoder and so no posterior(x); "
                "set random_encoder = true, or use encode(x)."
            )
        return diagonal_normal(self.encoder(x))

    def draw_codes(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """Return one latent code per example and the variance penalty.

        Codes are sampled if the encoder is random.

        Arguments:
            x: examples, `(batch, *shape)`.

        Returns:
            The codes, `(batch, latent_dim)`, and the penalty with its weight, a scalar.
        """
        # Autocast may have lowered the precision.
        features = self.encoder(x).to(x.dtype)
        if not self.random_encoder:
            return features, 0.0
        log_variance = features[:, self.latent_dim :]
        codes = reparameterized(diagonal_normal(features))
        return codes, self.variance_penalty * log_variance.abs().sum(1).mean()

    def squared_error(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the squared error of decoded codes: a sum over pixels, a mean over the batch."""
        return at_least_single(x - self.decode(z)).square().flatten(1).sum(1).mean()
