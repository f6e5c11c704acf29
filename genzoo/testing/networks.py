"""What every encoder, decoder, critic and translator must do: shapes, gradients, and rows that do not mix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Critic, Decoder, Encoder, Shape, Translator, is_image
from genzoo.testing.subject import EVERY_MODULE, FLOAT, N, Subject, demand

_DIM = 5


def encoder_sizes(shape: Shape) -> dict[str, Any]:
    """What the owner of an encoder or a decoder hands down."""
    return {"shape": shape, "dim": _DIM}


def critic_sizes(shape: Shape) -> dict[str, Any]:
    """What the owner of a critic hands down."""
    return {"shape": shape}


def translator_sizes(shape: Shape) -> dict[str, Any]:
    """What the owner of a translator hands down: grey images become colour images, and the other way round."""
    given = (1 if shape[0] == 3 else 3, *shape[1:]) if is_image(shape) else shape
    return {"given_shape": given, "shape": shape}


def data(shape: Shape, like: Tensor) -> tuple[Tensor, ...]:
    """A batch of data."""
    return (torch.rand(N, *shape, device=like.device, dtype=like.dtype),)


def codes(shape: Shape, like: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG001
    """A batch of latent vectors."""
    return (torch.randn(N, _DIM, device=like.device, dtype=like.dtype),)


def given(shape: Shape, like: Tensor) -> tuple[Tensor, ...]:
    """A batch of what a translator is given."""
    return data(translator_sizes(shape)["given_shape"], like)


def outputs(network: Any, x: Tensor) -> dict[str, Tensor]:
    """What it makes of a batch."""
    return {"the output": network(x)}


def check_builds(subject: Subject) -> None:
    """It is a part of its kind, and says the sizes that it was asked for."""
    network = subject()
    right = isinstance(network, Encoder | Decoder | Critic | Translator)
    demand(
        right,
        f"{type(network).__name__} is not an Encoder, Decoder, Critic or Translator of genzoo.contract",
    )
    for name, value in _asked(network, subject.shape).items():
        demand(
            getattr(network, name, None) == value,
            f"its {name} is {getattr(network, name, None)}, not {value}",
        )


def check_forward(subject: Subject) -> None:
    """A batch of any size goes in, and as many rows of the right shape come out, finite and in the dtype of what went in."""
    network = subject()
    for n in (2, N):
        y = network(_batch(subject)[:n])
        shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        expected = (n, *_shape_out(network))
        demand(shape == expected, f"{n} rows become {shape}, not {expected}")
        demand(y.dtype == FLOAT.dtype, f"what comes out is {y.dtype}, where {FLOAT.dtype} went in")
        demand(bool(y.isfinite().all()), "what comes out is not finite")


def check_gradients(subject: Subject) -> None:
    """Each parameter gets a finite gradient, and so does what went in."""
    network = subject()
    x = _batch(subject).requires_grad_()
    with torch.no_grad():  # a layer that starts at zero would hide what is below it
        for p in network.parameters():
            p += 0.01 * torch.randn_like(p)
    y = network(x)
    demand(y.requires_grad, "what comes out carries no gradient")
    (y * torch.randn_like(y)).sum().backward()
    for name, p in network.named_parameters():
        if p.requires_grad:
            demand(
                p.grad is not None, f"{name} gets no gradient; freeze or remove what is not used"
            )
            demand(bool(p.grad.isfinite().all()), f"the gradient of {name} is not finite")
    demand(x.grad is not None and bool(x.grad.ne(0).any()), "what went in gets no gradient")


@torch.no_grad()
def check_rows(subject: Subject) -> None:
    """In eval mode an example's output does not depend on the examples beside it."""
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
        msg=lambda detail: f"in eval mode, an example depends on its neighbors. {detail}",
    )


def check_batch_of_one(subject: Subject) -> None:
    """It takes one example alone, also in train mode."""
    y = subject()(_batch(subject)[:1])
    demand(bool(y.isfinite().all()), "what comes out for one example is not finite")


def _batch(subject: Subject) -> Tensor:
    torch.manual_seed(0)
    return subject.inputs(subject.shape, FLOAT)[0]


def _asked(network: Any, shape: Shape) -> dict[str, Any]:
    if isinstance(network, Translator):
        return translator_sizes(shape)
    return critic_sizes(shape) if isinstance(network, Critic) else encoder_sizes(shape)


def _shape_out(network: Any) -> Shape:
    if isinstance(network, Encoder):
        return (_DIM,)
    return () if isinstance(network, Critic) else tuple(network.shape)


ALWAYS = (
    check_builds,
    check_forward,
    check_gradients,
    check_rows,
    check_batch_of_one,
    *EVERY_MODULE,
)
