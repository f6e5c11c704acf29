"""CycleGAN: images to images without pairs, there and back again."""

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


class CycleGAN(TwoWay):
    r"""Two generators \( g: x \to y \) and \( f: y \to x \), each the other's inverse, against a critic of each domain.

    \[ \min_{g, f} \; E (D_y(g(x)) - 1)^2 + E (D_x(f(y)) - 1)^2
       + \lambda\, E \| f(g(x)) - x \|_1 + \lambda\, E \| g(f(y)) - y \|_1
       + \iota \lambda\, E \| g(y) - y \|_1 + \iota \lambda\, E \| f(x) - x \|_1, \]
    \[ \min_{D_y} \; \tfrac12 E (D_y(y) - 1)^2 + \tfrac12 E D_y(g(x))^2 \quad \text{and the same of } D_x, \]

    with means over patches and numbers, in [-1, 1]. The critics see generated images through a pool of earlier ones. The rate
    falls linearly to 0 over the second half of training.

    Arguments:
        translator: the generators, a part of kind `"translators"`, made once for each direction.
        critic: the critics, a part of kind `"critics"`, made once for each domain.
        cycle_weight: \( \lambda \).
        identity: \( \iota \), which keeps colours where nothing needs to change; 0 where the domains have other channels.
        pool: generated images that are remembered for each critic; 0 for none.
        shape: the shape of y, `(C, H, W)`.
        given_shape: the shape of x, of the same height and width; None: that of y.

    Raises:
        SettingError: shapes of different sizes, or `identity` for domains of different channels.

    References:
        Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, Zhu, Park, Isola and Efros, 2017,
        https://arxiv.org/abs/1703.10593; code: https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix

    Example:
        >>> model = CycleGAN({"name": "resnet", "width": 4, "blocks": 1}, {"name": "patch", "width": 4}, shape=(1, 16, 16))
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
        super().__init__(translator, critic, "tanh", shape, given_shape)
        if identity and self.shape != self.given_shape:
            raise SettingError(
                f"identity = {identity:g}: images of shape {self.given_shape} cannot be kept as they are among those of shape "
                f"{self.shape}; set identity = 0."
            )
        self.cycle_weight, self.identity = cycle_weight, identity
        self.pool_x, self.pool_y = ImagePool(pool, self.given_shape), ImagePool(pool, self.shape)
        initialize(self)

    def generators_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Both generators' loss; `cycle` and `identity` are mean absolute errors in [-1, 1], summed over the directions."""
        x, y = self._seen(batch["x"]), self._seen(batch["y"])
        made_y, made_x = self._generate(self.to_y, x), self._generate(self.to_x, y)
        fooled = _square(judge(self.critic_y, made_y) - 1) + _square(
            judge(self.critic_x, made_x) - 1
        )
        cycle = _distance(self._generate(self.to_x, made_y), x) + _distance(
            self._generate(self.to_y, made_x), y
        )
        report = {"loss": fooled + self.cycle_weight * cycle, "fooled": fooled, "cycle": cycle}
        if self.identity:
            report["identity"] = _distance(self._generate(self.to_y, y), y) + _distance(
                self._generate(self.to_x, x), x
            )
            report["loss"] = report["loss"] + self.identity * self.cycle_weight * report["identity"]
        return report

    def critics_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Both critics' loss, also each on its own, as `x` and `y`."""
        x, y = self._seen(batch["x"]), self._seen(batch["y"])
        with torch.no_grad():
            made_y, made_x = self._generate(self.to_y, x), self._generate(self.to_x, y)
        losses = {}
        for name, critic, real, fake in (
            ("x", self.critic_x, x, self.pool_x(made_x)),
            ("y", self.critic_y, y, self.pool_y(made_y)),
        ):
            losses[name] = 0.5 * (_square(judge(critic, real) - 1) + _square(judge(critic, fake)))
        return {"loss": losses["x"] + losses["y"], **losses}

    def players(self) -> tuple[Player, ...]:
        # The authors show the critics what the generators made before their step; here it is made again, after it.
        return tuple(
            Player(name=name, owns=owns, loss=loss, optimizer=self.optimizer, schedule=_late_decay)
            for name, owns, loss in (
                ("generators", (self.to_y, self.to_x), self.generators_loss),
                ("critics", (self.critic_x, self.critic_y), self.critics_loss),
            )
        )


def _late_decay(progress: float) -> float:
    return min(1.0, 2 * (1 - progress))


def _square(x: Tensor) -> Tensor:
    return x.square().mean()


def _distance(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs().mean()
