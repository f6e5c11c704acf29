"""Pix2Pix: image translation learned from pairs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo import Model, Player, build
from genzoo.blocks.scaling import from_tanh_range, to_tanh_range
from genzoo.contract import NonNegativeFloat, Part, Shape
from genzoo.distributed import uniform
from genzoo.errors import SettingError
from genzoo.models.adversarial import initialize
from genzoo_translation.game import images_given, judge, same_size

__all__ = ["Pix2Pix"]


class Pix2Pix(Model):
    r"""A generator \( g \) from images x to images y, with a critic that sees both, and an L1 loss.

    With logits \( D \) of patches and the logistic function \( \sigma \),

    \[ \max_D \; \tfrac12 E \log \sigma(D(x, y))
       + \tfrac12 E \log\big(1 - \sigma(D(x, g(x)))\big), \qquad
       \min_g \; -\alpha\, E \log \sigma(D(x, g(x))) + \lambda\, E \| y - g(x) \|_1, \]

    where the norm is a mean over pixels, in [-1, 1]. The only noise is dropout, which stays on
    after training.

    Arguments:
        translator: \( g \), a part of kind `"translators"`.
        critic: \( D \), a part of kind `"critics"`, which sees x and y as channels of one image.
        adversarial_weight: \( \alpha \). With 0, the model has no critic; the loss
            \( \lambda \| y - g(x) \|_1 \) is a baseline in the paper.
        l1_weight: \( \lambda \).
        shape: the shape of y, `(C, H, W)`.
        given_shape: the shape of x, with the same height and width. Default: the shape of y.

    Raises:
        SettingError: the sizes differ, or both weights are 0.

    References:
        Image-to-Image Translation with Conditional Adversarial Networks, Isola, Zhu, Zhou and
        Efros, 2017, https://arxiv.org/abs/1611.07004; code: https://github.com/phillipi/pix2pix

    Example:
        >>> unet, patch = {"name": "unet", "width": 4}, {"name": "patch", "width": 4}
        >>> model = Pix2Pix(unet, patch, shape=(1, 16, 16))
        >>> model.translate(torch.rand(3, 1, 16, 16)).shape
        torch.Size([3, 1, 16, 16])
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "y")
    given: ClassVar[tuple[str, ...]] = ("x",)
    # The learning rate is constant, as in the authors' Torch code. In their PyTorch port, it
    # decreases to 0 over the second half.
    optimizer: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"name": "Adam", "lr": 2e-4, "betas": (0.5, 0.999)}
    )

    def __init__(
        self,
        translator: Part = "unet",
        critic: Part = "patch",
        adversarial_weight: NonNegativeFloat = 1.0,
        l1_weight: NonNegativeFloat = 100.0,
        shape: Shape = (1, 28, 28),
        given_shape: Shape | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.given_shape = same_size(shape, given_shape)
        if not adversarial_weight and not l1_weight:
            raise SettingError(
                "adversarial_weight = 0, l1_weight = 0: the loss would be zero; set one of them."
            )
        self.adversarial_weight, self.l1_weight = adversarial_weight, l1_weight
        self.translator = build(
            translator, "translators", given_shape=self.given_shape, shape=self.shape
        )
        both = (self.given_shape[0] + self.shape[0], *self.shape[1:])
        self.critic = build(critic, "critics", shape=both) if adversarial_weight else None
        initialize(self)

    def translate(self, x: Tensor) -> Tensor:
        """Map images `(batch, *given_shape)` to images `(batch, *shape)`, in [0, 1]."""
        return from_tanh_range(self._generate(x))

    @torch.no_grad()
    def sample(self, n: int, given: Tensor | None = None) -> Tensor:
        """Translate `given`, images `(n, *given_shape)`, to images `(n, *shape)`."""
        return self.translate(images_given(self, n, given))

    def critic_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the critic's loss on pairs; `real` and `fake` are its mean scores."""
        x, y = batch["x"], 2 * batch["y"] - 1
        with torch.no_grad():
            translated = self._generate(x)
        real, fake = self._judge(x, y), self._judge(x, translated)
        # The factor 1/2 slows down the critic, as in the paper. The authors' Torch code halves only
        # the logged value.
        return {
            "loss": 0.5 * (softplus(-real).mean() + softplus(fake).mean()),
            "real": real.mean(),
            "fake": fake.mean(),
        }

    def generator_loss(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the generator's loss on pairs; `l1` is the mean absolute error in [-1, 1]."""
        x, y = batch["x"], 2 * batch["y"] - 1
        translated = self._generate(x)
        error = (translated - y).abs().mean()
        loss = self.l1_weight * error
        if self.critic is not None:
            loss = loss + self.adversarial_weight * softplus(-self._judge(x, translated)).mean()
        return {"loss": loss, "l1": error}

    def players(self) -> tuple[Player, ...]:
        generator = Player(
            name="generator",
            owns=(self.translator,),
            loss=self.generator_loss,
            optimizer=self.optimizer,
        )
        if self.critic is None:
            return (generator,)
        return (
            Player(
                name="critic", owns=(self.critic,), loss=self.critic_loss, optimizer=self.optimizer
            ),
            generator,
        )

    def example(self, n: int) -> Mapping[str, Tensor]:
        shapes = {"x": self.given_shape, "y": self.shape}
        return {
            name: uniform(n, *shape, like=self.reference_tensor).to(self.reference_tensor.dtype)
            for name, shape in shapes.items()
        }

    def _generate(self, x: Tensor) -> Tensor:
        return self.translator(to_tanh_range(x)).to(x.dtype).tanh()

    def _judge(self, x: Tensor, y: Tensor) -> Tensor:
        return judge(self.critic, torch.cat([to_tanh_range(x), y], dim=1))
