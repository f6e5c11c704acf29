"""The base class of CycleGAN and DiscoGAN: one generator per direction, one critic per domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from genzoo import Model, build
from genzoo.blocks.scaling import from_tanh_range, to_tanh_range
from genzoo.contract import Part, Shape
from genzoo.distributed import uniform
from genzoo.errors import SettingError
from genzoo_translation.game import images_given, same_size

__all__ = ["TwoWay"]


class TwoWay(Model):
    """A model that translates images between two domains, x and y, and is trained without pairs.

    A subclass defines the losses.

    Arguments:
        translator: the generators, a part of kind `"translators"`, built once for each direction.
        critic: the critics, a part of kind `"critics"`, built once for each domain.
        output: `"tanh"` or `"sigmoid"`. The networks then see images in [-1, 1] or [0, 1].
        shape: the shape of y, `(C, H, W)`.
        given_shape: the shape of x, with the same height and width. Default: the shape of y.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "y")
    given: ClassVar[tuple[str, ...]] = ("x",)
    can_reverse: ClassVar[bool] = True

    def __init__(
        self,
        *,
        translator: Part,
        critic: Part,
        output: Literal["tanh", "sigmoid"],
        shape: Shape,
        given_shape: Any,
    ) -> None:
        super().__init__()
        for slot, part in (("translator", translator), ("critic", critic)):
            if isinstance(part, nn.Module):
                raise SettingError(
                    f"{slot} = {type(part).__name__}(...): two are needed, one for each direction; "
                    "set a name or a table, from which both are built."
                )
        self.shape, self.given_shape = same_size(shape, given_shape)
        self.output = output
        x, y = self.given_shape, self.shape
        self.to_y = build(translator, "translators", slot="translator", given_shape=x, shape=y)
        self.to_x = build(translator, "translators", slot="translator", given_shape=y, shape=x)
        self.critic_x = build(critic, "critics", shape=x)
        self.critic_y = build(critic, "critics", shape=y)

    @property
    def translator(self) -> nn.Module:
        """The generator from x to y."""
        return self.to_y

    @property
    def critic(self) -> nn.Module:
        """The critic of y."""
        return self.critic_y

    def translate(self, x: Tensor, *, reverse: bool = False) -> Tensor:
        """Translate images x, `(batch, *given_shape)`, to images y, `(batch, *shape)`, in [0, 1].

        With `reverse`, translate y to x.
        """
        network = self.to_x if reverse else self.to_y
        return self._unscale(self._generate(network, self._scale(x)))

    def cycle(self, x: Tensor, *, reverse: bool = False) -> Tensor:
        """Translate images x to y and back to x; with `reverse`, y to x and back to y."""
        return self.translate(self.translate(x, reverse=reverse), reverse=not reverse)

    @torch.no_grad()
    def sample(self, n: int, given: Tensor | None = None) -> Tensor:
        """Translate `given`, images x `(n, *given_shape)`, to images y, `(n, *shape)`."""
        return self.translate(images_given(self, n, given))

    def example(self, n: int) -> Mapping[str, Tensor]:
        shapes = {"x": self.given_shape, "y": self.shape}
        return {
            name: uniform(n, *shape, like=self.reference_tensor).to(self.reference_tensor.dtype)
            for name, shape in shapes.items()
        }

    def _generate(self, network: nn.Module, x: Tensor) -> Tensor:
        raw = network(x).to(x.dtype)
        return raw.tanh() if self.output == "tanh" else raw.sigmoid()

    def _scale(self, x: Tensor) -> Tensor:
        return to_tanh_range(x) if self.output == "tanh" else x

    def _unscale(self, x: Tensor) -> Tensor:
        return from_tanh_range(x) if self.output == "tanh" else x
