"""The Wasserstein GAN with weight clipping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.blocks.augment import Augmentation
from genzoo.contract import Batch, Count, Part, Player, Positive, PositiveFloat, Shape
from genzoo.models.adversarial import Adversarial, Output
from genzoo.models.conditioning import Classes

__all__ = ["MLP", "WGAN"]

MLP = MappingProxyType({"name": "mlp", "hidden": (512, 512, 512), "activation": "relu"})
"""The default generator and critic."""


class WGAN(Adversarial):
    r"""A generator against a critic whose clipped weights make its gap a Wasserstein distance.

    The gap is a Wasserstein distance up to a factor K:

    \[ \min_g \max_{\| D \|_L \le K} \; E_x D(x) - E_z D(g(z)) \; = \; K\, W_1(p, q) \]

    K depends on the network and on the clipping, so gaps of different critics cannot be compared.
    The *weights* are clipped, not the scores.

    Arguments:
        latent_dim: the number of latent coordinates.
        clip: \( c \); after each step of the critic, its parameters are clipped to [-c, c].
        critic_steps: the critic's steps per round; the generator takes one.
        burst: use the schedule of the authors' code, which is not in the paper: 100 critic steps in
            the first 25 rounds and in every 500th. All batches of a round are on the device at
            once.
        generator: a part of kind `"decoders"`.
        critic: a part of kind `"critics"`.
        prior: the distribution of the latent vectors, a part of kind `"priors"`.
        output: the function that bounds images, `"sigmoid"` or `"tanh"`. The critic sees images in
            [0, 1] or [-1, 1].
        penalty: a part of kind `"divergences"` to use together with clipping; the paper has none.
        penalty_weight: its weight in the critic's loss.
        augmentation: random changes of all images that the critic sees, for few training images:
            any of `"flip"`, `"color"` (brightness, saturation, and contrast), `"translation"`, and
            `"cutout"`.
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    References:
        Wasserstein GAN, Arjovsky, Chintala and Bottou, 2017, https://arxiv.org/abs/1701.07875
            (algorithm 1); code: https://github.com/martinarjovsky/WassersteinGAN

    Example:
        >>> wgan = WGAN(latent_dim=8, shape=(1, 8, 8))
        >>> sorted(wgan.critic_loss(torch.rand(5, 1, 8, 8)))
        ['clipped', 'fake', 'gap', 'loss', 'real', 'sample_variance_ratio']
    """

    optimizer: ClassVar[Mapping[str, Any]] = {"name": "RMSprop", "lr": 5e-5}

    def __init__(
        self,
        latent_dim: Positive = 100,
        *,
        clip: PositiveFloat = 0.01,
        critic_steps: Count = 5,
        burst: bool = False,
        generator: Part = MLP,
        critic: Part = MLP,
        prior: Part = "normal",
        output: Output = "tanh",
        penalty: Part = "none",
        penalty_weight: PositiveFloat = 10.0,
        augmentation: tuple[Augmentation, ...] = (),
        classes: Classes = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            generator=generator,
            critic=critic,
            prior=prior,
            output=output,
            critic_steps=critic_steps,
            penalty=penalty,
            penalty_weight=penalty_weight,
            augmentation=augmentation,
            classes=classes,
            shape=shape,
        )
        self.clip = clip
        self.burst = burst

    def critic_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the critic's loss, and `clipped`, the share of its parameters that are at ±c."""
        weights = torch.cat([p.detach().flatten() for p in self.critic.parameters()])
        clipped = (weights.abs() >= self.clip).to(weights.dtype).mean()
        return {**super().critic_loss(batch), "clipped": clipped}

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Clip every parameter of the critic that is not frozen to [-c, c], in place."""
        # The paper (Algorithm 1) clips after each step. The authors' code clips before it, so that
        # the generator is trained against unclipped weights.
        for parameter in self.critic.parameters():
            if parameter.requires_grad:
                parameter.clamp_(-self.clip, self.clip)

    def after_critic_step(self) -> None:
        super().after_critic_step()
        self.clip_weights()

    def players(self) -> tuple[Player, ...]:
        critic, generator = super().players()

        def burst_steps(round: int) -> int:
            return 100 if round < 25 or round % 500 == 0 else self.critic_steps

        steps = burst_steps if self.burst else self.critic_steps
        return replace(critic, steps_per_round=steps), generator
