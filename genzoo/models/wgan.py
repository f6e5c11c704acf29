"""The Wasserstein GAN with clipped weights."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import Count, Part, Player, Positive, PositiveFloat, Shape
from genzoo.models.adversarial import Adversarial, Output

MLP = MappingProxyType({"name": "mlp", "hidden": (512, 512, 512), "activation": "relu"})


class WGAN(Adversarial):
    r"""A generator against a critic whose weights are clipped, so that its gap is a Wasserstein distance up to a factor.

    \[ \min_g \max_{\| D \|_L \le K} \; E_x D(x) - E_z D(g(z)) \; = \; K\, W_1(p, q) \]

    The factor K depends on the network and on the clipping, so gaps of different critics do not compare. It is the *weights* that
    are clipped, not the scores.

    Arguments:
        latent_dim: the number of latent coordinates.
        clip: \( c \); after each of its steps, every parameter of the critic is brought into [-c, c].
        critic_steps: the critic's steps a round; the generator makes one.
        burst: the authors' schedule, which is not in the paper: 100 critic steps in the first 25 rounds and in every 500th.
            A round has all of its batches on the device at once.
        generator: a part of kind `"decoders"`.
        critic: a part of kind `"critics"`.
        prior: the distribution of the latent vectors, a part of kind `"priors"`.
        output: how images are brought into their range, `"sigmoid"` or `"tanh"`; the critic sees them in [0, 1] or [-1, 1].
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    References:
        Wasserstein GAN, Arjovsky, Chintala and Bottou, 2017, https://arxiv.org/abs/1701.07875 (algorithm 1);
            code: https://github.com/martinarjovsky/WassersteinGAN

    Example:
        >>> wgan = WGAN(latent_dim=8, shape=(1, 8, 8))
        >>> sorted(wgan.critic_loss(torch.rand(5, 1, 8, 8)))
        ['clipped', 'fake', 'gap', 'loss', 'real', 'sample_variance_ratio']
    """

    optimizer: ClassVar[Mapping[str, Any]] = {"name": "RMSprop", "lr": 5e-5}

    def __init__(
        self,
        latent_dim: Positive = 100,
        clip: PositiveFloat = 0.01,
        critic_steps: Count = 5,
        burst: bool = False,
        generator: Part = MLP,
        critic: Part = MLP,
        prior: Part = "normal",
        output: Output = "tanh",
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(
            latent_dim, generator, critic, prior, output, critic_steps, None, 0.0, shape
        )
        self.clip, self.burst = clip, burst

    def critic_loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        """As in every adversarial model, with `clipped`: the share of the critic's parameters that stand at c."""
        weights = torch.cat([p.detach().flatten() for p in self.critic.parameters()])
        return {
            **super().critic_loss(batch),
            "clipped": (weights.abs() >= self.clip).to(weights.dtype).mean(),
        }

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Bring every parameter of the critic that is not frozen into [-c, c], in place."""
        # The authors' code clips before each step, so that the generator meets unclipped weights; the paper, recalled, after it.
        for parameter in self.critic.parameters():
            if parameter.requires_grad:
                parameter.clamp_(-self.clip, self.clip)

    def players(self) -> tuple[Player, ...]:
        critic, generator = super().players()

        def steps(round: int) -> int:
            return 100 if round < 25 or round % 500 == 0 else self.critic_steps

        return (
            Player(
                name=critic.name, owns=critic.owns, loss=critic.loss, steps_per_round=steps if self.burst else self.critic_steps, optimizer=self.optimizer,
                after=self.clip_weights,
            ),
            generator,
        )  # fmt: skip
