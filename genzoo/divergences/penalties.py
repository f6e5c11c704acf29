"""What a critic pays for not being smooth: penalties on the gradient of its score by its input.

Each is a mean over examples of a function of that example's own gradient, so its value does not depend on the size of the batch.
The gradient is taken by `torch.func.grad`, which can be differentiated again, compiled whole, and called on any part of a model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from genzoo.blocks.precision import at_least_single
from genzoo.contract import Penalty, PositiveFloat
from genzoo.distributed import gather, uniform
from genzoo.errors import SettingError

Score = Callable[[Tensor], Tensor]
Sides = Literal["two", "one"]


def gradient_norms(critic: Score, x: Tensor) -> Tensor:
    r"""\( \| \nabla_x D(x_i) \|_2 \) of each example, over all of its coordinates: `(batch, *shape)` -> `(batch,)`.

    Arguments:
        critic: a module, or a function that changes no buffers, `(batch, *shape)` -> `(batch,)`.
        x: where.

    Raises:
        SettingError: the critic holds batch norm in train mode, with which an example has no score of its own.

    Example:
        >>> gradient_norms(lambda x: 3 * x[:, 0], torch.zeros(2, 5))
        tensor([3., 3.])
    """
    if not isinstance(critic, nn.Module):
        score = critic
    else:
        if name := batch_norm(critic):
            raise SettingError(f"the critic's {name} is a batch norm in train mode, {_WHY}")
        # buffers are copied: a spectral norm writes to its own at each pass
        state = {
            **dict(critic.named_parameters()),
            **{name: buffer.clone() for name, buffer in critic.named_buffers()},
        }

        def score(x: Tensor) -> Tensor:
            return functional_call(critic, state, (x,))

    try:
        gradient = torch.func.grad(lambda x: score(x).sum())(x)
    except RuntimeError as error:
        if "in-place operation" in str(error):  # in a function nobody can look for it
            raise SettingError(
                f"the critic changes a buffer as it scores, as batch norm in train mode does, {_WHY}"
            ) from error
        raise
    return torch.linalg.vector_norm(at_least_single(gradient.flatten(1)), dim=1)


_WHY = (
    "which mixes examples, so that no example has a gradient of its own to penalise; "
    'take norm = "layer", as the paper does, or "none"'
)


def batch_norm(critic: nn.Module, training: bool = True) -> str | None:
    """The first batch norm in a module, by name and kind; only those that norm by the batch at hand, or all of them."""
    for name, module in critic.named_modules():
        mixing = module.training or not getattr(module, "track_running_stats", True) or not training
        if isinstance(module, _BatchNorm) and mixing:
            return f"{name} ({type(module).__name__})" if name else type(module).__name__
    return None


def gradient_penalty(
    critic: Score, real: Tensor, fake: Tensor, sides: Sides = "two", target: float = 1.0
) -> Tensor:
    r"""The penalty of WGAN-GP, with which a critic's slope tends to 1 between real and generated examples.

    \[ \frac 1n \sum_i \big( \| \nabla D(\hat x_i) \|_2 - 1 \big)^2, \qquad
       \hat x_i = \epsilon_i x_i + (1 - \epsilon_i) \tilde x_i, \quad \epsilon_i \sim U[0, 1] \]

    With weight \( \lambda \), the critic's gap between two points at distance W settles at \( W + W^2 / 2 \lambda \), above the
    Wasserstein distance. In one dimension the two-sided penalty has wrong optima too; the one-sided has not.

    Arguments:
        critic: a module or a function, `(batch, *shape)` -> `(batch,)`.
        real: examples, `(batch, *shape)`.
        fake: as many of the generator's; no gradient is wanted for them.
        sides: `"two"`, or `"one"` to leave slopes below the target alone: \( \max(0, \| \nabla D \| - 1)^2 \).
        target: the slope that costs nothing, 1 in the paper.

    Returns:
        A scalar, without the weight.

    Raises:
        SettingError: the critic holds batch norm in train mode.

    References:
        Improved Training of Wasserstein GANs, Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, 2017,
            https://arxiv.org/abs/1704.00028 (equation 3 and algorithm 1)

    Example:
        >>> gradient_penalty(lambda x: 3 * x[:, 0], torch.zeros(2, 5), torch.ones(2, 5))  # (3 - 1)^2
        tensor(4.)
    """
    weight = uniform(real.shape[0], *[1] * (real.dim() - 1), like=real)
    between = (fake + weight * (real - fake)).to(real.dtype)
    excess = gradient_norms(critic, between) - target
    return (excess.relu() if sides == "one" else excess).square().mean()


class GradientPenalty(Penalty):
    """The penalty of WGAN-GP as a part: see `gradient_penalty`.

    Arguments:
        sides: `"two"` or `"one"`.
        target: the slope that costs nothing.

    Example:
        >>> GradientPenalty(sides="one")(lambda x: 0.5 * x[:, 0], torch.zeros(2, 5), torch.ones(2, 5))
        tensor(0.)
    """

    def __init__(self, sides: Sides = "two", target: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.sides, self.target = sides, target

    def forward(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        """A scalar, for examples `(batch, *shape)` of both kinds."""
        return gradient_penalty(critic, real, fake, self.sides, self.target)


class DRAGAN(Penalty):
    r"""The penalty of DRAGAN: a slope near 1 in the neighbourhood of the data, wherever the generator is.

    \[ \frac 1n \sum_i \big( \| \nabla D(x_i + \alpha_i \delta_i) \|_2 - 1 \big)^2, \qquad
       \delta_i = \text{scale} \cdot \mathrm{sd}(x)\, u_i, \quad u_i \sim U[0, 1]^D, \quad \alpha_i \sim U[0, 1] \]

    This is the formula of the authors' code. The paper has normal \( \delta \) instead (not checked
    against the paper).

    Arguments:
        scale: of the noise, in standard deviations of the whole batch.
        target: the slope that costs nothing.

    References:
        On Convergence and Stability of GANs, Kodali, Abernethy, Hays and Kira, 2017, https://arxiv.org/abs/1705.07215

    Example:
        >>> DRAGAN()(lambda x: 3 * x[:, 0], torch.zeros(2, 5), torch.ones(2, 5))
        tensor(4.)
    """

    def __init__(self, scale: PositiveFloat = 0.5, target: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.scale, self.target = scale, target

    def forward(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:  # noqa: ARG002
        """A scalar, for examples `(batch, *shape)`; those of the generator play no part."""
        reach = self.scale * gather(real).std(correction=0)
        along = uniform(real.shape[0], *[1] * (real.dim() - 1), like=real)
        near = real + along * reach * uniform(*real.shape, like=real)
        return (gradient_norms(critic, near.to(real.dtype)) - self.target).square().mean()


class R1(Penalty):
    r"""The penalty R1: a critic that is flat on the data, which makes the game converge near its equilibrium.

    \[ \frac 1{2n} \sum_i \| \nabla D(x_i) \|_2^2 \]

    References:
        Which Training Methods for GANs do actually Converge?, Mescheder, Geiger and Nowozin, 2018,
            https://arxiv.org/abs/1801.04406

    Example:
        >>> R1()(lambda x: 3 * x[:, 0], torch.zeros(2, 5), torch.ones(2, 5))  # 3^2 / 2
        tensor(4.5000)
    """

    def forward(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:  # noqa: ARG002
        """A scalar, for examples `(batch, *shape)`; those of the generator play no part."""
        return gradient_norms(critic, real).square().mean() / 2
