"""The Wasserstein GAN with a gradient penalty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from genzoo.blocks.augment import Augmentation
from genzoo.contract import Count, Part, Positive, PositiveFloat, Shape
from genzoo.models.adversarial import Adversarial, Output
from genzoo.models.conditioning import Classes
from genzoo.models.networks import CONV, network
from genzoo.models.wgan import MLP

__all__ = ["WGANGP"]


class WGANGP(Adversarial):
    r"""A generator against a critic whose gradient norm is held near 1.

    The penalty acts on points between real and generated examples:

    \[ \min_g \max_D \; E_x D(x) - E_z D(g(z))
       - \lambda\, E_{\hat x} \big( \| \nabla D(\hat x) \|_2 - 1 \big)^2, \qquad
       \hat x = \epsilon x + (1 - \epsilon) g(z), \quad \epsilon \sim U[0, 1]
       \text{ for each example} \]

    The gap \( E_x D(x) - E_z D(g(z)) \) estimates the Wasserstein distance \( W_1(p, q) \), in the
    units in which the critic sees data. It overestimates the distance by \( W^2 / 2 \lambda \) or
    more, and by exactly that amount for two points.

    Arguments:
        latent_dim: the number of latent coordinates.
        penalty_weight: \( \lambda \).
        critic_steps: the critic's steps per round; the generator takes one. With one step of the
            critic, a round takes less time, but the generator can collapse early.
        penalty: a part of kind `"divergences"`: `"gradient-penalty"` (one-sided with
            `{sides = "one"}`), `"dragan"`, or `"r1"`.
        generator: a part of kind `"decoders"`. By default, `"conv"` with layer norm for images of
            8 x 8 pixels or more, and three hidden layers of 512 units for other data.
        critic: a part of kind `"critics"`, without batch norm, which couples the gradients of the
            examples of a batch. By default, `"conv"` for images of 8 x 8 pixels or more, and three
            hidden layers of 512 units with layer norm for other data.
        prior: the distribution of the latent vectors, a part of kind `"priors"`.
        output: the function that bounds images, `"sigmoid"` or `"tanh"`. The critic sees images in
            [0, 1] or [-1, 1].
        augmentation: random changes of all images that the critic sees, for few training images:
            any of `"flip"`, `"color"` (brightness, saturation, and contrast), `"translation"`, and
            `"cutout"`.
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    Raises:
        SettingError: the critic has batch norm.

    References:
        Improved Training of Wasserstein GANs, Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville,
            2017, https://arxiv.org/abs/1704.00028;
            code: https://github.com/igul222/improved_wgan_training

    Example:
        >>> import torch
        >>> wgan = WGANGP(latent_dim=8, shape=(1, 8, 8))
        >>> sorted(wgan.critic_loss(torch.rand(5, 1, 8, 8)))
        ['fake', 'gap', 'loss', 'penalty', 'real', 'sample_variance_ratio']
    """

    # The paper has a learning rate of 1e-4, with many more steps.
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 5e-4, "betas": (0.0, 0.9)}

    def __init__(
        self,
        latent_dim: Positive = 100,
        penalty_weight: PositiveFloat = 10.0,
        *,
        critic_steps: Count = 5,
        penalty: Part = "gradient-penalty",
        generator: Part | None = None,
        critic: Part | None = None,
        prior: Part = "normal",
        output: Output = "tanh",
        augmentation: tuple[Augmentation, ...] = (),
        classes: Classes = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            generator=network(generator, shape, conv=CONV, mlp=MLP),
            critic=network(critic, shape, conv="conv", mlp={**MLP, "norm": "layer"}),
            prior=prior,
            output=output,
            critic_steps=critic_steps,
            penalty=penalty,
            penalty_weight=penalty_weight,
            augmentation=augmentation,
            classes=classes,
            shape=shape,
        )
