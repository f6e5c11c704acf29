"""What every prior must do: draws, a density that is theirs and integrates to one, and moments that are true."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Prior, Shape
from genzoo.distributed import emulate_rank
from genzoo.testing.subject import EVERY_MODULE, FLOAT, N, Subject, demand

_MANY = 2**14
_SIGMAS = 6  # of a fair deviation's standard error: one in a billion


def sizes(shape: Shape) -> dict[str, Any]:
    """The number of coordinates stands for the shape of a draw."""
    return {"dim": shape[0]}


def outputs(prior: Prior) -> dict[str, Tensor]:
    """Draws and, where there is a density, theirs."""
    z = prior.sample(N)
    return {
        f"sample({N})": z,
        **({"log_prob(z)": prior.log_prob(z)} if _has_density(prior) else {}),
    }


def check_builds(subject: Subject) -> None:
    """It is a `Prior` of the dimension that it was asked for."""
    prior = subject()
    demand(isinstance(prior, Prior), f"{type(prior).__name__} is not a genzoo.contract.Prior")
    demand(prior.dim == subject.shape[0], f"its dim is {prior.dim}, not {subject.shape[0]}")


def check_sample(subject: Subject) -> None:
    """`sample(n)` is `n` rows of `dim` finite numbers, in the prior's dtype."""
    prior = subject()
    for n in (1, N):
        _check_draws(prior.sample(n), (n, *subject.shape), f"sample({n})")


def check_ranks(subject: Subject) -> None:
    """Two processes draw what one draws: each keeps its own rows of the draws for both."""
    prior = subject()

    def draw(n: int, rank: int, size: int) -> Tensor:
        torch.manual_seed(0)
        with emulate_rank(rank, size):
            return prior.sample(n)

    whole, halves = draw(2 * N, 0, 1), torch.cat([draw(N, rank, 2) for rank in (0, 1)])
    same = whole.shape == halves.shape and torch.allclose(whole, halves)
    demand(
        same,
        "two processes draw other samples than one; take noise from genzoo.distributed.noise and uniform, not from torch",
    )


def check_log_prob(subject: Subject) -> None:
    """`log_prob(z)` is one number a row, finite where the prior draws."""
    prior = subject()
    for n in (1, N):
        values = prior.log_prob(prior.sample(n))
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        demand(shape == (n,), f"log_prob(z) is {shape} for {n} draws, not {(n,)}")
        demand(bool(values.isfinite().all()), "log_prob(z) is not finite for the prior's own draws")


@torch.no_grad()
def check_density(subject: Subject) -> None:
    r"""`log_prob` is the density of the draws: \( \int p = 1 \), and means under it are those of draws.

    By importance sampling from Student's distribution with two degrees of freedom, which is broader than anything sensible.
    """
    prior = subject().double()
    z = prior.sample(_MANY)
    low, middle, high = z.quantile(z.new_tensor([0.1, 0.5, 0.9]), dim=0)
    scale = (high - low).clamp(min=1e-6) / 2
    proposal = torch.distributions.StudentT(z.new_tensor(2.0), middle, scale)
    points = proposal.sample((4 * _MANY,))
    weights = (prior.log_prob(points) - proposal.log_prob(points).sum(1)).exp()
    mass, doubt = weights.mean().item(), _standard_error(weights[:, None]).item()
    demand(
        abs(mass - 1) < _SIGMAS * doubt + 1e-3,
        f"exp(log_prob) integrates to {mass:.4g} (+- {doubt:.2g}), not to 1",
    )
    drawn, under = (
        _features((z - middle) / scale),
        weights[:, None] * _features((points - middle) / scale),
    )
    gap, error = (
        (drawn.mean(0) - under.mean(0)).abs(),
        _standard_error(drawn) + _standard_error(under),
    )
    demand(
        bool((gap < _SIGMAS * error + 1e-3).all()),
        "draws do not follow exp(log_prob): means under the two differ",
    )


@torch.no_grad()
def check_variance(subject: Subject) -> None:
    """`variance` is that of the draws, in each coordinate."""
    prior = subject().double()
    stated, z = prior.variance, prior.sample(_MANY)
    demand(
        stated.shape == subject.shape,
        f"variance has shape {tuple(stated.shape)}, not {subject.shape}",
    )
    squares = (z - z.mean(0)).square()
    found, error = squares.mean(0), _standard_error(squares)
    close = (found - stated).abs() < _SIGMAS * error + 1e-2 * found
    demand(
        bool(close.all()),
        f"variance is {stated.tolist()}, where {_MANY} draws have {found.tolist()}",
    )


@torch.no_grad()
def check_strata(subject: Subject) -> None:
    """`strata(n)` has `n` draws at least, `(K, m, dim)`, and weights `(K,)` that sum to 1; together they are the prior's."""
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
    drawn = prior.sample(_MANY)
    scale = drawn.std() + 1e-6
    inside, plain = (
        _features(z.flatten(0, 1) / scale).unflatten(0, z.shape[:2]),
        _features(drawn / scale),
    )
    error = _standard_error(plain) + torch.einsum(
        "k,kd->d", weights, torch.stack([*map(_standard_error, inside)])
    )
    gap = ((weights[:, None] * inside.mean(1)).sum(0) - plain.mean(0)).abs()
    demand(
        bool((gap < _SIGMAS * error + 1e-3).all()),
        "means over strata(n) are not those over sample(n)",
    )


def check_truncated(subject: Subject) -> None:
    """`truncated(n, threshold)` is `n` rows like `sample(n)`."""
    prior = subject()
    for n in (1, N):
        _check_draws(prior.truncated(n, 0.5), (n, *subject.shape), f"truncated({n}, 0.5)")


@torch.no_grad()
def check_gaussians(subject: Subject) -> None:
    """`gaussians()` are the weights, means and standard deviations of a mixture whose density is `log_prob`."""
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
        msg=lambda detail: f"log_prob is not that of gaussians(). {detail}",
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
    """Bounded functions of each coordinate, odd and even, and of products of neighbors: `(n, dim)` -> `(n, 3 * dim)`."""
    t = z.tanh()
    return torch.cat([t, t.square(), t * t.roll(1, dims=1)], dim=1)


def _standard_error(x: Tensor) -> Tensor:
    """Of the mean over rows; unbiased or not makes no difference."""
    return x.std(0, correction=0) / len(x) ** 0.5


ALWAYS = (check_builds, check_sample, check_ranks, check_strata, *EVERY_MODULE)
OPTIONAL = {
    "log_prob": (check_log_prob, check_density),
    "variance": (check_variance,),
    "truncated": (check_truncated,),
    "gaussians": (check_gaussians,),
}
