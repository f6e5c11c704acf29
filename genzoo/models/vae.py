"""The variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal

from genzoo.blocks.precision import at_least_single
from genzoo.contract import (
    DistributionDivergence,
    NonNegativeFloat,
    Part,
    Positive,
    PositiveFloat,
    Shape,
)
from genzoo.contract.inputs import whole
from genzoo.distributed import gather, noise
from genzoo.errors import SettingError, show
from genzoo.models.autoencoder import (
    Autoencoder,
    diagonal_normal,
    reparameterized,
)
from genzoo.models.latent import positive_everywhere
from genzoo.models.pyro_bridge import pyro_distribution, pyro_prior
from genzoo.registry.build import build

_AT_ONCE = 4096
"""Latent draws that `log_prob_bound` decodes in one pass, which bounds its memory."""
_MEMORY = 100
"""Batches over which the running sigma is averaged."""


class VAE(Autoencoder):
    r"""A variational autoencoder: maximises the evidence lower bound (ELBO) on the log-likelihood.

    \[ \max_{q, g} \; E_{q(z \mid x)} \log p(x \mid z) - \beta\, \mathrm{KL}\big(q(z \mid x) \,\|\, p(z)\big)
       \; \le \; \log p(x) \text{ for } \beta \ge 1, \qquad q(z \mid x) = N\big(\mu(x), \mathrm{diag}\, \sigma^2(x)\big) \]

    The Gaussian likelihood is \( p(x \mid z) = N(x; g(z), \sigma^2 I) \). Its \( \sigma \) decides how much the reconstruction
    weighs: a mean squared error plus the KL is \( \sigma^2 = D / 2 \), at which every posterior of a model of images collapses.
    So it is fitted by default: `"optimal"` is \( \sigma^2 = \) the mean squared error of the batch at hand, where the negative
    log-likelihood is \( \frac D2 (\log 2 \pi \sigma^2 + 1) \); `elbo` and `log_prob_bound` then use the running (geometric) mean
    over the last batches of training, since a bound may not choose \( \sigma \) after seeing the examples it speaks of.

    The Bernoulli likelihood is one for binary data only; for grey values its cross-entropy is a usual loss, but not a likelihood,
    and has the entropy of the grey values as its floor.

    Arguments:
        latent_dim: \( d_z \), the number of latent coordinates.
        likelihood: \( p(x \mid z) \), of values in [0, 1] if `"bernoulli"`.
        sigma: the Gaussian likelihood's standard deviation: a number, `"learned"` (one parameter) or `"optimal"`.
        beta: the weight of the KL; 1 is the ELBO. With a fixed sigma it equals a VAE of \( \sigma^2 \beta \), but for scale.
        encoder: a part of kind `"encoders"` with 2 * latent_dim outputs: means, then log-variances.
        decoder: a part of kind `"decoders"`.
        prior: a part of kind `"priors"`, with a density that is positive everywhere: else the KL is infinite.
        divergence: a part of kind `"divergences"`, the estimator of the KL.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    Raises:
        SettingError: a prior without such a density, or a divergence that is not one of distributions.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2013, https://arxiv.org/abs/1312.6114
        beta-VAE, Higgins et al., 2017, https://openreview.net/forum?id=Sy2fzU9gl
        Simple and Effective VAE Training with Calibrated Decoders, Rybkin et al., 2020, https://arxiv.org/abs/2006.13202

    Example:
        >>> vae = VAE(latent_dim=2, shape=(1, 8, 8))
        >>> vae.elbo(torch.rand(5, 1, 8, 8)).shape, vae.sample(3).shape
        (torch.Size([5]), torch.Size([3, 1, 8, 8]))
    """

    log_sigma: Tensor
    batches_seen: Tensor

    def __init__(
        self,
        latent_dim: Positive = 16,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        sigma: PositiveFloat | Literal["learned", "optimal"] = "optimal",
        beta: NonNegativeFloat = 1.0,
        encoder: Part = "mlp",
        decoder: Part = "mlp",
        prior: Part = "normal",
        divergence: Part = "kl",
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(
            latent_dim, 2 * latent_dim, likelihood == "bernoulli", encoder, decoder, prior, shape
        )
        self.likelihood = likelihood
        self.sigma = sigma
        self.beta = beta
        measure = build(divergence, "divergences")
        if not positive_everywhere(self.prior):
            raise SettingError(
                f"prior = {type(self.prior).__name__}: a VAE needs a density that is positive everywhere, or its KL is infinite; "
                'take "normal" or "mog", or the model "wae-mmd".'
            )
        if not isinstance(measure, DistributionDivergence):
            raise SettingError(
                f"divergence = {type(measure).__name__} does not compare distributions, but "
                "a VAE compares each posterior with the prior; use a "
                'DistributionDivergence, such as "kl", or the model "wae-mmd".'
            )
        self.divergence = measure
        if likelihood == "gaussian" and sigma == "learned":
            self.log_sigma = nn.Parameter(torch.zeros(()))
        if likelihood == "gaussian" and sigma == "optimal":
            self.register_buffer("log_sigma", torch.zeros(()))
            self.register_buffer("batches_seen", torch.tensor(0))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Keeps the running sigma out of half precision, in which the steps of a mean over many batches round to nothing."""
        super()._apply(fn, recurse)
        if "log_sigma" in self._buffers:
            self.log_sigma = self.log_sigma.to(
                torch.promote_types(self.log_sigma.dtype, torch.float32)
            )
        return self

    @property
    def is_discrete(self) -> bool:
        """Whether the likelihood is a probability of bits, not a density."""
        return self.likelihood == "bernoulli"

    def posterior(self, x: Tensor) -> Independent[Normal]:
        r"""\( q(z \mid x) \): a batch of diagonal normal distributions on `(latent_dim,)`."""
        return diagonal_normal(self.encoder(x))

    def conditional(self, z: Tensor, fit: Tensor | None = None) -> Independent[Bernoulli | Normal]:
        r"""\( p(x \mid z) \): a batch of distributions on `shape`.

        Arguments:
            z: latent vectors, `(batch, latent_dim)`.
            fit: the examples to which an `"optimal"` sigma is fitted; without them it is the running one.
        """
        if self.likelihood == "bernoulli":
            ones = Bernoulli(logits=at_least_single(self.decoder(z)), validate_args=False)
            return Independent(ones, len(self.shape), validate_args=False)
        mean = at_least_single(
            self.decode(z)
        )  # likelihoods are sums over all numbers of an example
        if not isinstance(self.sigma, str):
            sigma: Tensor | float = self.sigma
        elif self.sigma == "learned" or fit is None:
            sigma = self.log_sigma.exp()
        else:
            sigma = self._fitted_log_sigma(fit - mean).exp()
        return Independent(
            Normal(mean, sigma, validate_args=False), len(self.shape), validate_args=False
        )

    @torch.no_grad()
    def _fitted_log_sigma(self, error: Tensor) -> Tensor:
        """The best log-sigma for the global batch, also averaged into the running one in training.

        It needs no gradient: at the optimum the loss is stationary in sigma.
        """
        squares = gather(error.to(self.log_sigma).flatten(1).square().mean(1))
        fitted = squares.mean().clamp(min=torch.finfo(squares.dtype).eps).log() / 2
        if self.training:
            self.batches_seen += 1
            self.log_sigma += (fitted - self.log_sigma) / self.batches_seen.clamp(max=_MEMORY)
        return fitted

    def loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        """Negative beta-ELBO with one draw an example, the mean over the batch of `(batch, *shape)`, in nats an example.

        Returns:
            `loss` = `reconstruction` + beta * `kl`, where `reconstruction` is the negative log-likelihood, constants included.
        """
        q = self.posterior(batch)
        z = reparameterized(q)
        reconstruction = -self.conditional(z, fit=batch).log_prob(at_least_single(batch)).mean()
        kl = self.divergence(q, self.prior, z).mean()
        return {"loss": reconstruction + self.beta * kl, "reconstruction": reconstruction, "kl": kl}

    def elbo(self, x: Tensor) -> Tensor:
        r"""A lower bound on \( \log p(x) \) (beta = 1) with one latent draw: `(batch, *shape)` -> `(batch,)`, nats."""
        q = self.posterior(x)
        z = reparameterized(q)
        return self.conditional(z).log_prob(at_least_single(x)) - self.divergence(q, self.prior, z)

    @torch.no_grad()
    def log_prob_bound(self, x: Tensor, samples: Positive = 100) -> Tensor:
        r"""The importance-weighted bound, which rises to \( \log p(x) \) with the number of samples; without gradients.

        \[ \log p(x) \ge E \log \frac 1k \sum_{i=1}^k \frac{p(x \mid z_i)\, p(z_i)}{q(z_i \mid x)}, \qquad z_i \sim q(z \mid x) \]

        Arguments:
            x: examples, `(batch, *shape)`.
            samples: \( k \), the number of latent draws for each example; memory does not grow with it.

        Returns:
            `(batch,)`, nats.

        Raises:
            SettingError: there are no samples to average over.

        References:
            Importance Weighted Autoencoders, Burda, Grosse and Salakhutdinov, 2015, https://arxiv.org/abs/1509.00519
        """
        samples = whole(samples, f"log_prob_bound: samples = {show(samples)}", 1)
        total = at_least_single(x.new_full((x.shape[0],), -math.inf))
        if x.shape[0] == 0:
            return total
        q = self.posterior(x)
        step = max(1, _AT_ONCE // x.shape[0])
        for start in range(0, samples, step):
            k = min(step, samples - start)
            z = q.mean[:, None] + q.base_dist.scale[:, None] * noise(
                x.shape[0], k, self.latent_dim, like=x
            )
            flat = z.flatten(0, 1)
            every = at_least_single(x).repeat_interleave(k, 0)
            log_joint = self.conditional(flat).log_prob(every) + self.prior.log_prob(flat)
            log_weights = log_joint.view(-1, k) - q.log_prob(z.transpose(0, 1)).T
            total = torch.logaddexp(total, log_weights.logsumexp(1))
        return total - math.log(samples)

    def model(self, x: Tensor) -> None:
        """The generative half as a pyro program; with `guide`, `pyro.infer.SVI` minimises `loss` (summed over the batch).

        Arguments:
            x: examples, `(batch, *shape)`.

        References:
            Pyro: Deep Universal Probabilistic Programming, Bingham et al., 2018, https://arxiv.org/abs/1810.09538

        Example:
            >>> import pyro
            >>> from pyro.infer import SVI, TraceMeanField_ELBO
            >>> pyro.clear_param_store()
            >>> vae = VAE(latent_dim=2, shape=(1, 8, 8))
            >>> svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), TraceMeanField_ELBO())
            >>> before = svi.step(torch.rand(5, 1, 8, 8))
        """
        import pyro

        pyro.module("vae", self)
        with pyro.plate("batch", x.shape[0]):
            with self._weighted():
                z = pyro.sample("z", pyro_prior(self.prior, self.divergence))
            pyro.sample("x", pyro_distribution(self.conditional(z, fit=x)), obs=x)

    def guide(self, x: Tensor) -> None:
        """The encoder as a pyro program, `(batch, *shape)` -> the latent site `z`."""
        import pyro

        with pyro.plate("batch", x.shape[0]), self._weighted():
            pyro.sample("z", pyro_distribution(self.posterior(x)))

    def _weighted(self) -> Any:
        """The latent site weighs beta; pyro scales by positive numbers only, so a weight of 0 is a mask."""
        from pyro import poutine

        return poutine.scale(scale=self.beta) if self.beta else poutine.mask(mask=False)
