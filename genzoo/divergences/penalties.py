"""Penalties on the gradient of a critic's score with respect to its input.

Each penalty is a mean over examples of a function of the gradient at that example, so its value
does not depend on the batch size. The gradient comes from `torch.func.grad`, which can be
differentiated again, compiled as a whole graph, and called on any part of a model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from genzoo.blocks.precision import at_least_single
from genzoo.contract import Count, Penalty, PositiveFloat
from genzoo.distributed import gather, uniform
from genzoo.errors import SettingError

__all__ = [
    "DRAGAN",
    "R1",
    "GradientPenalty",
    "Score",
    "Sides",
    "batch_norm",
    "gradient_norms",
    "gradient_penalty",
]

Score = Callable[[Tensor], Tensor]
"""A critic: a module or function from `(batch, *shape)` to `(batch,)`."""
Sides = Literal["two", "one"]
"""The slopes to penalize: all that differ from the target, or only larger ones."""


def gradient_norms(critic: Score, x: Tensor) -> Tensor:
    r"""Compute \( \| \nabla_x D(x_i) \|_2 \) at each example, over all of its coordinates.

    Arguments:
        critic: a module, or a function that changes no buffers, `(batch, *shape)` -> `(batch,)`.
        x: examples, `(batch, *shape)`.

    Returns:
        `(batch,)`.

    Raises:
        SettingError: the critic contains batch norm in training mode, so the score of an example
            depends on the other examples.

    Example:
        >>> gradient_norms(lambda x: 3 * x[:, 0], torch.zeros(2, 5))
        tensor([3., 3.])
    """
    if not isinstance(critic, nn.Module):
        score = critic
    else:
        if name := batch_norm(critic):
            raise SettingError(f"the critic's {name} is a batch norm in training mode, {_WHY}")
        # Buffers are copied, because spectral norm writes to its buffers in each forward pass.
        state = {
            **dict(critic.named_parameters()),
            **{name: buffer.clone() for name, buffer in critic.named_buffers()},
        }

        def score(x: Tensor) -> Tensor:
            return functional_call(critic, state, (x,))

    try:
        gradient = torch.func.grad(lambda x: score(x).sum())(x)
    except RuntimeError as error:
        # A function cannot be searched for batch norm, so the error message shows it.
        if "in-place operation" in str(error):
            raise SettingError(
                "the critic changes a buffer during the forward pass, as batch norm in training "
                f"mode does, {_WHY}"
            ) from error
        raise
    return torch.linalg.vector_norm(at_least_single(gradient.flatten(1)), dim=1)


_WHY = (
    "which mixes the examples of a batch, so no example has its own gradient to penalize; "
    'take norm = "layer", as the paper does, or "none"'
)


def batch_norm(critic: nn.Module, *, training: bool = True) -> str | None:
    """Return the name and class of the first batch norm in a module, or None.

    Arguments:
        critic: the module to search.
        training: only find layers that normalize with the statistics of the current batch.
    """
    for name, module in critic.named_modules():
        mixing = module.training or not getattr(module, "track_running_stats", True) or not training
        if isinstance(module, _BatchNorm) and mixing:
            return f"{name} ({type(module).__name__})" if name else type(module).__name__
    return None


def gradient_penalty(
    critic: Score, real: Tensor, fake: Tensor, sides: Sides = "two", target: float = 1.0
) -> Tensor:
    r"""Compute the penalty of WGAN-GP, which moves the critic's slope towards 1.

    The slope is measured between pairs of a real and a generated example.

    \[ \frac 1n \sum_i \big( \| \nabla D(\hat x_i) \|_2 - 1 \big)^2, \qquad
       \hat x_i = \epsilon_i x_i + (1 - \epsilon_i) \tilde x_i, \quad \epsilon_i \sim U[0, 1] \]

    With weight \( \lambda \), the critic's gap between two points at distance W converges to
    \( W + W^2 / 2 \lambda \), which is above the Wasserstein distance. In one dimension, the
    two-sided penalty also has wrong optima, and the one-sided penalty does not.

    Arguments:
        critic: a module or a function, `(batch, *shape)` -> `(batch,)`.
        real: examples, `(batch, *shape)`.
        fake: as many generated examples, without gradients.
        sides: `"two"`, or `"one"` to allow slopes below the target:
            \( \max(0, \| \nabla D \| - 1)^2 \).
        target: the slope without a penalty, 1 in the paper.

    Returns:
        A scalar, without the weight.

    Raises:
        SettingError: the critic contains batch norm in training mode.

    References:
        Improved Training of Wasserstein GANs, Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville,
        2017,
            https://arxiv.org/abs/1704.00028 (equation 3 and algorithm 1)

    Example:
        >>> real, fake = torch.zeros(2, 5), torch.ones(2, 5)
        >>> gradient_penalty(lambda x: 3 * x[:, 0], real, fake)  # (3 - 1)^2
        tensor(4.)
    """
    weight = uniform(real.shape[0], *[1] * (real.dim() - 1), like=real)
    between = (fake + weight * (real - fake)).to(real.dtype)
    excess = gradient_norms(critic, between) - target
    return (excess.relu() if sides == "one" else excess).square().mean()


class GradientPenalty(Penalty):
    """The penalty of WGAN-GP (see `gradient_penalty`).

    Arguments:
        sides: `"two"` or `"one"`.
        target: the slope without a penalty.
        every: use the penalty only in each `every`-th step of the critic, multiplied by `every`.
            Its mean gradient does not change, and the other steps cost less.

    Example:
        >>> real, fake = torch.zeros(2, 5), torch.ones(2, 5)
        >>> GradientPenalty(sides="one")(lambda x: 0.5 * x[:, 0], real, fake)
        tensor(0.)
    """

    def __init__(self, sides: Sides = "two", target: PositiveFloat = 1.0, every: Count = 1) -> None:
        super().__init__()
        self.sides, self.target, self.every = sides, target, every

    def forward(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Compute the penalty, a scalar, from real and generated examples, `(batch, *shape)`."""
        return gradient_penalty(critic, real, fake, sides=self.sides, target=self.target)


class DRAGAN(Penalty):
    r"""The penalty of DRAGAN, which moves the critic's slope near the data towards 1.

    \[ \frac 1n \sum_i \big( \| \nabla D(x_i + \alpha_i \delta_i) \|_2 - 1 \big)^2, \qquad
       \delta_i = \text{scale} \cdot \mathrm{sd}(x)\, u_i, \quad u_i \sim U[0, 1]^D,
       \quad \alpha_i \sim U[0, 1] \]

    This is the formula of the authors' code. The paper has normal \( \delta \) instead (not checked
    against the paper).

    Arguments:
        scale: the scale of the noise, in standard deviations of the whole batch.
        target: the slope without a penalty.
        every: use the penalty only in each `every`-th step of the critic, multiplied by `every`.
            Its mean gradient does not change, and the other steps cost less.

    References:
        On Convergence and Stability of GANs, Kodali, Abernethy, Hays and Kira, 2017,
            https://arxiv.org/abs/1705.07215

    Example:
        >>> DRAGAN()(lambda x: 3 * x[:, 0], torch.zeros(2, 5), torch.ones(2, 5))
        tensor(4.)
    """

    def __init__(
        self, scale: PositiveFloat = 0.5, target: PositiveFloat = 1.0, every: Count = 1
    ) -> None:
        super().__init__()
        self.scale, self.target, self.every = scale, target, every

    def forward(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:  # noqa: ARG002
        """Compute the penalty, a scalar, from real examples, `(batch, *shape)`."""
        reach = self.scale * gather(real).std(correction=0)
        along = uniform(real.shape[0], *[1] * (real.dim() - 1), like=real)
        near = real + along * reach * uniform(*real.shape, like=real)
        return (gradient_norms(critic, near.to(real.dtype)) - self.target).square().mean()


class R1(Penalty):
    r"""The penalty R1, which makes the critic flat on the data.

    The game then converges near its equilibrium.

    \[ \frac 1{2n} \sum_i \| \nabla D(x_i) \|_2^2 \]

    Arguments:
        every: use the penalty only in each `every`-th step of the critic, multiplied by `every`.
            Its mean gradient does not change, and the other steps cost less.

    References:
        Which Training Methods for GANs do actually Converge?, Mescheder, Geiger and Nowozin, 2018,
            https://arxiv.org/abs/1801.04406
        Analyzing and Improving the Image Quality of StyleGAN, Karras et al., 2019,
            https://arxiv.org/abs/1912.04958 (lazy regularization, appendix B)

    Example:
        >>> real, fake = torch.zeros(2, 5), torch.ones(2, 5)
        >>> R1()(lambda x: 3 * x[:, 0], real, fake)  # 3^2 / 2
        tensor(4.5000)
    """

    def __init__(self, every: Count = 1) -> None:
        super().__init__()
        self.every = every

    def forward(self, critic: Score, real: Tensor, fake: Tensor) -> Tensor:  # noqa: ARG002
        """Compute the penalty, a scalar, from real examples, `(batch, *shape)`."""
        return gradient_norms(critic, real).square().mean() / 2
