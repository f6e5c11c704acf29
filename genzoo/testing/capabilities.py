"""What a model must do that has a method, `encode` or `log_prob` or another: its promise, under the name of the method."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Model, Shape, has_capability, is_image
from genzoo.testing.subject import N, Subject, demand


def check_log_prob(subject: Subject) -> None:
    """`log_prob(x)` is one number an example."""
    _check_numbers(subject().eval(), "log_prob")


def check_elbo(subject: Subject) -> None:
    """`elbo(x)` is one number an example."""
    _check_numbers(subject().eval(), "elbo")


def check_log_prob_bound(subject: Subject) -> None:
    """`log_prob_bound(x, samples)` is one number an example."""
    _check_numbers(subject().eval(), "log_prob_bound", samples=3)


def check_bits_per_dim(subject: Subject) -> None:
    """`bits_per_dim(x)` is one number an example."""
    _check_numbers(subject().eval(), "bits_per_dim")


def check_score(subject: Subject) -> None:
    """`score(x)`, a critic's, is one number an example."""
    _check_numbers(subject().eval(), "score")


def check_score_samples(subject: Subject) -> None:
    """`score_samples(x)` is one number an example, without gradients."""
    model: Any = subject().eval()
    _check_numbers(model, "score_samples")
    demand(
        not model.score_samples(*_arguments(model, N)).requires_grad,
        "score_samples(x) carries gradients",
    )


def check_conditionals(subject: Subject) -> None:
    """`conditionals(x)` has a distribution for each number of an example."""
    model: Any = subject().eval()
    for n in (1, N):
        shape, expected = model.conditionals(*_arguments(model, n)).batch_shape, (n, *model.shape)
        demand(shape == expected, f"conditionals(x) has batch shape {tuple(shape)}, not {expected}")


def check_complete(subject: Subject) -> None:
    """`complete(x, mask)` is data like x, equal to it where the mask is True."""
    model: Any = subject().eval()
    for n in (1, N):
        x, *given = _arguments(model, n)
        mask = torch.rand(model.shape, device=x.device) < 0.5
        found = model.complete(x, mask, *given)
        check_data(model, found, n, "complete(x, mask)")
        demand(torch.equal(found[:, mask], x[:, mask]), "complete(x, mask) changes what is kept")
        demand(not found.requires_grad, "completions carry gradients")


def check_encode(subject: Subject) -> None:
    """`encode(x)` is a finite tensor with one row an example."""
    model: Any = subject().eval()
    for n in (1, N):
        z = model.encode(model.example(n))
        demand(
            isinstance(z, Tensor),
            f"encode(x) is a {type(z).__name__}, not a tensor; a distribution belongs to posterior(x)",
        )
        demand(len(z) == n, f"encode(x) has shape {tuple(z.shape)} for {n} examples")
        demand(bool(z.isfinite().all()), "encode(x) is not finite")


def check_posterior(subject: Subject) -> None:
    """`posterior(x)` is a distribution for each example, on what `encode` gives."""
    model: Any = subject().eval()
    for n in (1, N):
        x = model.example(n)
        distribution, code = model.posterior(x), model.encode(x)
        z = distribution.sample()
        demand(
            z.shape == code.shape,
            f"posterior(x) draws {tuple(z.shape)}, where encode(x) is {tuple(code.shape)}",
        )
        demand(
            distribution.log_prob(z).shape == (n,),
            f"posterior(x).log_prob(z) is {tuple(distribution.log_prob(z).shape)}, not {(n,)}",
        )


def check_decode(subject: Subject) -> None:
    """`decode(z)` is data, for codes of the encoder or else of the prior."""
    model: Any = subject().eval()
    for n in (1, N):
        z = (
            model.encode(model.example(n))
            if has_capability(model, "encode")
            else model.prior.sample(n)
        )
        check_data(model, model.decode(z), n, "decode(z)")


def check_reconstruct(subject: Subject) -> None:
    """`reconstruct(x)` is data like x."""
    model: Any = subject().eval()
    for n in (1, N):
        check_data(model, model.reconstruct(model.example(n)), n, "reconstruct(x)")


def check_translate(subject: Subject) -> None:
    """`translate(x)` is data, from data of `given_shape`; with `reverse=True`, where it can, the other way round."""
    model: Any = subject().eval()
    ways: dict[str, Any] = {"translate(x)": (model.given_shape, model.shape, {})}
    if model.can_reverse:
        ways["translate(x, reverse=True)"] = (model.shape, model.given_shape, {"reverse": True})
    for n in (1, N):
        for what, (source, target, settings) in ways.items():
            x = torch.rand(
                n, *source, device=model.reference_tensor.device, dtype=model.reference_tensor.dtype
            )
            check_data(model, model.translate(x, **settings), n, what, target)


def check_text(subject: Subject) -> None:
    """`text(x)` is a line for each sample."""
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
    """Data as a model must take and give it; of its own shape unless another is meant."""
    shape = model.shape if shape is None else shape
    demand(isinstance(x, Tensor), f"{what} is a {type(x).__name__}, not a tensor")
    demand(x.shape == (n, *shape), f"{what} has shape {tuple(x.shape)}, not {(n, *shape)}")
    like = model.reference_tensor
    place, own = f"{x.dtype} on {x.device}", f"{like.dtype} on {like.device}"
    demand(place == own, f"{what} is {place}, where the model is {own}")
    demand(bool(x.isfinite().all()), f"{what} is not finite")
    if is_image(shape):
        low, high = x.min().item(), x.max().item()
        demand(low >= 0 and high <= 1, f"{what} spans {low:g} to {high:g}; images are in [0, 1]")


def _arguments(model: Model, n: int) -> tuple[Any, ...]:
    """Made-up examples and, for a conditional model, what they are given."""
    x, given = model.unpack(model.example(n))
    return (x,) if given is None else (x, given)


def _check_numbers(model: Model, name: str, **settings: int) -> None:
    for n in (1, N):
        values = getattr(model, name)(*_arguments(model, n), **settings)
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        demand(shape == (n,), f"{name}(x) is {shape} for {n} examples, not {(n,)}")
        demand(not values.isnan().any(), f"{name}(x) is not a number")


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
