"""DiscoGAN: relations between two domains of images, learned without pairs."""

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

__all__ = ["DiscoGAN"]

_SWITCH = 10_000
"""The iteration of the authors' code at which the weight of reconstruction rises to 0.5."""


class DiscoGAN(TwoWay):
    r"""Two generators, \( g: x \to y \) and \( f: y \to x \), with a narrow bottleneck.

    Each generator should invert the other. In the paper, with logits \( D \) and the logistic
    function \( \sigma \),

    \[ \min_{g, f} \; -E \log \sigma(D_y(g(x))) - E \log \sigma(D_x(f(y)))
       + E \| f(g(x)) - x \|_2^2 + E \| g(f(y)) - y \|_2^2, \]
    \[ \min_{D_y} \; -\tfrac12 E \log \sigma(D_y(y)) - \tfrac12 E \log(1 - \sigma(D_y(g(x))))
       \quad \text{and the same for } D_x, \]

    with squares averaged over pixels in [0, 1]. `variant = "code"` follows the authors' code.
    There, the loss of each direction is

    \[ (1 - r) (0.1\, \mathrm{GAN} + 0.9\, \mathrm{FM}) + r\, \mathrm{MSE}, \qquad
       \mathrm{FM} = \sum_l \operatorname{mean} (\bar\phi_l(y) - \bar\phi_l(g(x)))^2, \]

    where FM compares the batch means of the critic's features \( \phi_l \) at each level. The
    weight r is 0.01 for 10,000 iterations and 0.5 afterwards. Every third iteration trains the
    critics, and the others train the generators.

    Arguments:
        variant: `"paper"` or `"code"`.
        translator: the generators, a part of kind `"translators"`, built once for each direction.
        critic: the critics, a part of kind `"critics"`, built once for each domain. The variant
            `"code"` needs a critic with `features`.
        shape: the shape of y, `(C, H, W)`.
        given_shape: the shape of x, with the same height and width. Default: the shape of y.

    Raises:
        SettingError: the variant is `"code"` and the critic does not have `features`.

    References:
        Learning to Discover Cross-Domain Relations with Generative Adversarial Networks, Kim, Cha,
        Kim, Lee and Kim, 2017, https://arxiv.org/abs/1703.05192;
        code: https://github.com/SKTBrain/DiscoGAN

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
        super().__init__(
            translator=translator,
            critic=critic,
            output="sigmoid",
            shape=shape,
            given_shape=given_shape,
        )
        if variant == "code" and not hasattr(self.critic_y, "features"):
            raise SettingError(
                'variant = "code" needs a critic with features, and '
                f'{type(self.critic_y).__name__} has none; choose "pyramid".'
            )
        self.variant = variant
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))

    @property
    def optimizer(self) -> Mapping[str, Any]:
        """The optimizer of both players.

        The weight decay is 1e-4 in the paper and 1e-5 in the authors' code. Adam adds it to the
        gradient in both.
        """
        decay = 1e-4 if self.variant == "paper" else 1e-5
        return MappingProxyType(
            {"name": "Adam", "lr": 2e-4, "betas": (0.5, 0.999), "weight_decay": decay}
        )

    def generators_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the loss of both generators.

        `fooled`, `cycle`, and, for the variant `"code"`, `features` are sums over both directions.
        """
        x, y = batch["x"], batch["y"]
        fake_y, fake_x = self._generate(self.to_y, x), self._generate(self.to_x, y)
        fooled_y = softplus(-judge(self.critic_y, fake_y)).mean()
        fooled_x = softplus(-judge(self.critic_x, fake_x)).mean()
        fooled = fooled_y + fooled_x
        cycle_x = _squared_error(self._generate(self.to_x, fake_y), x)
        cycle_y = _squared_error(self._generate(self.to_y, fake_x), y)
        cycle = cycle_x + cycle_y
        if self.variant == "paper":
            return {"loss": fooled + cycle, "fooled": fooled, "cycle": cycle}
        # The authors' code adds the cycle error of one direction to the loss of the other. The sum
        # is the same.
        matched_y = _feature_distance(self.critic_y, y, fake_y)
        matched_x = _feature_distance(self.critic_x, x, fake_x)
        matched = matched_y + matched_x
        # Two of three iterations train the generators.
        early = self.iterations < _SWITCH * 2 // 3
        rate = torch.where(early, x.new_tensor(0.01), x.new_tensor(0.5))
        loss = (1 - rate) * (0.1 * fooled + 0.9 * matched) + rate * cycle
        return {"loss": loss, "fooled": fooled, "cycle": cycle, "features": matched}

    def critics_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the loss of both critics, and the separate losses `x` and `y`."""
        x, y = batch["x"], batch["y"]
        with torch.no_grad():
            fake_y, fake_x = self._generate(self.to_y, x), self._generate(self.to_x, y)
        losses = {}
        for name, critic, real, fake in (
            ("x", self.critic_x, x, fake_x),
            ("y", self.critic_y, y, fake_y),
        ):
            of_real = softplus(-judge(critic, real)).mean()
            of_fake = softplus(judge(critic, fake)).mean()
            losses[name] = 0.5 * (of_real + of_fake)
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


def _squared_error(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().mean()


def _feature_distance(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
    """Return the distance between batch means of a critic's features, summed over its levels."""
    levels = zip(critic.features(real), critic.features(fake), strict=True)
    distances = [(one.mean(0) - other.mean(0)).square().mean() for one, other in levels]
    return torch.stack(distances).sum()
