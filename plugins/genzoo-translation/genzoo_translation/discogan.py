"""DiscoGAN: relations between two kinds of images, found without pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo import Player
from genzoo.contract import Part, Shape
from genzoo.errors import SettingError
from genzoo_translation.game import judge
from genzoo_translation.two_way import TwoWay

_SWITCH = 10_000
"""Iterations of the authors' code after which reconstruction counts as much as the rest."""


class DiscoGAN(TwoWay):
    r"""Two generators \( g: x \to y \) and \( f: y \to x \), each the other's inverse, through a narrow middle.

    As in the paper, with logits \( D \) and \( \sigma \) the logistic function,

    \[ \min_{g, f} \; -E \log \sigma(D_y(g(x))) - E \log \sigma(D_x(f(y)))
       + E \| f(g(x)) - x \|_2^2 + E \| g(f(y)) - y \|_2^2, \]
    \[ \min_{D_y} \; -\tfrac12 E \log \sigma(D_y(y)) - \tfrac12 E \log(1 - \sigma(D_y(g(x)))) \quad \text{and so } D_x, \]

    with squares averaged over numbers in [0, 1]. `variant = "code"` is what the authors' code does besides: each direction weighs

    \[ (1 - r) (0.1\, \mathrm{GAN} + 0.9\, \mathrm{FM}) + r\, \mathrm{MSE}, \qquad
       \mathrm{FM} = \sum_l \operatorname{mean} (\bar\phi_l(y) - \bar\phi_l(g(x)))^2, \]

    where FM compares the batch means of the critic's features, level by level, and r is 0.01 for 10,000 iterations and 0.5 from
    then on; each third iteration trains the critics, the others the generators.

    Arguments:
        variant: `"paper"` or `"code"`.
        translator: the generators, a part of kind `"translators"`, made once for each direction.
        critic: the critics, a part of kind `"critics"`, made once for each domain; one with `features` for `"code"`.
        shape: the shape of y, `(C, H, W)`.
        given_shape: the shape of x, of the same height and width; None: that of y.

    Raises:
        SettingError: a critic without `features` for `"code"`.

    References:
        Learning to Discover Cross-Domain Relations with Generative Adversarial Networks, Kim, Cha, Kim, Lee and Kim, 2017,
        https://arxiv.org/abs/1703.05192; code: https://github.com/SKTBrain/DiscoGAN

    Example:
        >>> model = DiscoGAN(critic={"name": "pyramid", "width": 4}, shape=(1, 16, 16))
        >>> sorted(model.generators_loss(model.example(4)))
        ['cycle', 'fooled', 'loss']
    """

    iterations: Tensor
    training_state: ClassVar[tuple[str, ...]] = ("iterations",)
    expected_failures: ClassVar[Mapping[str, str]] = {
        "batch_of_one": "batch norm of a vector has no variance in a batch of one",
    }

    def __init__(
        self,
        variant: Literal["paper", "code"] = "paper",
        translator: Part = "bottleneck",
        critic: Part = "pyramid",
        shape: Shape = (3, 64, 64),
        given_shape: Shape | None = None,
    ) -> None:
        super().__init__(translator, critic, "sigmoid", shape, given_shape)
        if variant == "code" and not hasattr(self.critic_y, "features"):
            raise SettingError(
                f'variant = "code" compares features, which {type(self.critic_y).__name__} does not show; take "pyramid".'
            )
        self.variant = variant
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))

    @property
    def optimizer(self) -> Mapping[str, Any]:
        """Of both players. The paper's weight decay is from memory; Adam adds it to the gradient, as both did."""
        decay = 1e-4 if self.variant == "paper" else 1e-5
        return MappingProxyType(
            {"name": "Adam", "lr": 2e-4, "betas": (0.5, 0.999), "weight_decay": decay}
        )

    def generators_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Both generators' loss; `fooled` and `cycle` (and `features`) are summed over the directions."""
        x, y = batch["x"], batch["y"]
        made_y, made_x = self._generate(self.to_y, x), self._generate(self.to_x, y)
        fooled = (
            softplus(-judge(self.critic_y, made_y)).mean()
            + softplus(-judge(self.critic_x, made_x)).mean()
        )
        cycle = _error(self._generate(self.to_x, made_y), x) + _error(
            self._generate(self.to_y, made_x), y
        )
        if self.variant == "paper":
            return {"loss": fooled + cycle, "fooled": fooled, "cycle": cycle}
        # The code adds the error of one direction's cycle to the other's game; the sum is the same.
        matched = _matched(self.critic_y, y, made_y) + _matched(self.critic_x, x, made_x)
        early = self.iterations < _SWITCH * 2 // 3  # two of three iterations come here
        rate = torch.where(early, x.new_tensor(0.01), x.new_tensor(0.5))
        loss = (1 - rate) * (0.1 * fooled + 0.9 * matched) + rate * cycle
        return {"loss": loss, "fooled": fooled, "cycle": cycle, "features": matched}

    def critics_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Both critics' loss, also each on its own, as `x` and `y`."""
        x, y = batch["x"], batch["y"]
        with torch.no_grad():
            made_y, made_x = self._generate(self.to_y, x), self._generate(self.to_x, y)
        losses = {}
        for name, critic, real, fake in (
            ("x", self.critic_x, x, made_x),
            ("y", self.critic_y, y, made_y),
        ):
            losses[name] = 0.5 * (
                softplus(-judge(critic, real)).mean() + softplus(judge(critic, fake)).mean()
            )
        return {"loss": losses["x"] + losses["y"], **losses}

    def players(self) -> tuple[Player, ...]:
        critics = Player(
            name="critics",
            owns=(self.critic_x, self.critic_y),
            loss=self.critics_loss,
            optimizer=self.optimizer,
        )
        generators = Player(
            name="generators",
            owns=(self.to_y, self.to_x),
            loss=self.generators_loss,
            optimizer=self.optimizer,
        )
        if self.variant == "paper":
            return critics, generators
        return (
            replace(critics, steps_per_round=lambda r: int(r % 3 == 0)),
            replace(generators, steps_per_round=lambda r: int(r % 3 != 0), after=self._count),
        )

    def _count(self) -> None:
        self.iterations.add_(1)


def _error(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().mean()


def _matched(critic: Any, real: Tensor, made: Tensor) -> Tensor:
    """How far the batch means of a critic's features are apart, summed over its levels."""
    levels = zip(critic.features(real), critic.features(made), strict=True)
    return torch.stack(
        [(one.mean(0) - other.mean(0)).square().mean() for one, other in levels]
    ).sum()
