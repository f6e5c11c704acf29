"""Wasserstein autoencoders, which match the distribution of all latent codes to the prior."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.nn.functional import softplus

from genzoo.blocks.precision import at_least_single
from genzoo.contract import (
    Batch,
    NonNegativeFloat,
    Part,
    Player,
    Positive,
    PositiveFloat,
    SampleDivergence,
    Shape,
    conditions,
)
from genzoo.distributed import gather, rank_and_world_size
from genzoo.errors import SettingError
from genzoo.models.autoencoder import Autoencoder, diagonal_normal, reparameterized
from genzoo.models.conditioning import Classes
from genzoo.models.latent import learned, positive_everywhere, scores
from genzoo.registry.build import build

__all__ = ["WAE", "WAEGAN", "WAEMMD"]

_PER_CLASS = 10
"""The mean number of examples of a class in a batch that the MMD needs, at least."""


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
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels.
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
        classes: Classes = 0,
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
            classes=classes,
            shape=shape,
        )
        self.weight = weight
        self.random_encoder = random_encoder
        self.unsupported = () if random_encoder else ("posterior",)
        self.variance_penalty = variance_penalty

    def posterior(self, x: Tensor, given: Tensor | None = None) -> Independent[Normal]:
        r"""Return \( q(z \mid x) \), for a random encoder only.

        Arguments:
            x: examples, `(batch, *shape)`.
            given: labels, `(batch,)`, if the model is conditional.

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
        return diagonal_normal(self.encoder(self.with_labels(x, given)))

    def draw_codes(self, x: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
        """Return one latent code per example and the variance penalty.

        Codes are sampled if the encoder is random.

        Arguments:
            x: examples, `(batch, *shape)`.
            given: labels, `(batch,)`, if the model is conditional.

        Returns:
            The codes, `(batch, latent_dim)`, and the penalty with its weight, a scalar.
        """
        # Autocast may have lowered the precision.
        features = self.encoder(self.with_labels(x, given)).to(x.dtype)
        if not self.random_encoder:
            return features, 0.0
        log_variance = features[:, self.latent_dim :]
        codes = reparameterized(diagonal_normal(features))
        return codes, self.variance_penalty * log_variance.abs().sum(1).mean()

    def squared_error(self, x: Tensor, z: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the squared error of decoded codes: a sum over pixels, a mean over the batch."""
        error = x - self.decode(z, **conditions(given))
        return at_least_single(error).square().flatten(1).sum(1).mean()


class WAEMMD(WAE):
    r"""A Wasserstein autoencoder that matches its latent codes to the prior with an MMD.

    \[ \min_{q, g} \; E_x E_{q(z \mid x)} \| x - g(z) \|^2 + \lambda\, \mathrm{MMD}^2(q_Z, p_Z),
       \qquad q_Z = E_x\, q(z \mid x) \]

    The squared error is a sum over pixels, without a factor 1/2, as in the paper. With labels, the
    codes of each class are matched to the prior, so that codes do not depend on the label:

    \[ \sum_k \frac{n_k}{n}\, \mathrm{MMD}^2\big(q_{Z \mid y = k},\, p_Z\big) \]

    The sum is over the classes with two codes or more in the batch of all ranks. Its expectation is
    zero if all of them match the prior. Its noise is then about \( \sqrt K \) times that of the
    MMD without labels, so take a batch of at least 10 codes per class.

    Arguments:
        latent_dim: \( d_z \), the number of latent coordinates.
        weight: \( \lambda \).
        random_encoder: use a Gaussian \( q(z \mid x) \) instead of a deterministic encoder. If
            \( d_z \) exceeds the dimension of the data, the codes of a deterministic encoder lie on
            a thin sheet that cannot fill the prior.
        variance_penalty: the weight of \( \sum_i |\log \sigma_i^2(x)| \), for a random encoder.
            Without it, the variances tend to shrink to zero.
        encoder: a part of kind `"encoders"`. By default, `"conv"` for images of 8 x 8 pixels or
            more, and `"mlp"` for other data.
        decoder: a part of kind `"decoders"`, with the same default.
        prior: a part of kind `"priors"`. It may be learned, and it does not need a density.
        sampler: a part of kind `"priors"` that is fitted to the latent codes after training, such
            as `{name = "mog", components = 50}`, or `"none"`. `sample` then uses it instead of the
            prior.
        divergence: a part of kind `"divergences"` that compares latent codes with a prior.
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    Raises:
        SettingError: a variance penalty without a random encoder, or a divergence that does not
            compare samples.

    References:
        Wasserstein Auto-Encoders, Tolstikhin, Bousquet, Gelly and Schoelkopf, 2018,
            https://arxiv.org/abs/1711.01558
        On the Latent Space of Wasserstein Auto-Encoders, Rubenstein, Schoelkopf and Tolstikhin,
            2018, https://arxiv.org/abs/1802.03761

    Example:
        >>> import torch
        >>> wae = WAEMMD(latent_dim=2, prior="uniform", shape=(1, 8, 8))
        >>> sorted(wae.loss(torch.rand(5, 1, 8, 8)))
        ['loss', 'mmd', 'reconstruction']
    """

    # The authors' learning rate for MNIST is 1e-3, lowered after fixed numbers of epochs. This one
    # is for a cosine schedule that ends at a fiftieth.
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 2e-3, "betas": (0.5, 0.999)}

    expected_failures: ClassVar[Mapping[str, str]] = {
        "batch_of_one": "an MMD compares pairs within a sample"
    }

    def __init__(
        self,
        latent_dim: Positive = 8,
        # The authors' code multiplies the cost by 0.05, so its lambda of 10 for MNIST is 200 here.
        # Like our MMD by default, it sums seven kernel scales; the paper has one.
        weight: PositiveFloat = 200.0,
        *,
        random_encoder: bool = False,
        variance_penalty: NonNegativeFloat = 0.0,
        encoder: Part | None = None,
        decoder: Part | None = None,
        prior: Part = "normal",
        sampler: Part = "none",
        divergence: Part = "mmd",
        classes: Classes = 0,
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
            classes=classes,
            shape=shape,
        )
        measure = build(divergence, "divergences")
        if not isinstance(measure, SampleDivergence):
            raise SettingError(
                f"divergence = {type(measure).__name__} does not compare samples, but "
                "wae-mmd compares latent codes with samples from the prior; use a "
                'SampleDivergence, such as "mmd", or the model "vae".'
            )
        self.divergence = measure

    def check_batch(self, batch: Batch) -> None:
        """Check the labels of a batch, and warn if the classes have too few examples."""
        super().check_batch(batch)
        rank, size = rank_and_world_size()
        if not self.classes or rank:
            return
        n = size * len(self.unpack(batch)[0])
        if n < _PER_CLASS * self.classes:
            warnings.warn(
                f"the MMD of this {type(self).__name__} compares the codes of a class, and a batch "
                f"(or microbatch) of {n} for classes = {self.classes} has {n / self.classes:.2g} "
                "examples per class on average. The MMD leaves out classes with one example and "
                f"is noisy for fewer than {_PER_CLASS}; raise batch_size, or lower microbatches.",
                stacklevel=2,
            )

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the squared error + weight * squared MMD (+ the variance penalty).

        Arguments:
            batch: examples, `(batch, *shape)`, or `{"x": examples, "y": labels}`.

        Returns:
            `loss`, `reconstruction` (the squared error, summed over pixels), and `mmd` (squared,
            without its weight); the first two are means over the batch.
        """
        x, given = self.unpack(batch)
        z, variance_penalty = self.draw_codes(x, given)
        reconstruction = self.squared_error(x, z, given)
        if given is None:
            mmd = self.divergence(z, self.prior)
        else:
            mmd = self.divergence.within_classes(z, self.prior, given)
        return {
            "loss": reconstruction + self.weight * mmd + variance_penalty,
            "reconstruction": reconstruction,
            "mmd": mmd,
        }


class WAEGAN(WAE):
    r"""A Wasserstein autoencoder that matches its latent codes to the prior with a latent critic.

    With the critic's logit \( D \) and \( \sigma \) the logistic function,

    \[ \max_D \; E_{z \sim p_Z} \log \sigma(D(z)) + E_{z \sim q_Z} \log\big(1 - \sigma(D(z))\big),
       \qquad \min_{q, g} \; E_x E_{q(z \mid x)}
       \Big[ \| x - g(z) \|^2 - \lambda \log \sigma(D(z)) \Big]. \]

    With `log_density`, \( D(z) = h(z) + \log p_Z(z) \), and the network h learns only
    \( -\log q_Z \). A learned prior belongs to the autoencoder and minimizes
    \( -\lambda E_{z \sim p_Z} \log(1 - \sigma(D(z))) \), its side of the game. With labels, the
    critic sees (z, y), and a sample from the prior has the label of an example of the batch, so the
    codes of each class are matched to the prior. The rounds of `pretrain` match all codes together.

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
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels.
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
        classes: Classes = 0,
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
            classes=classes,
            shape=shape,
        )
        self.critic = build(critic, "critics", shape=(latent_dim + classes,))
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

    def logit(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the critic's logit of "from the prior": `(batch, latent_dim)` -> `(batch,)`."""
        h = at_least_single(scores(self.critic, self.with_labels(z, given)))
        return h + self.prior.log_prob(z) if self.log_density else h

    def critic_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        r"""Compute the cross-entropy, in nats, of telling prior samples from codes of `batch`.

        The paper multiplies it by \( \lambda \), which has no effect under Adam.
        """
        x, given = self.unpack(batch)
        with torch.no_grad():
            codes, _ = self.draw_codes(x, given)
            prior_samples = self.prior.sample(x.shape[0])
        real, fake = self.logit(prior_samples, given), self.logit(codes, given)
        loss = softplus(-real).mean() + softplus(fake).mean()
        return {
            "loss": loss,
            "real": real.mean(),
            "fake": fake.mean(),
            "gap": real.mean() - fake.mean(),
        }

    def autoencoder_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the squared error + weight * `match` (+ the variance penalty).

        `match` is the cross-entropy of codes that are labeled as prior samples. With a learned
        prior, the loss also contains weight * `prior`, the cross-entropy of prior samples that are
        labeled as codes.

        Arguments:
            batch: examples, `(batch, *shape)`, or `{"x": examples, "y": labels}`.
        """
        x, given = self.unpack(batch)
        z, variance_penalty = self.draw_codes(x, given)
        reconstruction = self.squared_error(x, z, given)
        report = {
            "reconstruction": reconstruction,
            "match": softplus(-self.logit(z, given)).mean(),
        }
        loss = reconstruction + self.weight * report["match"] + variance_penalty
        if learned(self.prior):
            report["prior"] = self.expectation(
                lambda *z: softplus(self.logit(*z)), x.shape[0], given
            )
            loss = loss + self.weight * report["prior"]
        return {"loss": loss, **report}

    def pretraining_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the difference between the mean and covariance of the codes and of the prior.

        Both are mean squared differences over the global batch.
        """
        x, given = self.unpack(batch)
        codes = gather(self.draw_codes(x, given)[0])
        samples = gather(self.prior.sample(x.shape[0]).detach())
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
