"""Checks of encoders, decoders, critics, and translators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Critic, Decoder, Encoder, Shape, Translator, is_image
from genzoo.testing.subject import EVERY_MODULE, FLOAT, N, Subject, demand

__all__ = [
    "ALWAYS",
    "codes",
    "critic_sizes",
    "data",
    "encoder_sizes",
    "given",
    "outputs",
    "translator_sizes",
]

_DIM = 5


def encoder_sizes(shape: Shape) -> dict[str, Any]:
    """Return the arguments that the owner of an encoder or decoder passes down."""
    return {"shape": shape, "dim": _DIM}


def critic_sizes(shape: Shape) -> dict[str, Any]:
    """Return the arguments that the owner of a critic passes down."""
    return {"shape": shape}


def translator_sizes(shape: Shape) -> dict[str, Any]:
    """Return the arguments that the owner of a translator passes down.

    Gray images become color images, and vice versa.
    """
    if not is_image(shape):
        return {"given_shape": shape, "shape": shape}
    channels = 1 if shape[0] == 3 else 3
    return {"given_shape": (channels, *shape[1:]), "shape": shape}


def data(shape: Shape, like: Tensor) -> tuple[Tensor, ...]:
    """Return a batch of data."""
    return (torch.rand(N, *shape, device=like.device, dtype=like.dtype),)


def codes(shape: Shape, like: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG001
    """Return a batch of latent codes."""
    return (torch.randn(N, _DIM, device=like.device, dtype=like.dtype),)


def given(shape: Shape, like: Tensor) -> tuple[Tensor, ...]:
    """Return a batch of inputs for a translator."""
    return data(translator_sizes(shape)["given_shape"], like)


def outputs(network: Any, x: Tensor) -> dict[str, Tensor]:
    """Return the output for a batch."""
    return {"the output": network(x)}


def check_builds(subject: Subject) -> None:
    """Check that it has the right base class and the requested sizes."""
    network = subject()
    right = isinstance(network, Encoder | Decoder | Critic | Translator)
    demand(
        right,
        f"{type(network).__name__} is not an Encoder, Decoder, Critic, or Translator of "
        "genzoo.contract",
    )
    for name, value in _requested(network, subject.shape).items():
        demand(
            getattr(network, name, None) == value,
            f"its {name} is {getattr(network, name, None)}, not {value}",
        )


def check_forward(subject: Subject) -> None:
    """Check the shape and dtype of the output for batches of several sizes."""
    network = subject()
    for n in (2, N):
        y = network(_batch(subject)[:n])
        shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        expected = (n, *_shape_out(network))
        demand(shape == expected, f"{n} rows become {shape}, not {expected}")
        demand(y.dtype == FLOAT.dtype, f"the output is {y.dtype}, but the input is {FLOAT.dtype}")
        demand(bool(y.isfinite().all()), "the output is not finite")


def check_gradients(subject: Subject) -> None:
    """Check that each parameter and the input get finite gradients."""
    network = subject()
    x = _batch(subject).requires_grad_()
    # A layer that starts at zero would block the gradients.
    with torch.no_grad():
        for p in network.parameters():
            p += 0.01 * torch.randn_like(p)
    y = network(x)
    demand(y.requires_grad, "the output carries no gradient")
    (y * torch.randn_like(y)).sum().backward()
    for name, p in network.named_parameters():
        if p.requires_grad:
            demand(
                p.grad is not None, f"{name} gets no gradient; freeze or remove unused parameters"
            )
            demand(bool(p.grad.isfinite().all()), f"the gradient of {name} is not finite")
    demand(x.grad is not None and bool(x.grad.ne(0).any()), "the input gets no gradient")


@torch.no_grad()
def check_rows(subject: Subject) -> None:
    """Check that, in evaluation mode, an output does not depend on the other examples."""
    network = subject().eval()
    x = _batch(subject)
    others = torch.cat([x[:1], x[1:].flip(0) + 1])
    torch.manual_seed(0)
    first = network(x)[0]
    torch.manual_seed(0)
    again = network(others)[0]
    torch.testing.assert_close(
        first,
        again,
        msg=lambda detail: f"in evaluation mode, an example depends on its neighbors. {detail}",
    )


def check_batch_of_one(subject: Subject) -> None:
    """Check that a batch of one example works in training mode."""
    y = subject()(_batch(subject)[:1])
    demand(bool(y.isfinite().all()), "the output for one example is not finite")


def _batch(subject: Subject) -> Tensor:
    torch.manual_seed(0)
    return subject.inputs(subject.shape, FLOAT)[0]


def _requested(network: Any, shape: Shape) -> dict[str, Any]:
    if isinstance(network, Translator):
        return translator_sizes(shape)
    if isinstance(network, Critic):
        return critic_sizes(shape)
    return encoder_sizes(shape)


def _shape_out(network: Any) -> Shape:
    if isinstance(network, Encoder):
        return (_DIM,)
    if isinstance(network, Critic):
        return ()
    return tuple(network.shape)


ALWAYS = (
    check_builds,
    check_forward,
    check_gradients,
    check_rows,
    check_batch_of_one,
    *EVERY_MODULE,
)
