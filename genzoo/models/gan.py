"""Generative adversarial networks with a discriminator: GAN and its presets DCGAN and LSGAN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from annotated_types import Ge, Lt
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.contract import Count, Part, Positive, PositiveFloat, Shape, is_image
from genzoo.errors import SettingError
from genzoo.models.adversarial import Adversarial, Output, initialize

__all__ = ["DCGAN", "GAN", "LSGAN", "Loss", "Smoothing", "levels"]

Loss = Literal["non-saturating", "minimax", "least-squares"]
"""The objectives of a `GAN`."""
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
        generator: a part of kind `"decoders"`.
        critic: a part of kind `"critics"`, whose score is the logit \( D \).
        prior: the distribution of the latent vectors, a part of kind `"priors"`.
        output: the function that bounds images, `"sigmoid"` or `"tanh"`. The critic sees images in
            [0, 1] or [-1, 1].
        critic_steps: the critic's steps per round; the generator takes one.
        penalty: None, or a part of kind `"divergences"` such as `"dragan"`, `"r1"`, or
            `"gradient-penalty"`.
        penalty_weight: its weight in the critic's loss.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    Raises:
        SettingError: label smoothing with least squares, where `labels` replace it.

    References:
        Generative Adversarial Nets, Goodfellow et al., 2014, https://arxiv.org/abs/1406.2661
        Least Squares Generative Adversarial Networks, Mao et al., 2017,
            https://arxiv.org/abs/1611.04076
        Improved Techniques for Training GANs, Salimans et al., 2016,
            https://arxiv.org/abs/1606.03498 (label smoothing)

    Example:
        >>> gan = GAN(latent_dim=8, shape=(1, 8, 8))
        >>> sorted(gan.critic_loss(torch.rand(5, 1, 8, 8)))
        ['fake', 'gap', 'js', 'loss', 'real', 'sample_variance_ratio']
    """

    def __init__(
        self,
        latent_dim: Positive = 100,
        *,
        loss: Loss = "non-saturating",
        labels: tuple[float, float, float] = (0.0, 1.0, 1.0),
        smoothing: Smoothing = 0.0,
        # The networks are the paper's, except that its critic has maxout units. Its optimizer is
        # SGD at 0.1 with a rising momentum.
        generator: Part = MappingProxyType(
            {"name": "mlp", "hidden": (1200, 1200), "activation": "relu"}
        ),
        critic: Part = "mlp",
        prior: Part = "uniform",
        output: Output = "sigmoid",
        critic_steps: Count = 1,
        penalty: Part | None = None,
        penalty_weight: PositiveFloat = 10.0,
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

    def critic_loss(self, batch: Tensor) -> Mapping[str, Tensor]:
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
        width: the number of channels of the level next to the data.
        loss: as in `GAN`.
        prior: as in `GAN`.
        shape: the shape of one image, `(C, H, W)`.

    Raises:
        SettingError: `shape` is not the shape of an image of 8 x 8 pixels or more.

    References:
        Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
            Networks, Radford, Metz and Chintala, 2016, https://arxiv.org/abs/1511.06434

    Example:
        >>> DCGAN(width=8, shape=(3, 16, 24)).sample(2).shape
        torch.Size([2, 3, 16, 24])
    """

    def __init__(
        self,
        latent_dim: Positive = 100,
        *,
        width: Positive = 64,
        loss: Loss = "non-saturating",
        prior: Part = "uniform",
        shape: Shape = (1, 28, 28),
    ) -> None:
        # Kernels are 4x4. The paper does not specify them; its code has 5x5.
        network = {"name": "conv", "channels": levels(shape, width), "norm": "batch"}
        super().__init__(
            latent_dim,
            loss=loss,
            generator=network,
            critic=network,
            prior=prior,
            output="tanh",
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
        width: the number of channels of the level next to the data.
        labels: a, b, and c, as in `GAN`.
        prior: as in `GAN`.
        shape: the shape of one image, `(C, H, W)`.

    References:
        Least Squares Generative Adversarial Networks, Mao et al., 2017,
            https://arxiv.org/abs/1611.04076

    Example:
        >>> LSGAN(width=8, shape=(1, 8, 8)).loss_name
        'least-squares'
    """

    def __init__(
        self,
        latent_dim: Positive = 100,
        *,
        width: Positive = 64,
        labels: tuple[float, float, float] = (0.0, 1.0, 1.0),
        prior: Part = "uniform",
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(latent_dim, width=width, loss="least-squares", prior=prior, shape=shape)
        self.labels = labels


def levels(shape: Shape, width: int) -> tuple[int, ...]:
    """Return the channels of each level, starting at the data.

    Levels are added until the shorter side has 4 to 7 pixels.

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
