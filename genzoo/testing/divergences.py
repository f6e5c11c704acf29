"""Checks of divergences and penalties.

There are three base classes: `SampleDivergence` with `forward(z, prior)`, `DistributionDivergence`
with `forward(q, prior, z)`, and `Penalty` with `forward(critic, real, fake)`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from genzoo.contract import (
    DistributionDivergence,
    Divergence,
    Penalty,
    Prior,
    SampleDivergence,
    Shape,
)
from genzoo.registry.build import build
from genzoo.testing.subject import EVERY_MODULE, FLOAT, Subject, demand

__all__ = [
    "DIVERGENCE",
    "PENALTY",
    "codes",
    "compare_distributions",
    "compare_samples",
    "critic_inputs",
    "penalize",
    "posteriors",
]

_ROWS = 64


def check_builds(subject: Subject) -> None:
    """Check that its base class is one of the three."""
    thing = subject()
    right = isinstance(thing, SampleDivergence | DistributionDivergence | Penalty)
    demand(
        right,
        f"{type(thing).__name__} is not a genzoo.contract.SampleDivergence, "
        "DistributionDivergence, or Penalty; subclass the one that fits",
    )


def codes(shape: Shape, like: Tensor) -> tuple[Any, ...]:
    """Return a prior, and a sample from another distribution."""
    noise = torch.randn(_ROWS, *shape, device=like.device, dtype=like.dtype)
    return _prior(shape, like), 0.5 + 0.7 * noise


def posteriors(shape: Shape, like: Tensor) -> tuple[Any, ...]:
    """Return a prior, and the means and standard deviations of a batch of posteriors."""
    prior, means = codes(shape, like)
    scales = 0.2 + torch.rand(_ROWS, *shape, device=like.device, dtype=like.dtype)
    return prior, means, scales


def compare_samples(divergence: Divergence, prior: Prior, z: Tensor) -> dict[str, Tensor]:
    """Compute the divergence between codes and a prior."""
    return {"the divergence": divergence(z, prior)}


def compare_distributions(
    divergence: Divergence, prior: Prior, mean: Tensor, scale: Tensor
) -> dict[str, Tensor]:
    """Compute the divergence between posteriors and a prior, with a sample per posterior."""
    q = Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
    z = mean + scale * torch.randn_like(mean)
    return {"the divergence": divergence(q, prior, z)}


def check_value(subject: Subject) -> None:
    """Check that it is finite: one number for samples, or one per distribution of a batch."""
    inputs = _inputs(subject)
    value = _value(subject, *inputs)
    expected = () if len(inputs) == 2 else (_ROWS,)
    shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    demand(shape == expected, f"the divergence is {shape}, not {expected}")
    demand(bool(value.isfinite().all()), "the divergence is not finite")


def check_gradient(subject: Subject) -> None:
    """Check that codes, or means and scales of posteriors, get a finite and nonzero gradient."""
    prior, *compared = _inputs(subject)
    value = _value(subject, prior, *(x.requires_grad_() for x in compared)).sum()
    demand(value.requires_grad, "the divergence carries no gradient to the codes")
    for grad in torch.autograd.grad(value, compared, allow_unused=True):
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
    """Check that it is smaller for equal distributions than for other means and widths."""
    prior, *compared = _inputs(subject)
    standard = torch.randn(_ROWS, *subject.shape)

    def value(shift: float, scale: float) -> float:
        if len(compared) == 1:
            inputs: tuple[Tensor, ...] = (shift + scale * standard,)
        else:
            inputs = (torch.full_like(standard, shift), torch.full_like(standard, scale))
        return _value(subject, prior, *inputs).mean().item()

    near, far = value(0.0, 1.0), value(3.0, 2.0)
    demand(near < far, f"it is {near:.4g} for equal distributions and {far:.4g} for others")


def check_priors(subject: Subject) -> None:
    """Check that it also accepts a mixture as the prior."""
    _, *compared = _inputs(subject)
    value = _value(subject, _prior(subject.shape, FLOAT, "mog"), *compared)
    demand(bool(value.isfinite().all()), 'the divergence to the prior "mog" is not finite')


def _prior(shape: Shape, like: Tensor, name: str = "normal") -> Prior:
    return build(name, "priors", dim=shape[0]).to(like)


def _value(subject: Subject, *inputs: Any) -> Tensor:
    torch.manual_seed(0)
    return subject.outputs(subject(), *inputs)["the divergence"]


def _inputs(subject: Subject) -> tuple[Any, ...]:
    torch.manual_seed(0)
    return subject.inputs(subject.shape, FLOAT)


class _Critic(nn.Module):
    """A smooth critic with parameters."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(shape), 5), nn.SiLU(), nn.Linear(5, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).squeeze(1)


def critic_inputs(shape: Shape, like: Tensor) -> tuple[Any, ...]:
    """Return a critic, real examples, and generated examples."""
    real, fake = (torch.rand(8, *shape, device=like.device, dtype=like.dtype) for _ in range(2))
    return _Critic(shape).to(like), real, fake


def penalize(penalty: Penalty, critic: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Compute the penalty of a critic."""
    return {"the penalty": penalty(critic, real, fake)}


def check_penalty(subject: Subject) -> None:
    """Check that it is one finite number."""
    value = subject()(*_inputs(subject))
    shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    demand(shape == (), f"the penalty is {shape}, not a scalar")
    demand(bool(value.isfinite()), "the penalty is not finite")


def check_critic_gradient(subject: Subject) -> None:
    """Check that the critic gets a finite and nonzero gradient."""
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
    """Check that it is a mean over examples: one pair and eight copies of it cost the same."""
    _, real, fake = _inputs(subject)
    slope = torch.linspace(-1.0, 2.0, math.prod(subject.shape))

    def linear_critic(x: Tensor) -> Tensor:
        return x.flatten(1) @ slope

    def value(copies: int) -> float:
        repeated = (x[:1].expand(copies, *subject.shape) for x in (real, fake))
        return subject()(linear_critic, *repeated).item()

    one, many = value(1), value(8)
    same = abs(one - many) <= 1e-4 * (abs(one) + abs(many))
    demand(
        same,
        f"the penalty is {one:.6g} for one example and {many:.6g} for eight copies of it; "
        "take the mean over examples",
    )


DIVERGENCE = (
    check_builds,
    check_value,
    check_gradient,
    check_tells_apart,
    check_priors,
    *EVERY_MODULE,
)
"""The checks of every divergence."""
PENALTY = (check_builds, check_penalty, check_critic_gradient, check_batch_size, *EVERY_MODULE)
"""The checks of every penalty."""
