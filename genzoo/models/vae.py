"""The variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Literal, Self

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal

from genzoo.blocks.precision import at_least_single
from genzoo.contract import (
    Batch,
    DistributionDivergence,
    NonNegativeFloat,
    Part,
    Player,
    Positive,
    PositiveFloat,
    Shape,
    conditions,
)
from genzoo.contract.inputs import whole
from genzoo.distributed import gather, noise
from genzoo.divergences.kl import KL
from genzoo.errors import SettingError, show
from genzoo.models.autoencoder import (
    Autoencoder,
    diagonal_normal,
    reparameterized,
)
from genzoo.models.conditioning import Classes
from genzoo.models.latent import positive_everywhere
from genzoo.models.pyro_bridge import vae_guide, vae_model
from genzoo.registry.build import build

__all__ = ["VAE"]

_CHUNK = 4096
"""The number of latent draws that `log_prob_bound` decodes at once, which bounds its memory."""
_MEMORY = 100
"""The number of batches over which the running sigma is averaged."""


class VAE(Autoencoder):
    r"""A variational autoencoder, which maximizes a lower bound on the log-likelihood (the ELBO).

    \[ \max_{q, g} \; E_{q(z \mid x)} \log p(x \mid z)
       - \beta\, \mathrm{KL}\big(q(z \mid x) \,\|\, p(z)\big)
       \; \le \; \log p(x) \text{ for } \beta \ge 1, \qquad
       q(z \mid x) = N\big(\mu(x), \mathrm{diag}\, \sigma^2(x)\big) \]

    The Gaussian likelihood is \( p(x \mid z) = N(x; g(z), \sigma^2 I) \). Its \( \sigma \)
    determines the weight of the reconstruction. A mean squared error plus the KL corresponds to
    \( \sigma^2 = D / 2 \), at which every posterior of a model of images collapses. Therefore
    \( \sigma \) is fitted by default: `"optimal"` sets \( \sigma^2 \) to the mean squared error of
    the current batch, and the negative log-likelihood is \( \frac D2 (\log 2 \pi \sigma^2 + 1) \).
    A bound must not choose \( \sigma \) from the examples that it bounds, so `elbo` and
    `log_prob_bound` use the running (geometric) mean over the last batches of training.

    The Bernoulli likelihood is a likelihood of binary data only. For gray values its cross-entropy
    is a common loss, but not a likelihood; its minimum is the entropy of the gray values.

    With labels, the encoder, the decoder, and the bound are those of \( p(x \mid y) \), with the
    prior \( p(z) \) for every label (a conditional VAE).

    Two settings keep posteriors from collapsing to the prior early in training, when a code
    improves the reconstruction less than it costs. They change only the KL in the loss of a
    training step. In step \( t \), it is

    \[ \beta \min\!\Big(1, \frac tT\Big) \sum_{i=1}^{d_z}
       \max\!\Big(\lambda,\; \frac1B \sum_{x} \mathrm{KL}\big(q(z_i \mid x) \,\|\, p(z_i)\big)\Big),
       \]

    where \( T \) is `kl_warmup`, \( \lambda \) is `free_bits`, and \( B \) is the batch size, or
    that of a microbatch. Up to \( \lambda \) nats, a coordinate is free.

    Arguments:
        latent_dim: \( d_z \), the number of latent coordinates.
        likelihood: \( p(x \mid z) \); `"bernoulli"` is for values in [0, 1].
        sigma: the standard deviation of the Gaussian likelihood: a number, `"learned"` (one
            parameter), or `"optimal"`.
        beta: the weight of the KL. 1 is the ELBO, and values above 1 are the beta-VAE. For a fixed
            sigma it is equivalent, up to scale, to a VAE with the variance \( \sigma^2 \beta \).
        kl_warmup: \( T \), the number of steps in which the weight of the KL grows from 0 to beta.
        free_bits: \( \lambda \), in nats per latent coordinate. It needs the KL in closed form, so
            a prior with one component.
        encoder: a part of kind `"encoders"` with 2 * latent_dim outputs: means, then log-variances.
            By default, `"conv"` for images of 8 x 8 pixels or more, and `"mlp"` for other data.
        decoder: a part of kind `"decoders"`, with the same default.
        prior: a part of kind `"priors"` whose density is positive everywhere; otherwise the KL is
            infinite.
        sampler: a part of kind `"priors"` that is fitted to the latent codes after training, such
            as `{name = "mog", components = 50}`, or `"none"`. `sample` then uses it instead of the
            prior.
        divergence: a part of kind `"divergences"`, which estimates the KL.
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    Raises:
        SettingError: the prior's density is not positive everywhere, or the divergence does not
            compare distributions, or `free_bits` has no KL in closed form.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2013, https://arxiv.org/abs/1312.6114
        Learning Structured Output Representation using Deep Conditional Generative Models, Sohn,
            Lee and Yan, 2015, https://papers.nips.cc/paper/5775 (the conditional VAE; its prior
            depends on the condition)
        beta-VAE, Higgins et al., 2017, https://openreview.net/forum?id=Sy2fzU9gl
        Simple and Effective VAE Training with Calibrated Decoders, Rybkin et al., 2020,
            https://arxiv.org/abs/2006.13202
        Generating Sentences from a Continuous Space, Bowman et al., 2015,
            https://arxiv.org/abs/1511.06349 (KL warm-up)
        Ladder Variational Autoencoders, Sønderby et al., 2016, https://arxiv.org/abs/1602.02282
            (linear warm-up)
        Improved Variational Inference with Inverse Autoregressive Flow, Kingma et al., 2016,
            https://arxiv.org/abs/1606.04934 (free bits, appendix C.8)

    Example:
        >>> vae = VAE(latent_dim=2, shape=(1, 8, 8))
        >>> vae.elbo(torch.rand(5, 1, 8, 8)).shape, vae.sample(3).shape
        (torch.Size([5]), torch.Size([3, 1, 8, 8]))
    """

    log_sigma: Tensor
    batches_seen: Tensor
    kl_weight: Tensor

    def __init__(
        self,
        latent_dim: Positive = 16,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        *,
        sigma: PositiveFloat | Literal["learned", "optimal"] = "optimal",
        beta: NonNegativeFloat = 1.0,
        kl_warmup: Annotated[int, Ge(0)] = 0,
        free_bits: NonNegativeFloat = 0.0,
        encoder: Part | None = None,
        decoder: Part | None = None,
        prior: Part = "normal",
        sampler: Part = "none",
        divergence: Part = "kl",
        classes: Classes = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            features=2 * latent_dim,
            unit_range=likelihood == "bernoulli",
            encoder=encoder,
            decoder=decoder,
            prior=prior,
            sampler=sampler,
            classes=classes,
            shape=shape,
        )
        self.likelihood = likelihood
        self.sigma = sigma
        self.beta = beta
        self.kl_warmup, self.free_bits = kl_warmup, free_bits
        measure = build(divergence, "divergences")
        if not positive_everywhere(self.prior):
            raise SettingError(
                f"prior = {type(self.prior).__name__}: a VAE needs a density that is positive "
                'everywhere, or its KL is infinite; take "normal" or "mog", or the model "wae-mmd".'
            )
        if not isinstance(measure, DistributionDivergence):
            raise SettingError(
                f"divergence = {type(measure).__name__} does not compare distributions, but "
                "a VAE compares each posterior with the prior; use a "
                'DistributionDivergence, such as "kl", or the model "wae-mmd".'
            )
        self.divergence = measure
        if free_bits and not (isinstance(measure, KL) and measure.has_closed_form(self.prior)):
            raise SettingError(
                f"free_bits = {free_bits:g} needs the KL of each latent coordinate in closed form, "
                f"which {type(measure).__name__} does not have for the prior "
                f'{type(self.prior).__name__}; use prior = "normal", or leave free_bits out.'
            )
        if kl_warmup:
            # not persistent, because it is 1 between training steps
            self.register_buffer("kl_weight", torch.ones(()), persistent=False)
        if likelihood == "gaussian" and sigma == "learned":
            self.log_sigma = nn.Parameter(torch.zeros(()))
        if likelihood == "gaussian" and sigma == "optimal":
            self.register_buffer("log_sigma", torch.zeros(()))
            self.register_buffer("batches_seen", torch.tensor(0))

    # The signature is that of torch.
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Keep the running sigma in single precision, or better.

        In half precision, the small steps of a mean over many batches round to nothing.
        """
        super()._apply(fn, recurse)
        if "log_sigma" in self._buffers:
            self.log_sigma = at_least_single(self.log_sigma)
        return self

    @property
    def is_discrete(self) -> bool:
        """True if the likelihood is a probability of bits, and False if it is a density."""
        return self.likelihood == "bernoulli"

    def posterior(self, x: Tensor, given: Tensor | None = None) -> Independent[Normal]:
        r"""Return \( q(z \mid x) \), a batch of diagonal normals on `(latent_dim,)`."""
        return diagonal_normal(self.encoder(self.with_labels(x, given)))

    def conditional(
        self, z: Tensor, fit: Tensor | None = None, given: Tensor | None = None
    ) -> Independent[Bernoulli | Normal]:
        r"""Return \( p(x \mid z) \), a batch of distributions on `shape`.

        Arguments:
            z: latent codes, `(batch, latent_dim)`.
            fit: the examples to which an `"optimal"` sigma is fitted. Without them, the running
                sigma is used.
            given: labels, `(batch,)`, if the model is conditional.
        """
        dims = len(self.shape)
        if self.likelihood == "bernoulli":
            logits = at_least_single(self.decoder(self.with_labels(z, given)))
            bits = Bernoulli(logits=logits, validate_args=False)
            return Independent(bits, dims, validate_args=False)
        # Single precision, because a likelihood is a sum over all values of an example.
        mean = at_least_single(self.decode(z, **conditions(given)))
        sigma: Tensor | float
        if not isinstance(self.sigma, str):
            sigma = self.sigma
        elif self.sigma == "learned" or fit is None:
            sigma = self.log_sigma.exp()
        else:
            sigma = self._fitted_log_sigma(fit - mean).exp()
        normal = Normal(mean, sigma, validate_args=False)
        return Independent(normal, dims, validate_args=False)

    @torch.no_grad()
    def _fitted_log_sigma(self, error: Tensor) -> Tensor:
        """Return the optimal log-sigma of the global batch; in training, update the running one.

        It needs no gradient, because the loss is stationary in sigma at the optimum.
        """
        squares = gather(error.to(self.log_sigma).flatten(1).square().mean(1))
        fitted = squares.mean().clamp(min=torch.finfo(squares.dtype).eps).log() / 2
        if self.training:
            self.batches_seen += 1
            self.log_sigma += (fitted - self.log_sigma) / self.batches_seen.clamp(max=_MEMORY)
        return fitted

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        r"""Compute the negative beta-ELBO with one latent draw per example, in nats per example.

        Arguments:
            batch: examples, `(batch, *shape)`, or `{"x": examples, "y": labels}`.

        Returns:
            `loss` = `reconstruction` + beta * `kl`, means over the batch. `reconstruction` is the
            negative log-likelihood, including its constants. With `free_bits`, the KL in `loss` is
            at least \( \lambda \) per coordinate. In training steps of a warm-up, it has the
            factor `kl_weight`.
        """
        x, given = self.unpack(batch)
        q = self.posterior(x, **conditions(given))
        z = reparameterized(q)
        conditional = self.conditional(z, fit=x, **conditions(given))
        reconstruction = -conditional.log_prob(at_least_single(x)).mean()
        kl = penalized = self.divergence(q, self.prior, z).mean()
        if self.free_bits:
            assert isinstance(self.divergence, KL)
            per_coordinate = gather(self.divergence.per_coordinate(q, self.prior)).mean(0)
            penalized = per_coordinate.clamp(min=self.free_bits).sum()
        report = {"reconstruction": reconstruction, "kl": kl}
        if self.kl_warmup:
            report["kl_weight"] = self.kl_weight.clone()
            penalized = self.kl_weight * penalized
        return {"loss": reconstruction + self.beta * penalized, **report}

    def before_step(self, step: int) -> None:
        """Set the weight of the KL in the next training step.

        Arguments:
            step: the number of training steps so far.
        """
        self.kl_weight.fill_(min(1.0, step / self.kl_warmup))

    def after_step(self) -> None:
        """Let the KL have its full weight in losses outside of training steps."""
        self.kl_weight.fill_(1.0)

    def diagnose(self, line: Mapping[str, float], progress: float) -> str | None:
        # `progress` is `step` divided by the number of training steps
        if progress and self.kl_warmup > round(line["step"] / progress):
            return (
                f"kl_warmup = {self.kl_warmup:,} is more than the number of training steps, so the "
                "KL never gets its full weight. Lower it, for example to a tenth of the steps."
            )
        return None

    def players(self) -> tuple[Player, ...]:
        (player,) = super().players()
        if self.kl_warmup:
            player = replace(player, before=self.before_step, after=self.after_step)
        return (player,)

    def elbo(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        r"""Return a lower bound on \( \log p(x) \) (beta = 1), estimated with one latent draw.

        Arguments:
            x: examples, `(batch, *shape)`.
            given: labels, `(batch,)`, if the model is conditional; then a bound on
                \( \log p(x \mid y) \).

        Returns:
            `(batch,)`, in nats.
        """
        labels = conditions(given)
        q = self.posterior(x, **labels)
        z = reparameterized(q)
        log_likelihood = self.conditional(z, **labels).log_prob(at_least_single(x))
        return log_likelihood - self.divergence(q, self.prior, z)

    @torch.no_grad()
    def log_prob_bound(
        self, x: Tensor, samples: Positive = 100, given: Tensor | None = None
    ) -> Tensor:
        r"""Return the importance-weighted lower bound on \( \log p(x) \), without gradients.

        \[ \log p(x) \ge E \log \frac 1k \sum_{i=1}^k
           \frac{p(x \mid z_i)\, p(z_i)}{q(z_i \mid x)}, \qquad z_i \sim q(z \mid x) \]

        It rises to \( \log p(x) \) as \( k \) grows.

        Arguments:
            x: examples, `(batch, *shape)`.
            samples: \( k \), the number of latent draws per example; memory does not grow with it.
            given: labels, `(batch,)`, if the model is conditional; then a bound on
                \( \log p(x \mid y) \).

        Returns:
            `(batch,)`, in nats.

        Raises:
            SettingError: `samples` is not a positive integer.

        References:
            Importance Weighted Autoencoders, Burda, Grosse and Salakhutdinov, 2015,
                https://arxiv.org/abs/1509.00519
        """
        samples = whole(samples, f"log_prob_bound: samples = {show(samples)}", 1)
        total = at_least_single(x.new_full((x.shape[0],), -math.inf))
        if x.shape[0] == 0:
            return total
        q = self.posterior(x, **conditions(given))
        chunk = max(1, _CHUNK // x.shape[0])
        for start in range(0, samples, chunk):
            k = min(chunk, samples - start)
            eps = noise(x.shape[0], k, self.latent_dim, like=x)
            z = q.mean[:, None] + q.base_dist.scale[:, None] * eps
            flat = z.flatten(0, 1)
            repeated = at_least_single(x).repeat_interleave(k, 0)
            labels = conditions(None if given is None else given.repeat_interleave(k, 0))
            log_likelihood = self.conditional(flat, **labels).log_prob(repeated)
            log_joint = log_likelihood + self.prior.log_prob(flat)
            log_weights = log_joint.view(-1, k) - q.log_prob(z.transpose(0, 1)).T
            total = torch.logaddexp(total, log_weights.logsumexp(1))
        return total - math.log(samples)

    def model(self, x: Tensor, given: Tensor | None = None) -> None:
        """Run the generative half as a Pyro program.

        Together with `guide`, `pyro.infer.SVI` minimizes `loss`, summed over the batch.

        Arguments:
            x: examples, `(batch, *shape)`.
            given: labels, `(batch,)`, if the model is conditional.

        References:
            Pyro: Deep Universal Probabilistic Programming, Bingham et al., 2018,
                https://arxiv.org/abs/1810.09538

        Example:
            >>> import pyro
            >>> from pyro.infer import SVI, TraceMeanField_ELBO
            >>> pyro.clear_param_store()
            >>> vae = VAE(latent_dim=2, shape=(1, 8, 8))
            >>> optimizer = pyro.optim.Adam({"lr": 1e-3})
            >>> svi = SVI(vae.model, vae.guide, optimizer, TraceMeanField_ELBO())
            >>> before = svi.step(torch.rand(5, 1, 8, 8))
        """
        vae_model(self, x, given)

    def guide(self, x: Tensor, given: Tensor | None = None) -> None:
        """Run the encoder as a Pyro program, `(batch, *shape)` -> the latent site `z`."""
        vae_guide(self, x, given)
