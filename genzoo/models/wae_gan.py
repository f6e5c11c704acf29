"""The Wasserstein autoencoder that matches latent codes to the prior with a latent critic."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.blocks.precision import at_least_single
from genzoo.contract import NonNegativeFloat, Part, Player, Positive, PositiveFloat, Shape
from genzoo.distributed import gather
from genzoo.errors import SettingError
from genzoo.models.latent import learned, positive_everywhere, scores
from genzoo.models.wae_base import WAE
from genzoo.registry.build import build

__all__ = ["WAEGAN"]


class WAEGAN(WAE):
    r"""A Wasserstein autoencoder that matches its latent codes to the prior with a latent critic.

    With the critic's logit \( D \) and \( \sigma \) the logistic function,

    \[ \max_D \; E_{z \sim p_Z} \log \sigma(D(z)) + E_{z \sim q_Z} \log\big(1 - \sigma(D(z))\big),
       \qquad \min_{q, g} \; E_x E_{q(z \mid x)}
       \Big[ \| x - g(z) \|^2 - \lambda \log \sigma(D(z)) \Big]. \]

    With `log_density`, \( D(z) = h(z) + \log p_Z(z) \), and the network h learns only
    \( -\log q_Z \). A learned prior belongs to the autoencoder and minimizes
    \( -\lambda E_{z \sim p_Z} \log(1 - \sigma(D(z))) \), its side of the game.

    Arguments:
        latent_dim: \( d_z \), the number of latent coordinates.
        weight: \( \lambda \).
        log_density: add the prior's log-density to the critic's logit.
        pretrain: the number of rounds at the start that only match the mean and covariance of the
            codes to those of the prior. The authors take up to 200, and fewer if the match is good.
        random_encoder: use a Gaussian \( q(z \mid x) \) instead of a deterministic encoder.
        variance_penalty: the weight of \( \sum_i |\log \sigma_i^2(x)| \), for a random encoder.
        encoder: a part of kind `"encoders"`. By default, `"conv"` for images of 8 x 8 pixels or
            more, and `"mlp"` for other data.
        decoder: a part of kind `"decoders"`, with the same default.
        critic: a part of kind `"critics"`, which scores latent codes.
        prior: a part of kind `"priors"`; it may be learned.
        sampler: a part of kind `"priors"` that is fitted to the latent codes after training, such
            as `{name = "mog", components = 50}`, or `"none"`. `sample` then uses it instead of the
            prior.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    Raises:
        SettingError: a variance penalty without a random encoder, or `log_density` with a prior
            that is learned or whose density is not positive everywhere.

    References:
        Wasserstein Auto-Encoders, Tolstikhin, Bousquet, Gelly and Schoelkopf, 2018,
            https://arxiv.org/abs/1711.01558 (algorithm 1); code: https://github.com/tolstikhin/wae

    Example:
        >>> wae = WAEGAN(latent_dim=2, prior="mog", shape=(1, 8, 8))
        >>> [player.name for player in wae.players()]
        ['critic', 'autoencoder']
    """

    # Learning rates are those of the authors for MNIST; for CelebA they are 3e-4 and 1e-3.
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-3, "betas": (0.5, 0.999)}
    critic_optimizer: ClassVar[Mapping[str, Any]] = {
        "name": "Adam",
        "lr": 5e-4,
        "betas": (0.5, 0.999),
    }

    def __init__(
        self,
        latent_dim: Positive = 8,
        # The paper's weight for MNIST. The authors' code multiplies the cost by 0.05 and keeps this
        # number, so its weight is 200 in our units.
        weight: PositiveFloat = 10.0,
        *,
        log_density: bool = False,
        pretrain: Annotated[int, Ge(0)] = 0,
        random_encoder: bool = False,
        variance_penalty: NonNegativeFloat = 0.0,
        encoder: Part | None = None,
        decoder: Part | None = None,
        critic: Part = MappingProxyType(
            {"name": "mlp", "hidden": (512, 512, 512, 512), "activation": "relu"}
        ),
        prior: Part = "normal",
        sampler: Part = "none",
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            weight=weight,
            random_encoder=random_encoder,
            variance_penalty=variance_penalty,
            encoder=encoder,
            decoder=decoder,
            prior=prior,
            sampler=sampler,
            shape=shape,
        )
        self.critic = build(critic, "critics", shape=(latent_dim,))
        self.refuse_mixing(self.critic)
        self.log_density = log_density
        self.pretrain = pretrain
        if log_density and not positive_everywhere(self.prior):
            raise SettingError(
                f"log_density = true: the density of {type(self.prior).__name__} is not positive "
                "everywhere, so the critic's logit would be infinite; take the prior "
                '"normal" or "mog", or leave log_density out.'
            )
        if log_density and learned(self.prior):
            raise SettingError(
                "log_density = true with a learned prior: the density would move under the critic; "
                "leave log_density out, or take a fixed prior."
            )

    def logit(self, z: Tensor) -> Tensor:
        """Return the critic's logit of "from the prior": `(batch, latent_dim)` -> `(batch,)`."""
        h = at_least_single(scores(self.critic, z))
        return h + self.prior.log_prob(z) if self.log_density else h

    def critic_loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        r"""Compute the cross-entropy, in nats, of telling prior samples from codes of `batch`.

        The paper multiplies it by \( \lambda \), which has no effect under Adam.
        """
        with torch.no_grad():
            codes, _ = self.draw_codes(batch)
            prior_samples = self.prior.sample(batch.shape[0])
        real, fake = self.logit(prior_samples), self.logit(codes)
        loss = softplus(-real).mean() + softplus(fake).mean()
        return {
            "loss": loss,
            "real": real.mean(),
            "fake": fake.mean(),
            "gap": real.mean() - fake.mean(),
        }

    def autoencoder_loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Compute the squared error + weight * `match` (+ the variance penalty).

        `match` is the cross-entropy of codes that are labeled as prior samples. With a learned
        prior, the loss also contains weight * `prior`, the cross-entropy of prior samples that are
        labeled as codes.

        Arguments:
            batch: examples, `(batch, *shape)`.
        """
        z, variance_penalty = self.draw_codes(batch)
        reconstruction = self.squared_error(batch, z)
        report = {"reconstruction": reconstruction, "match": softplus(-self.logit(z)).mean()}
        loss = reconstruction + self.weight * report["match"] + variance_penalty
        if learned(self.prior):
            report["prior"] = self.expectation(lambda z: softplus(self.logit(z)), batch.shape[0])
            loss = loss + self.weight * report["prior"]
        return {"loss": loss, **report}

    def pretraining_loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Compute the difference between the mean and covariance of the codes and of the prior.

        Both are mean squared differences over the global batch.
        """
        codes = gather(self.draw_codes(batch)[0])
        samples = gather(self.prior.sample(batch.shape[0]).detach())
        means = (codes.mean(0) - samples.mean(0)).square().mean()
        covariances = (codes.T.cov(correction=0) - samples.T.cov(correction=0)).square().mean()
        return {"loss": means + covariances}

    def players(self) -> tuple[Player, ...]:
        def pretraining_steps(round: int) -> int:
            return int(round < self.pretrain)

        def game_steps(round: int) -> int:
            return int(round >= self.pretrain)

        steps = game_steps if self.pretrain else 1
        critic = Player(
            name="critic",
            owns=(self.critic,),
            loss=self.critic_loss,
            steps_per_round=steps,
            optimizer=self.critic_optimizer,
        )
        autoencoder = Player(
            name="autoencoder",
            owns=(self.encoder, self.decoder, self.prior),
            loss=self.autoencoder_loss,
            steps_per_round=steps,
            optimizer=self.optimizer,
        )
        if not self.pretrain:
            return critic, autoencoder
        pretraining = Player(
            name="pretraining",
            owns=(self.encoder,),
            loss=self.pretraining_loss,
            steps_per_round=pretraining_steps,
            optimizer=self.optimizer,
        )
        return pretraining, critic, autoencoder
