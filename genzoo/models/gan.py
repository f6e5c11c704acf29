"""Generative adversarial networks with a discriminator: GAN and its presets DCGAN and LSGAN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Lt
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.blocks.augment import Augmentation
from genzoo.contract import Batch, Count, Part, Positive, PositiveFloat, Shape, is_image
from genzoo.errors import SettingError
from genzoo.models.adversarial import Adversarial, Output, initialize
from genzoo.models.conditioning import Classes
from genzoo.models.networks import CONV, network

__all__ = ["DCGAN", "GAN", "LSGAN", "Loss", "Smoothing", "levels"]

Loss = Literal["non-saturating", "minimax", "least-squares"]
"""The objectives of a `GAN`."""
_MLP_GENERATOR = MappingProxyType({"name": "mlp", "hidden": (1200, 1200), "activation": "relu"})
"""The paper's generator."""
Smoothing = Annotated[float, Ge(0), Lt(1)]
"""A share of label smoothing, in [0, 1)."""


class GAN(Adversarial):
    r"""A generator against a discriminator, which tells generated examples from real ones.

    With logit \( D \) and \( \sigma \) the logistic function,

    \[ \max_D \; E_x \log \sigma(D(x)) + E_z \log\big(1 - \sigma(D(g(z)))\big). \]

    The generator minimizes \( E_z \log(1 - \sigma(D(g(z)))) \) (`"minimax"`) or
    \( -E_z \log \sigma(D(g(z))) \) (`"non-saturating"`). The second has the same fixed point, and a
    gradient where the discriminator is certain. For the optimal discriminator,
    \( D = \log p / q \), the value of the game is \( 2\,\mathrm{JS}(p, q) - \log 4 \).
    With `"least-squares"` and labels a, b, c,

    \[ \min_D \; \tfrac 12 E_x (D(x) - b)^2 + \tfrac 12 E_z (D(g(z)) - a)^2, \qquad
       \min_g \; \tfrac 12 E_z (D(g(z)) - c)^2. \]

    Arguments:
        latent_dim: the number of latent coordinates.
        loss: `"non-saturating"`, `"minimax"`, or `"least-squares"`.
        labels: a (generated), b (real), and c (the generator's target), for least squares.
            (-1, 1, 0) is Pearson's chi-squared divergence between p + q and 2q.
        smoothing: the share by which the label 1 of real examples is lowered, for the logistic
            losses.
        generator: a part of kind `"decoders"`. By default, `"conv"` with layer norm for images of
            8 x 8 pixels or more, and two hidden layers of 1,200 units for other data.
        critic: a part of kind `"critics"`, whose score is the logit \( D \). By default, `"conv"`
            for images of 8 x 8 pixels or more, and `"mlp"` for other data.
        prior: the distribution of the latent vectors, a part of kind `"priors"`.
        output: the function that bounds images, `"sigmoid"` or `"tanh"`. The critic sees images in
            [0, 1] or [-1, 1].
        critic_steps: the critic's steps per round; the generator takes one.
        penalty: a part of kind `"divergences"`, such as `"r1"`, `"dragan"`, or
            `"gradient-penalty"`; or `"none"`.
        penalty_weight: its weight in the critic's loss.
        augmentation: random changes of all images that the critic sees, for few training images:
            any of `"flip"`, `"color"` (brightness, saturation, and contrast), `"translation"`, and
            `"cutout"`.
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    Raises:
        SettingError: label smoothing with least squares, where `labels` replace it.

    References:
        Generative Adversarial Nets, Goodfellow et al., 2014, https://arxiv.org/abs/1406.2661
        Least Squares Generative Adversarial Networks, Mao et al., 2017,
            https://arxiv.org/abs/1611.04076
        Improved Techniques for Training GANs, Salimans et al., 2016,
            https://arxiv.org/abs/1606.03498 (label smoothing)
        Which Training Methods for GANs do actually Converge?, Mescheder, Geiger and Nowozin, 2018,
            https://arxiv.org/abs/1801.04406 (R1, the default penalty)

    Example:
        >>> gan = GAN(latent_dim=8, shape=(1, 8, 8))
        >>> sorted(gan.critic_loss(torch.rand(5, 1, 8, 8)))
        ['fake', 'gap', 'js', 'loss', 'penalty', 'real', 'sample_variance_ratio']
    """

    # The paper has SGD at 0.1 with a rising momentum.
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 5e-4, "betas": (0.0, 0.9)}

    def __init__(
        self,
        latent_dim: Positive = 100,
        *,
        loss: Loss = "non-saturating",
        labels: tuple[float, float, float] = (0.0, 1.0, 1.0),
        smoothing: Smoothing = 0.0,
        # The paper has fully connected networks for all data, maxout units in the critic, a uniform
        # prior, sigmoid outputs, and no penalty.
        generator: Part | None = None,
        critic: Part | None = None,
        prior: Part = "normal",
        output: Output = "tanh",
        critic_steps: Count = 1,
        penalty: Part = "r1",
        penalty_weight: PositiveFloat = 0.3,
        augmentation: tuple[Augmentation, ...] = (),
        classes: Classes = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            generator=network(generator, shape, conv=CONV, mlp=_MLP_GENERATOR),
            critic=network(critic, shape, conv="conv", mlp="mlp"),
            prior=prior,
            output=output,
            critic_steps=critic_steps,
            penalty=penalty,
            penalty_weight=penalty_weight,
            augmentation=augmentation,
            classes=classes,
            shape=shape,
        )
        if smoothing and loss == "least-squares":
            raise SettingError(
                f"smoothing = {smoothing:g} is for the logistic losses; with least squares, lower "
                f"the label b instead: labels = (0.0, {1 - smoothing:g}, 1.0)."
            )
        self.loss_name = loss
        self.labels = labels
        self.smoothing = smoothing

    def critic_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the negative value of the game, in nats for the logistic losses.

        Arguments:
            real: scores of real examples, `(batch,)`.
            fake: scores of generated examples, `(batch,)`.
        """
        if self.loss_name == "least-squares":
            a, b, _ = self.labels
            return 0.5 * ((real - b).square().mean() + (fake - a).square().mean())
        # the cross-entropy with the label 1 - smoothing
        on_real = softplus(-real) + self.smoothing * real
        return on_real.mean() + softplus(fake).mean()

    def generator_objective(self, fake: Tensor) -> Tensor:
        """Return the generator's loss for each of its examples: scores `(batch,)` -> `(batch,)`."""
        if self.loss_name == "least-squares":
            return 0.5 * (fake - self.labels[2]).square()
        if self.loss_name == "minimax":
            return -softplus(fake)
        return softplus(-fake)

    def critic_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the critic's loss, and for the logistic losses also `js`.

        `js` is the Jensen-Shannon divergence that the critic sees, (log 4 - loss) / 2 in nats. It
        is at most log 2, and a lower bound on the true divergence up to the noise of a batch.
        """
        report = dict(super().critic_loss(batch))
        if self.loss_name == "least-squares" or self.smoothing:
            return report
        penalty = self.penalty_weight * report["penalty"] if "penalty" in report else 0.0
        report["js"] = (math.log(4) - (report["loss"] - penalty)) / 2
        return report


class DCGAN(GAN):
    """A GAN of strided convolutions with batch norm; a preset of `GAN`.

    Each level halves the image, until the shorter side has 4 to 7 pixels, as in the paper (64
    pixels, four levels) and in the authors' code for 28 pixels (two levels). Each level doubles the
    width.

    Arguments:
        latent_dim: the number of latent coordinates.
        width: the number of channels of the level next to the data; each level doubles it.
        loss: as in `GAN`.
        channels: the number of channels of each level, starting at the data, instead of `width`.
        generator: as in `GAN`; by default, transposed convolutions with batch norm.
        critic: as in `GAN`; by default, convolutions with batch norm. Set `norm = "none"` together
            with a penalty.
        prior: as in `GAN`.
        output: as in `GAN`.
        penalty: as in `GAN`; the paper has none.
        penalty_weight: as in `GAN`.
        augmentation: as in `GAN`.
        classes: as in `GAN`.
        shape: the shape of one image, `(C, H, W)`.

    Raises:
        SettingError: `shape` is not the shape of an image of 8 x 8 pixels or more.

    References:
        Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
            Networks, Radford, Metz and Chintala, 2016, https://arxiv.org/abs/1511.06434

    Example:
        >>> DCGAN(channels=(8, 16), shape=(3, 16, 24)).sample(2).shape
        torch.Size([2, 3, 16, 24])
    """

    # the paper: learning rate and first beta; the second beta is that of its code
    optimizer: ClassVar[Mapping[str, Any]] = Adversarial.optimizer

    def __init__(
        self,
        latent_dim: Positive = 100,
        *,
        width: Positive = 64,
        loss: Loss = "non-saturating",
        channels: tuple[Positive, ...] | None = None,
        generator: Part | None = None,
        critic: Part | None = None,
        prior: Part = "uniform",
        output: Output = "tanh",
        penalty: Part = "none",
        penalty_weight: PositiveFloat = 10.0,
        augmentation: tuple[Augmentation, ...] = (),
        classes: Classes = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        # Kernels are 4x4. The paper does not specify them; its code has 5x5.
        default = {
            "name": "conv",
            "channels": levels(shape, width) if channels is None else channels,
            "norm": "batch",
        }
        transposed = {**default, "upsample": "transposed"}
        super().__init__(
            latent_dim,
            loss=loss,
            generator=network(generator, shape, conv=transposed, mlp=transposed),
            critic=network(critic, shape, conv=default, mlp=default),
            prior=prior,
            output=output,
            penalty=penalty,
            penalty_weight=penalty_weight,
            augmentation=augmentation,
            classes=classes,
            shape=shape,
        )
        self.width = width
        initialize(self.generator)
        initialize(self.critic)


class LSGAN(DCGAN):
    """A DCGAN with the least-squares loss; a preset of `GAN`.

    The paper's networks for 112 x 112 scenes are deeper. The authors' code uses a learning rate of
    1e-3 and labels (0, 1, 1) for scenes, 2e-4 (as here) for handwriting, and labels (-1, 1, 0) in
    its stability comparison.

    Arguments:
        latent_dim: the number of latent coordinates; the authors' code has 1,024 for scenes.
        width: as in `DCGAN`.
        labels: a, b, and c, as in `GAN`.
        channels: as in `DCGAN`.
        generator: as in `DCGAN`.
        critic: as in `DCGAN`.
        prior: as in `GAN`.
        output: as in `GAN`.
        penalty: as in `GAN`; the paper has none.
        penalty_weight: as in `GAN`.
        augmentation: as in `GAN`.
        classes: as in `GAN`.
        shape: the shape of one image, `(C, H, W)`.

    References:
        Least Squares Generative Adversarial Networks, Mao et al., 2017,
            https://arxiv.org/abs/1611.04076

    Example:
        >>> LSGAN(channels=(8,), shape=(1, 8, 8)).loss_name
        'least-squares'
    """

    def __init__(
        self,
        latent_dim: Positive = 100,
        *,
        width: Positive = 64,
        labels: tuple[float, float, float] = (0.0, 1.0, 1.0),
        channels: tuple[Positive, ...] | None = None,
        generator: Part | None = None,
        critic: Part | None = None,
        prior: Part = "uniform",
        output: Output = "tanh",
        penalty: Part = "none",
        penalty_weight: PositiveFloat = 10.0,
        augmentation: tuple[Augmentation, ...] = (),
        classes: Classes = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(
            latent_dim,
            width=width,
            loss="least-squares",
            channels=channels,
            generator=generator,
            critic=critic,
            prior=prior,
            output=output,
            penalty=penalty,
            penalty_weight=penalty_weight,
            augmentation=augmentation,
            classes=classes,
            shape=shape,
        )
        self.labels = labels


def levels(shape: Shape, width: int = 64) -> tuple[int, ...]:
    """Return DCGAN's channels of each level, starting at the data.

    Levels are added until the shorter side has 4 to 7 pixels.

    Arguments:
        shape: the shape of one image, `(C, H, W)`.
        width: the number of channels next to the data; each level doubles it.

    Raises:
        SettingError: `shape` is not the shape of an image of 8 x 8 pixels or more.
    """
    if not is_image(shape) or min(shape[1:]) < 8:
        raise SettingError(
            f"shape = {tuple(shape)!r}: this preset needs images of 8 x 8 pixels or more; take "
            "'gan' for other data."
        )
    depth = min(shape[1:]).bit_length() - 3
    return tuple(width * 2**level for level in range(depth))
