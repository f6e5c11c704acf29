"""Checks of the capabilities of models, such as `encode` and `log_prob`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Model, Shape, conditions, has_capability, is_image
from genzoo.testing.subject import N, Subject, demand

__all__ = ["CAPABILITIES", "check_data"]


def check_log_prob(subject: Subject) -> None:
    """Check that `log_prob(x)` returns one number per example."""
    _check_numbers(subject().eval(), "log_prob")


def check_elbo(subject: Subject) -> None:
    """Check that `elbo(x)` returns one number per example."""
    _check_numbers(subject().eval(), "elbo")


def check_log_prob_bound(subject: Subject) -> None:
    """Check that `log_prob_bound(x, samples)` returns one number per example."""
    _check_numbers(subject().eval(), "log_prob_bound", samples=3)


def check_bits_per_dim(subject: Subject) -> None:
    """Check that `bits_per_dim(x)` returns one number per example."""
    _check_numbers(subject().eval(), "bits_per_dim")


def check_score(subject: Subject) -> None:
    """Check that `score(x)`, the critic's score, returns one number per example."""
    _check_numbers(subject().eval(), "score")


def check_score_samples(subject: Subject) -> None:
    """Check that `score_samples(x)` returns one number per example, without gradients."""
    model: Any = subject().eval()
    _check_numbers(model, "score_samples")
    x, given = _arguments(model, N)
    demand(
        not model.score_samples(x, **given).requires_grad,
        "score_samples(x) carries gradients",
    )


def check_conditionals(subject: Subject) -> None:
    """Check that `conditionals(x)` returns a distribution for each number of an example."""
    model: Any = subject().eval()
    for n in (1, N):
        x, given = _arguments(model, n)
        shape, expected = model.conditionals(x, **given).batch_shape, (n, *model.shape)
        demand(shape == expected, f"conditionals(x) has batch shape {tuple(shape)}, not {expected}")


def check_complete(subject: Subject) -> None:
    """Check that `complete(x, mask)` returns data that equal x where the mask is True."""
    model: Any = subject().eval()
    for n in (1, N):
        x, given = _arguments(model, n)
        mask = torch.rand(model.shape, device=x.device) < 0.5
        completed = model.complete(x, mask, **given)
        check_data(model, completed, n, "complete(x, mask)")
        demand(
            torch.equal(completed[:, mask], x[:, mask]),
            "complete(x, mask) changes numbers where the mask is True",
        )
        demand(not completed.requires_grad, "completions carry gradients")


def check_encode(subject: Subject) -> None:
    """Check that `encode(x)` returns a finite tensor with one row per example."""
    model: Any = subject().eval()
    for n in (1, N):
        x, given = _arguments(model, n)
        z = model.encode(x, **given)
        demand(
            isinstance(z, Tensor),
            f"encode(x) is a {type(z).__name__}, not a tensor; return a distribution from "
            "posterior(x)",
        )
        demand(len(z) == n, f"encode(x) has shape {tuple(z.shape)} for {n} examples")
        demand(bool(z.isfinite().all()), "encode(x) is not finite")


def check_posterior(subject: Subject) -> None:
    """Check that `posterior(x)` returns one distribution per example, of the latent codes."""
    model: Any = subject().eval()
    for n in (1, N):
        x, given = _arguments(model, n)
        distribution, code = model.posterior(x, **given), model.encode(x, **given)
        z = distribution.sample()
        demand(
            z.shape == code.shape,
            f"posterior(x) samples {tuple(z.shape)}, but encode(x) is {tuple(code.shape)}",
        )
        demand(
            distribution.log_prob(z).shape == (n,),
            f"posterior(x).log_prob(z) is {tuple(distribution.log_prob(z).shape)}, not {(n,)}",
        )


def check_decode(subject: Subject) -> None:
    """Check that `decode(z)` returns data, for codes of the encoder, or else of the prior."""
    model: Any = subject().eval()
    for n in (1, N):
        x, given = _arguments(model, n)
        z = model.encode(x, **given) if has_capability(model, "encode") else model.prior.sample(n)
        check_data(model, model.decode(z, **given), n, "decode(z)")


def check_reconstruct(subject: Subject) -> None:
    """Check that `reconstruct(x)` returns data like x."""
    model: Any = subject().eval()
    for n in (1, N):
        x, given = _arguments(model, n)
        check_data(model, model.reconstruct(x, **given), n, "reconstruct(x)")


def check_translate(subject: Subject) -> None:
    """Check that `translate(x)` returns data, from data of `given_shape`.

    If the model has `can_reverse`, check `reverse=True` as well.
    """
    model: Any = subject().eval()
    directions: dict[str, Any] = {"translate(x)": (model.given_shape, model.shape, {})}
    if model.can_reverse:
        reversed_shapes = (model.shape, model.given_shape)
        directions["translate(x, reverse=True)"] = (*reversed_shapes, {"reverse": True})
    like = model.reference_tensor
    for n in (1, N):
        for call, (source, target, settings) in directions.items():
            x = torch.rand(n, *source, device=like.device, dtype=like.dtype)
            check_data(model, model.translate(x, **settings), n, call, target)


def check_text(subject: Subject) -> None:
    """Check that `text(x)` returns a line for each sample."""
    model: Any = subject().eval()
    for n in (1, N):
        lines = model.text(model.sample(n, model.unpack(model.example(n))[1]))
        right = (
            isinstance(lines, list)
            and len(lines) == n
            and all(isinstance(line, str) for line in lines)
        )
        demand(right, f"text(x) of {n} samples is {lines!r}, not a list of {n} strings")


def check_data(model: Model, x: Any, n: int, what: str, shape: Shape | None = None) -> None:
    """Check that data have the right shape, dtype, device, and range.

    Arguments:
        model: the model that returned the data.
        x: the data.
        n: the expected number of rows.
        what: the call that returned the data, for messages.
        shape: the expected shape of a row; by default, the model's shape.
    """
    shape = model.shape if shape is None else shape
    demand(isinstance(x, Tensor), f"{what} is a {type(x).__name__}, not a tensor")
    demand(x.shape == (n, *shape), f"{what} has shape {tuple(x.shape)}, not {(n, *shape)}")
    like = model.reference_tensor
    actual, expected = f"{x.dtype} on {x.device}", f"{like.dtype} on {like.device}"
    demand(actual == expected, f"{what} is {actual}, but the model is {expected}")
    demand(bool(x.isfinite().all()), f"{what} is not finite")
    if is_image(shape):
        low, high = x.min().item(), x.max().item()
        demand(low >= 0 and high <= 1, f"{what} spans {low:g} to {high:g}; images are in [0, 1]")


def _arguments(model: Model, n: int) -> tuple[Any, dict[str, Any]]:
    """Return random examples and, for a conditional model, their condition, `given`."""
    x, given = model.unpack(model.example(n))
    return x, conditions(given)


def _check_numbers(model: Model, name: str, **settings: int) -> None:
    for n in (1, N):
        x, given = _arguments(model, n)
        values = getattr(model, name)(x, **settings, **given)
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        demand(shape == (n,), f"{name}(x) is {shape} for {n} examples, not {(n,)}")
        demand(not values.isnan().any(), f"{name}(x) is NaN")


CAPABILITIES = {
    "log_prob": (check_log_prob,),
    "elbo": (check_elbo,),
    "log_prob_bound": (check_log_prob_bound,),
    "bits_per_dim": (check_bits_per_dim,),
    "score": (check_score,),
    "score_samples": (check_score_samples,),
    "conditionals": (check_conditionals,),
    "complete": (check_complete,),
    "encode": (check_encode,),
    "posterior": (check_posterior,),
    "decode": (check_decode,),
    "reconstruct": (check_reconstruct,),
    "translate": (check_translate,),
    "text": (check_text,),
}
"""Method -> its checks."""
