"""Checks of priors: their samples, density, and moments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Prior, Shape
from genzoo.distributed import emulate_rank
from genzoo.testing.subject import EVERY_MODULE, FLOAT, N, Subject, demand

__all__ = ["ALWAYS", "OPTIONAL", "outputs", "sizes"]

_MANY = 2**14
_SIGMAS = 6
"""The largest deviation in standard errors; a larger one has a probability of one in a billion."""


def sizes(shape: Shape) -> dict[str, Any]:
    """Return the constructor arguments for samples of a shape."""
    return {"dim": shape[0]}


def outputs(prior: Prior) -> dict[str, Tensor]:
    """Return samples and, if the prior has a density, their log-densities."""
    z = prior.sample(N)
    values = {f"sample({N})": z}
    if _has_density(prior):
        values["log_prob(z)"] = prior.log_prob(z)
    return values


def check_builds(subject: Subject) -> None:
    """Check that it is a `Prior` of the requested dimension."""
    prior = subject()
    demand(isinstance(prior, Prior), f"{type(prior).__name__} is not a genzoo.contract.Prior")
    demand(prior.dim == subject.shape[0], f"its dim is {prior.dim}, not {subject.shape[0]}")


def check_sample(subject: Subject) -> None:
    """Check that `sample(n)` returns finite numbers, `(n, dim)`, in the prior's dtype."""
    prior = subject()
    for n in (1, N):
        _check_draws(prior.sample(n), (n, *subject.shape), f"sample({n})")


def check_ranks(subject: Subject) -> None:
    """Check that two processes draw the same samples as one: each keeps its share of the rows."""
    prior = subject()

    def draw(n: int, rank: int, size: int) -> Tensor:
        torch.manual_seed(0)
        with emulate_rank(rank, size):
            return prior.sample(n)

    whole, halves = draw(2 * N, 0, 1), torch.cat([draw(N, rank, 2) for rank in (0, 1)])
    same = whole.shape == halves.shape and torch.allclose(whole, halves)
    demand(
        same,
        "two processes draw other samples than one; use genzoo.distributed.noise and uniform, "
        "not the random functions of torch",
    )


def check_log_prob(subject: Subject) -> None:
    """Check that `log_prob(z)` returns one finite number per sample of the prior."""
    prior = subject()
    for n in (1, N):
        values = prior.log_prob(prior.sample(n))
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        demand(shape == (n,), f"log_prob(z) is {shape} for {n} samples, not {(n,)}")
        demand(bool(values.isfinite().all()), "log_prob(z) is not finite for the prior's samples")


@torch.no_grad()
def check_density(subject: Subject) -> None:
    r"""Check that `log_prob` is the density of the samples.

    It must integrate to 1, and means under it must equal the means of samples. Both are estimated
    by importance sampling from Student's t-distribution with two degrees of freedom, which has
    heavier tails than any reasonable prior.
    """
    prior = subject().double()
    z = prior.sample(_MANY)
    low, middle, high = z.quantile(z.new_tensor([0.1, 0.5, 0.9]), dim=0)
    scale = (high - low).clamp(min=1e-6) / 2
    proposal = torch.distributions.StudentT(z.new_tensor(2.0), middle, scale)
    points = proposal.sample((4 * _MANY,))
    weights = (prior.log_prob(points) - proposal.log_prob(points).sum(1)).exp()
    mass, mass_error = weights.mean().item(), _standard_error(weights[:, None]).item()
    demand(
        abs(mass - 1) < _SIGMAS * mass_error + 1e-3,
        f"exp(log_prob) integrates to {mass:.4g} (+- {mass_error:.2g}), not to 1",
    )
    sampled = _features((z - middle) / scale)
    weighted = weights[:, None] * _features((points - middle) / scale)
    gap = (sampled.mean(0) - weighted.mean(0)).abs()
    error = _standard_error(sampled) + _standard_error(weighted)
    demand(
        bool((gap < _SIGMAS * error + 1e-3).all()),
        "samples do not follow exp(log_prob): means under the two differ",
    )


@torch.no_grad()
def check_variance(subject: Subject) -> None:
    """Check that `variance` is the variance of the samples in each coordinate."""
    prior = subject().double()
    stated, z = prior.variance, prior.sample(_MANY)
    demand(
        stated.shape == subject.shape,
        f"variance has shape {tuple(stated.shape)}, not {subject.shape}",
    )
    squares = (z - z.mean(0)).square()
    measured, error = squares.mean(0), _standard_error(squares)
    close = (measured - stated).abs() < _SIGMAS * error + 1e-2 * measured
    demand(
        bool(close.all()),
        f"variance is {stated.tolist()}, but {_MANY} samples have {measured.tolist()}",
    )


@torch.no_grad()
def check_strata(subject: Subject) -> None:
    """Check that `strata(n)` returns at least n samples, and weights that sum to 1.

    The samples are `(K, m, dim)`, and the weights `(K,)`. The weighted samples must have the same
    means as those of `sample(n)`.
    """
    prior = subject().double()
    for n in (1, N, _MANY):
        z, weights = prior.strata(n)
        right = (
            z.dim() == 3
            and z.shape[2:] == subject.shape
            and weights.shape == z.shape[:1]
            and z[..., 0].numel() >= n
        )
        demand(right, f"strata({n}) has shapes {tuple(z.shape)} and {tuple(weights.shape)}")
        demand(
            abs(weights.sum().item() - 1) < 1e-6,
            f"the weights of strata({n}) sum to {weights.sum().item():g}",
        )
    samples = prior.sample(_MANY)
    scale = samples.std() + 1e-6
    stratified = _features(z.flatten(0, 1) / scale).unflatten(0, z.shape[:2])
    plain = _features(samples / scale)
    errors = torch.stack([*map(_standard_error, stratified)])
    error = _standard_error(plain) + torch.einsum("k,kd->d", weights, errors)
    gap = ((weights[:, None] * stratified.mean(1)).sum(0) - plain.mean(0)).abs()
    demand(
        bool((gap < _SIGMAS * error + 1e-3).all()),
        "means over strata(n) differ from means over sample(n)",
    )


def check_truncated(subject: Subject) -> None:
    """Check that `truncated(n, threshold)` returns rows like `sample(n)`."""
    prior = subject()
    for n in (1, N):
        _check_draws(prior.truncated(n, 0.5), (n, *subject.shape), f"truncated({n}, 0.5)")


@torch.no_grad()
def check_gaussians(subject: Subject) -> None:
    """Check that `gaussians()` describes a mixture whose density is `log_prob`.

    It returns the weights, means, and standard deviations of the components.
    """
    prior = subject().double()
    weights, means, scales = prior.gaussians()
    z = prior.sample(N)
    distributions = torch.distributions.Independent(
        torch.distributions.Normal(means, scales.expand_as(means)), 1
    )
    expected = (weights.log() + distributions.log_prob(z[:, None])).logsumexp(1)
    torch.testing.assert_close(
        prior.log_prob(z),
        expected,
        msg=lambda detail: f"log_prob is not the density of gaussians(). {detail}",
        rtol=1e-6,
        atol=1e-6,
    )


def _has_density(prior: Prior) -> bool:
    return type(prior).log_prob is not Prior.log_prob


def _check_draws(z: Tensor, shape: Shape, what: str) -> None:
    demand(
        isinstance(z, Tensor) and z.shape == shape,
        f"{what} has shape {tuple(getattr(z, 'shape', ()))}, not {shape}",
    )
    demand(z.dtype == FLOAT.dtype, f"{what} is {z.dtype}, not {FLOAT.dtype}")
    demand(bool(z.isfinite().all()), f"{what} is not finite")


def _features(z: Tensor) -> Tensor:
    """Compute bounded functions of coordinates, `(n, dim)` -> `(n, 3 * dim)`.

    They are odd and even functions of each coordinate, and products of neighboring coordinates.
    """
    t = z.tanh()
    return torch.cat([t, t.square(), t * t.roll(1, dims=1)], dim=1)


def _standard_error(x: Tensor) -> Tensor:
    """Return the standard error of the mean over rows."""
    return x.std(0, correction=0) / len(x) ** 0.5


ALWAYS = (check_builds, check_sample, check_ranks, check_strata, *EVERY_MODULE)
"""The checks of every prior."""
OPTIONAL = {
    "log_prob": (check_log_prob, check_density),
    "variance": (check_variance,),
    "truncated": (check_truncated,),
    "gaussians": (check_gaussians,),
}
"""Method -> the checks of priors that define it."""
