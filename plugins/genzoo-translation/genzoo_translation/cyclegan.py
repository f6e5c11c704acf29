"""CycleGAN: image translation without pairs, with a cycle-consistency loss."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from genzoo import Player
from genzoo.contract import NonNegativeFloat, Part, Shape
from genzoo.errors import SettingError
from genzoo.models.adversarial import initialize
from genzoo_translation.game import judge
from genzoo_translation.pool import ImagePool
from genzoo_translation.two_way import TwoWay

__all__ = ["CycleGAN"]


class CycleGAN(TwoWay):
    r"""Two generators, \( g: x \to y \) and \( f: y \to x \), and one critic for each domain.

    Each generator should invert the other:

    \[ \min_{g, f} \; E (D_y(g(x)) - 1)^2 + E (D_x(f(y)) - 1)^2
       + \lambda\, E \| f(g(x)) - x \|_1 + \lambda\, E \| g(f(y)) - y \|_1
       + \iota \lambda\, E \| g(y) - y \|_1 + \iota \lambda\, E \| f(x) - x \|_1, \]
    \[ \min_{D_y} \; \tfrac12 E (D_y(y) - 1)^2 + \tfrac12 E D_y(g(x))^2
       \quad \text{and the same for } D_x, \]

    with means over patches and pixels, in [-1, 1]. The critics see generated images from a pool of
    earlier ones. The learning rate decreases linearly to 0 over the second half of training.

    Arguments:
        translator: the generators, a part of kind `"translators"`, built once for each direction.
        critic: the critics, a part of kind `"critics"`, built once for each domain.
        cycle_weight: \( \lambda \).
        identity: \( \iota \), which preserves colors. It must be 0 if the domains have different
            numbers of channels.
        pool: the number of generated images in the pool of each critic; 0 for no pool.
        shape: the shape of y, `(C, H, W)`.
        given_shape: the shape of x, with the same height and width. Default: the shape of y.

    Raises:
        SettingError: the sizes differ, or `identity` is set for different numbers of channels.

    References:
        Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, Zhu, Park,
        Isola and Efros, 2017, https://arxiv.org/abs/1703.10593;
        code: https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix

    Example:
        >>> resnet = {"name": "resnet", "width": 4, "blocks": 1}
        >>> model = CycleGAN(resnet, {"name": "patch", "width": 4}, shape=(1, 16, 16))
        >>> model.translate(torch.rand(3, 1, 16, 16), reverse=True).shape
        torch.Size([3, 1, 16, 16])
    """

    training_state: ClassVar[tuple[str, ...]] = ("pool_x", "pool_y")
    optimizer: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"name": "Adam", "lr": 2e-4, "betas": (0.5, 0.999)}
    )

    def __init__(
        self,
        translator: Part = "resnet",
        critic: Part = "patch",
        cycle_weight: NonNegativeFloat = 10.0,
        identity: NonNegativeFloat = 0.5,
        pool: Annotated[int, Ge(0)] = 50,
        shape: Shape = (3, 128, 128),
        given_shape: Shape | None = None,
    ) -> None:
        super().__init__(
            translator=translator,
            critic=critic,
            output="tanh",
            shape=shape,
            given_shape=given_shape,
        )
        if identity and self.shape != self.given_shape:
            raise SettingError(
                f"identity = {identity:g}: images of shape {self.given_shape} and {self.shape} "
                "have different channels, so none can stay unchanged; set identity = 0."
            )
        self.cycle_weight, self.identity = cycle_weight, identity
        self.pool_x, self.pool_y = ImagePool(pool, self.given_shape), ImagePool(pool, self.shape)
        initialize(self)

    def generators_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the loss of both generators.

        `cycle` and `identity` are mean absolute errors in [-1, 1], summed over both directions.
        """
        x, y = self._scale(batch["x"]), self._scale(batch["y"])
        fake_y, fake_x = self._generate(self.to_y, x), self._generate(self.to_x, y)
        fooled_y = _mean_square(judge(self.critic_y, fake_y) - 1)
        fooled_x = _mean_square(judge(self.critic_x, fake_x) - 1)
        fooled = fooled_y + fooled_x
        cycle_x = _mean_distance(self._generate(self.to_x, fake_y), x)
        cycle_y = _mean_distance(self._generate(self.to_y, fake_x), y)
        cycle = cycle_x + cycle_y
        report = {"loss": fooled + self.cycle_weight * cycle, "fooled": fooled, "cycle": cycle}
        if self.identity:
            identity_y = _mean_distance(self._generate(self.to_y, y), y)
            identity_x = _mean_distance(self._generate(self.to_x, x), x)
            report["identity"] = identity_y + identity_x
            report["loss"] = report["loss"] + self.identity * self.cycle_weight * report["identity"]
        return report

    def critics_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the loss of both critics, and the separate losses `x` and `y`."""
        x, y = self._scale(batch["x"]), self._scale(batch["y"])
        with torch.no_grad():
            fake_y, fake_x = self._generate(self.to_y, x), self._generate(self.to_x, y)
        losses = {}
        for name, critic, real, fake in (
            ("x", self.critic_x, x, self.pool_x(fake_x)),
            ("y", self.critic_y, y, self.pool_y(fake_y)),
        ):
            of_real = _mean_square(judge(critic, real) - 1)
            losses[name] = 0.5 * (of_real + _mean_square(judge(critic, fake)))
        return {"loss": losses["x"] + losses["y"], **losses}

    def players(self) -> tuple[Player, ...]:
        # In the authors' code, the critics see images from before the generators' step. Here, the
        # images are generated again after that step.
        generators = Player(
            name="generators",
            owns=(self.to_y, self.to_x),
            loss=self.generators_loss,
            optimizer=self.optimizer,
            schedule=_late_decay,
        )
        critics = Player(
            name="critics",
            owns=(self.critic_x, self.critic_y),
            loss=self.critics_loss,
            optimizer=self.optimizer,
            schedule=_late_decay,
        )
        return generators, critics


def _late_decay(progress: float) -> float:
    """Return the factor on the learning rate: 1, then linear to 0 over the second half."""
    return min(1.0, 2 * (1 - progress))


def _mean_square(x: Tensor) -> Tensor:
    return x.square().mean()


def _mean_distance(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs().mean()
