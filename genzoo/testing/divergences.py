"""What every divergence and every penalty must do.

There are three sorts: of samples, `forward(z, prior)`; of distributions, `forward(q, prior, z)`; penalties, `forward(critic, real, fake)`.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from genzoo.contract import Divergence, Penalty, Prior, Shape
from genzoo.registry.build import build
from genzoo.testing.subject import EVERY_MODULE, FLOAT, Subject, demand

_ROWS = 64


def is_of_laws(thing: Any) -> bool:
    """Whether a divergence compares distributions, with a draw from each, and not samples."""
    return not isinstance(thing, Penalty) and len(inspect.signature(thing.forward).parameters) > 2


def check_builds(subject: Subject) -> None:
    """It is a `Divergence` or a `Penalty`."""
    thing = subject()
    right = isinstance(thing, Divergence | Penalty)
    demand(right, f"{type(thing).__name__} is neither a genzoo.contract.Divergence nor a Penalty")


def codes(shape: Shape, like: Tensor) -> tuple[Any, ...]:
    """A prior, and a sample that is not its own."""
    return _prior(shape, like), 0.5 + 0.7 * torch.randn(
        _ROWS, *shape, device=like.device, dtype=like.dtype
    )


def posteriors(shape: Shape, like: Tensor) -> tuple[Any, ...]:
    """A prior, and means and standard deviations."""
    return *codes(shape, like), torch.rand(
        _ROWS, *shape, device=like.device, dtype=like.dtype
    ) + 0.2


def _prior(shape: Shape, like: Tensor, name: str = "normal") -> Prior:
    return build(name, "priors", dim=shape[0]).to(like)


def of_samples(divergence: Divergence, prior: Prior, z: Tensor) -> dict[str, Tensor]:
    """From codes to a prior."""
    return {"the divergence": divergence(z, prior)}


def of_laws(divergence: Divergence, prior: Prior, mean: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """From posteriors to a prior, with a draw from each."""
    q = Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
    return {"the divergence": divergence(q, prior, mean + scale * torch.randn_like(mean))}


def _value(subject: Subject, *inputs: Any) -> Tensor:
    torch.manual_seed(0)
    return subject.outputs(subject(), *inputs)["the divergence"]


def _inputs(subject: Subject) -> tuple[Any, ...]:
    torch.manual_seed(0)
    return subject.inputs(subject.shape, FLOAT)


def check_value(subject: Subject) -> None:
    """It is a finite number: one for samples, one for each of a batch of distributions."""
    inputs = _inputs(subject)
    value = _value(subject, *inputs)
    expected = () if len(inputs) == 2 else (_ROWS,)
    shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    demand(shape == expected, f"the divergence is {shape}, not {expected}")
    demand(bool(value.isfinite().all()), "the divergence is not finite")


def check_gradient(subject: Subject) -> None:
    """It pulls: its gradient by codes, or by posteriors' means and scales, is finite and somewhere not zero."""
    prior, *codes = _inputs(subject)
    value = _value(subject, prior, *(x.requires_grad_() for x in codes)).sum()
    demand(value.requires_grad, "the divergence carries no gradient to the codes")
    for grad in torch.autograd.grad(value, codes, allow_unused=True):
        demand(
            grad is not None and bool(grad.ne(0).any()),
            "the divergence has a gradient of zero by its codes",
        )
        demand(
            grad is not None and bool(grad.isfinite().all()),
            "the gradient of the divergence is not finite",
        )


@torch.no_grad()
def check_tells_apart(subject: Subject) -> None:
    """It is smaller between equal distributions than between distributions of other means and widths."""
    prior, *codes = _inputs(subject)
    standard = torch.randn(_ROWS, *subject.shape)

    def value(shift: float, scale: float) -> float:
        distributions = (torch.full_like(standard, shift), torch.full_like(standard, scale))
        return (
            _value(
                subject, prior, *((shift + scale * standard,) if len(codes) == 1 else distributions)
            )
            .mean()
            .item()
        )

    near, far = value(0.0, 1.0), value(3.0, 2.0)
    demand(near < far, f"it is {near:.4g} for equal distributions and {far:.4g} for others")


def check_priors(subject: Subject) -> None:
    """It takes a mixture as the prior, too."""
    _, *codes = _inputs(subject)
    value = _value(subject, _prior(subject.shape, FLOAT, "mog"), *codes)
    demand(bool(value.isfinite().all()), 'the divergence to the prior "mog" is not finite')


class _Critic(nn.Module):
    """A smooth score with parameters."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(shape), 5), nn.SiLU(), nn.Linear(5, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).squeeze(1)


def examples(shape: Shape, like: Tensor) -> tuple[Any, ...]:
    """A critic, real examples and generated ones."""
    real, fake = (torch.rand(8, *shape, device=like.device, dtype=like.dtype) for _ in range(2))
    return _Critic(shape).to(like), real, fake


def of_critics(
    penalty: Penalty, critic: nn.Module, real: Tensor, fake: Tensor
) -> dict[str, Tensor]:
    """What a critic pays."""
    return {"the penalty": penalty(critic, real, fake)}


def check_penalty(subject: Subject) -> None:
    """It is one finite number."""
    value = subject()(*_inputs(subject))
    shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    demand(shape == (), f"the penalty is {shape}, not a scalar")
    demand(bool(value.isfinite()), "the penalty is not finite")


def check_critic_gradient(subject: Subject) -> None:
    """The critic gets a gradient that is finite and somewhere not zero, as it must to be penalised."""
    critic, real, fake = _inputs(subject)
    value = subject()(critic, real, fake)
    demand(value.requires_grad, "the penalty carries no gradient to the critic")
    value.backward()
    grads = [p.grad for p in critic.parameters() if p.grad is not None]
    demand(
        any(bool(grad.ne(0).any()) for grad in grads),
        "the penalty has a gradient of zero by the critic",
    )
    demand(
        all(bool(grad.isfinite().all()) for grad in grads),
        "the gradient of the penalty is not finite",
    )


def check_batch_size(subject: Subject) -> None:
    """It is a mean over examples: of a linear critic, the same for one pair and for eight copies of it."""
    _, real, fake = _inputs(subject)
    slope = torch.linspace(-1.0, 2.0, math.prod(subject.shape))

    def critic(x: Tensor) -> Tensor:
        return x.flatten(1) @ slope

    one, many = (
        subject()(critic, *(x[:1].expand(n, *subject.shape) for x in (real, fake))).item()
        for n in (1, 8)
    )
    same = abs(one - many) <= 1e-4 * (abs(one) + abs(many))
    demand(
        same,
        f"the penalty is {one:.6g} for one example and {many:.6g} for eight of the same; take the mean over examples",
    )


DIVERGENCE = (
    check_builds,
    check_value,
    check_gradient,
    check_tells_apart,
    check_priors,
    *EVERY_MODULE,
)
PENALTY = (check_builds, check_penalty, check_critic_gradient, check_batch_size, *EVERY_MODULE)
