"""Annealed importance sampling: lower and upper bounds on the likelihood of latent models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.blocks.precision import at_least_single
from genzoo.contract import Evidence, Measurement, Positive, conditions
from genzoo.metrics.likelihood import Values, basis_of
from genzoo.metrics.one_input import OneInput, first_rows

__all__ = ["AIS", "ais_lower_bound", "ais_upper_bound"]

_ACCEPTANCE = 0.65
"""The acceptance rate of Hamiltonian Monte Carlo that the trial run aims at."""
_FIRST_STEP = 0.3
"""The first step size, in standard deviations of q(z | x)."""
_SLOPE = 4.0
"""The slope of the sigmoid schedule, which has more temperatures near both ends."""


def ais_lower_bound(
    model: Any,
    x: Tensor,
    *,
    steps: Positive = 100,
    chains: Positive = 4,
    leapfrog: Positive = 5,
    given: Tensor | None = None,
) -> Tensor:
    r"""Estimate a lower bound on the log-likelihood by annealed importance sampling.

    \[ \log p(x) \ge E \log \frac 1K \sum_k w_k, \qquad
       \log w = \sum_{t=1}^T (\beta_t - \beta_{t-1})\, r(z_{t-1}), \qquad
       r(z) = \log \frac{p(x \mid z)\, p(z)}{q(z \mid x)} \]

    A chain starts from \( q(z \mid x) \). Between the terms, Hamiltonian Monte Carlo moves it
    without changing the distribution \( f_t \propto q\, e^{\beta_t r} \), from \( q \) at
    \( \beta = 0 \) to the posterior at \( \beta = 1 \). A single step is the importance-weighted
    bound. The bound rises to \( \log p(x) \) with the number of steps. A trial run chooses the step
    sizes, so they do not depend on the chains of the estimate, which would bias it.

    Arguments:
        model: a model with `prior`, `posterior(x)`, and `conditional(z)`, the distribution
            \( p(x \mid z) \).
        x: examples, `(batch, *shape)`.
        steps: the number of temperatures \( T \).
        chains: the number of chains \( K \) for each example.
        leapfrog: the number of gradients in each move.
        given: the condition of each example, if the model is conditional.

    Returns:
        `(batch,)`, in nats, in float64.

    References:
        Annealed Importance Sampling, Radford Neal, 2001, https://arxiv.org/abs/physics/9803008
        On the Quantitative Analysis of Decoder-Based Generative Models, Yuhuai Wu et al., 2017,
            https://arxiv.org/abs/1611.04273

    Example:
        >>> from genzoo import build
        >>> vae = build("vae", shape=(2,)).eval()
        >>> ais_lower_bound(vae, torch.rand(3, 2), steps=5).shape
        torch.Size([3])
    """
    path = _Path(model, x, chains, given)
    sizes = path.step_sizes(steps, leapfrog)
    z, log_weight = path.start(), path.zeros()
    betas = _schedule(steps)
    for t in range(1, steps + 1):
        log_weight += (betas[t] - betas[t - 1]) * path.log_ratio(z)
        if t < steps:
            z, _ = path.move(z, betas[t], sizes[t], leapfrog)
    return log_weight.logsumexp(dim=0) - math.log(chains)


def ais_upper_bound(
    model: Any,
    x: Tensor,
    z: Tensor,
    *,
    steps: Positive = 100,
    chains: Positive = 4,
    leapfrog: Positive = 5,
    given: Tensor | None = None,
) -> Tensor:
    r"""Estimate an upper bound on the log-likelihood of simulated examples.

    \[ \log p(x) \le -E \log \frac 1K \sum_k \frac 1{w_k} \]

    The chains of `ais_lower_bound` run backwards, from an exact sample of the posterior. It is
    known for examples that the model has generated: the latent code z of x. Together with the lower
    bound, it encloses the likelihood (bidirectional Monte Carlo).

    Arguments:
        model: as in `ais_lower_bound`.
        x: examples drawn from `model.conditional(z)`, `(batch, *shape)`.
        z: codes drawn from the prior, `(batch, latent_dim)`.
        steps: the number of temperatures \( T \).
        chains: the number of chains \( K \) for each example.
        leapfrog: the number of gradients in each move.
        given: the condition of each example, if the model is conditional.

    Returns:
        `(batch,)`, in nats, in float64.

    References:
        Sandwiching the Marginal Likelihood Using Bidirectional Monte Carlo, Roger Grosse, Zoubin
            Ghahramani and Ryan Adams, 2015, https://arxiv.org/abs/1511.02543

    Example:
        >>> from genzoo import build
        >>> vae = build("vae", shape=(2,)).eval()
        >>> z = vae.prior.sample(3)
        >>> ais_upper_bound(vae, vae.conditional(z).sample(), z, steps=5).shape
        torch.Size([3])
    """
    path = _Path(model, x, chains, given)
    sizes = path.step_sizes(steps, leapfrog)
    codes, log_weight = z.expand(chains, *z.shape), path.zeros()
    betas = _schedule(steps)
    for t in range(steps, 0, -1):
        if t < steps:
            codes, _ = path.move(codes, betas[t], sizes[t], leapfrog)
        log_weight += (betas[t] - betas[t - 1]) * path.log_ratio(codes)
    return math.log(chains) - (-log_weight).logsumexp(dim=0)


def _schedule(steps: int) -> list[float]:
    """Return the temperatures from 0 to 1, with smaller steps near both ends."""
    if steps == 1:
        return [0.0, 1.0]
    sigmoid = torch.linspace(-_SLOPE, _SLOPE, steps + 1, dtype=torch.float64).sigmoid()
    return ((sigmoid - sigmoid[0]) / (sigmoid[-1] - sigmoid[0])).tolist()


class _Path:
    """The distributions between q(z | x) and the posterior, for chains of a batch of examples."""

    def __init__(self, model: Any, x: Tensor, chains: int, given: Tensor | None) -> None:
        self.model, self.x, self.chains = model, at_least_single(x), chains
        self.condition = conditions(None if given is None else given.repeat(chains))
        with torch.no_grad():
            self.q = model.posterior(x, **conditions(given))
            self.scale = self.q.stddev

    def start(self) -> Tensor:
        """Draw the first codes, `(chains, batch, dim)`."""
        with torch.no_grad():
            return self.q.sample((self.chains,))

    def zeros(self) -> Tensor:
        return torch.zeros(self.chains, len(self.x), dtype=torch.float64, device=self.x.device)

    def log_ratio(self, z: Tensor) -> Tensor:
        """Return log p(x, z) - log q(z | x), float64 `(chains, batch)`."""
        flat = z.flatten(0, 1)
        x = self.x.repeat(self.chains, *[1] * (self.x.ndim - 1))
        conditional = self.model.conditional(flat, **self.condition)
        likelihood = conditional.log_prob(x) + self.model.prior.log_prob(flat)
        return likelihood.view(self.chains, -1).double() - self.q.log_prob(z).double()

    def step_sizes(self, steps: int, leapfrog: int) -> list[Tensor]:
        """Return step sizes for each temperature and example, from a trial run."""
        z, betas = self.start(), _schedule(steps)
        size = torch.full((len(self.x),), _FIRST_STEP, dtype=z.dtype, device=z.device)
        sizes = [size]
        for t in range(1, steps):
            z, acceptance = self.move(z, betas[t], size, leapfrog)
            sizes.append(size)
            size = size * (acceptance - _ACCEPTANCE).exp()
        return sizes

    def move(self, z: Tensor, beta: float, size: Tensor, leapfrog: int) -> tuple[Tensor, Tensor]:
        """Move chains by Hamiltonian Monte Carlo, which leaves q exp(beta * ratio) invariant.

        Arguments:
            z: the codes, `(chains, batch, dim)`.
            beta: the temperature.
            size: the step sizes in standard deviations of q(z | x), `(batch,)`.
            leapfrog: the number of leapfrog steps.

        Returns:
            The new codes, and the mean acceptance rate of each example.
        """
        stride = size[:, None] * self.scale
        momentum = torch.randn_like(z)
        energy, slope = self._energy(z, beta)
        start = energy + momentum.double().square().sum(dim=2) / 2
        moved = z
        momentum = momentum - stride / 2 * slope
        for i in range(leapfrog):
            moved = moved + stride * momentum
            energy, slope = self._energy(moved, beta)
            momentum = momentum - (stride / 2 if i == leapfrog - 1 else stride) * slope
        end = energy + momentum.double().square().sum(dim=2) / 2
        # Not a number: the trajectory has diverged, so it is rejected.
        rate = (start - end).clamp(max=0).exp().nan_to_num(0.0)
        accepted = torch.rand_like(rate) < rate
        return torch.where(accepted[..., None], moved, z), rate.mean(dim=0).to(size.dtype)

    @torch.inference_mode(mode=False)
    @torch.enable_grad()
    def _energy(self, z: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """Return the negative log-density `(chains, batch)`, and its gradient."""
        z = z.detach().clone().requires_grad_()
        energy = -self.q.log_prob(z).double() - beta * self.log_ratio(z)
        (slope,) = torch.autograd.grad(energy.sum(), z)
        return energy.detach(), slope


class AIS(OneInput):
    r"""Bounds on the log-likelihood by annealed importance sampling, with their error.

    The lower bound on held-out examples is tighter than the ELBO and the importance-weighted bound.
    For examples that the model generates, an exact posterior sample is known. It gives an upper
    bound, and the gap between both ends shows how tight the bounds are. It takes minutes, so
    `genzoo.evaluate` measures it only if it is named.

    See `ais_lower_bound` and `ais_upper_bound`.

    Arguments:
        limit: the largest number of held-out examples, and of simulated ones.
        steps: the number of temperatures.
        chains: the number of chains for each example.
        leapfrog: the number of gradients in each move.

    Returns:
        `lower_bound`, for held-out examples;
        `simulated_lower_bound`, `simulated_upper_bound`, and their difference `gap`, for examples
            that the model generates. All are means in nats, with standard errors.

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(1, 8, 8))
        >>> rows = evaluate(vae, "digits", AIS(limit=5, steps=3, chains=2))
        >>> [row.quantity for row in rows]
        ['lower_bound', 'simulated_lower_bound', 'simulated_upper_bound', 'gap']
    """

    needs: ClassVar[tuple[str, ...]] = ("posterior", "prior", "conditional")
    on_request: ClassVar[bool] = True

    def __init__(
        self,
        limit: Positive = 20,
        *,
        steps: Positive = 30,
        chains: Positive = 4,
        leapfrog: Positive = 3,
    ) -> None:
        self.limit, self.steps, self.chains, self.leapfrog = limit, steps, chains, leapfrog

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        model: Any = evidence.model
        settings: dict[str, Any] = {
            "steps": self.steps,
            "chains": self.chains,
            "leapfrog": self.leapfrog,
        }
        lower, simulated, upper = [], [], []
        values = Values()
        for x, condition in first_rows(evidence.conditioned(), self.limit):
            values.read(x)
            lower.append(ais_lower_bound(model, x, **settings, **condition))
            z = model.prior.sample(len(x))
            generated = model.conditional(z, **condition).sample()
            simulated.append(ais_lower_bound(model, generated, **settings, **condition))
            upper.append(ais_upper_bound(model, generated, z, **settings, **condition))
        bounds = [torch.cat(parts).cpu() for parts in (lower, simulated, upper)]
        basis, ranks = basis_of(model, values)
        directions = (True if ranks else None, None, None, False)
        names = ("lower_bound", "simulated_lower_bound", "simulated_upper_bound", "gap")
        for name, nats, higher in zip(
            names, [*bounds, bounds[2] - bounds[1]], directions, strict=True
        ):
            row = Measurement.from_examples(name, nats, higher_is_better=higher)
            yield replace(
                row,
                basis=basis if name == "lower_bound" else None,
                estimator=f"AIS, {self.steps} steps, {self.chains} chains, "
                f"{self.leapfrog} leapfrog steps",
            )
