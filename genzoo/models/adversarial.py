"""The base class of generative adversarial networks: a generator that plays against a critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from genzoo.blocks.augment import Augmentation, augment
from genzoo.blocks.precision import at_least_single
from genzoo.blocks.scaling import from_tanh_range, to_tanh_range
from genzoo.contract import Batch, Part, Penalty, Player, Shape, is_image
from genzoo.divergences.penalties import GradientPenalty, batch_norm
from genzoo.errors import SettingError, show
from genzoo.models.conditioning import Classes
from genzoo.models.latent import LatentModel, scores
from genzoo.registry.build import build

__all__ = ["Adversarial", "Output", "initialize"]

Output = Literal["sigmoid", "tanh"]
"""The function that bounds a generator's images. The critic sees images in the same range:
[0, 1] for `"sigmoid"`, [-1, 1] for `"tanh"`."""

_COLLAPSED = 0.05
"""`sample_variance_ratio` below which the generator counts as collapsed."""


class Adversarial(LatentModel):
    r"""A generator \( g \) that maps latent vectors to data, and a critic \( D \) that scores data.

    A subclass sets the objectives of both. Users see images in [0, 1]; the critic sees real and
    generated images in the range of `output`. Data of other shapes are not scaled. With labels, a
    generated example has the label of an example of the batch, and the critic sees both.

    Arguments:
        latent_dim: the number of latent coordinates.
        generator: a part of kind `"decoders"`.
        critic: a part of kind `"critics"`.
        prior: the distribution of the latent vectors, a part of kind `"priors"`. A learned prior is
            trained together with the generator.
        output: `"sigmoid"` or `"tanh"`, for images.
        critic_steps: the critic's steps per round; the generator takes one.
        penalty: a part of kind `"divergences"` that penalizes the critic, or `"none"`.
        penalty_weight: its weight in the critic's loss.
        augmentation: random changes of all images that the critic sees, for few training images:
            any of `"flip"`, `"color"` (brightness, saturation, and contrast), `"translation"`, and
            `"cutout"`.
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.

    Raises:
        SettingError: `penalty` is not a penalty, the critic has batch norm together with one, or
            the data to augment are not images.

    Example:
        >>> import genzoo
        >>> model = genzoo.load("gan.digits")
        >>> model.score(model.sample(4)).shape
        torch.Size([4])
    """

    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 2e-4, "betas": (0.5, 0.999)}
    """The optimizer of both players."""

    def __init__(
        self,
        *,
        latent_dim: int,
        generator: Part,
        critic: Part,
        prior: Part,
        output: Output,
        critic_steps: int,
        penalty: Part,
        penalty_weight: float,
        shape: Shape,
        augmentation: tuple[Augmentation, ...] = (),
        classes: Classes = 0,
    ) -> None:
        super().__init__()
        self.condition_on(classes)
        self.shape = tuple(shape)
        self.latent_dim = latent_dim
        self.critic_steps = critic_steps
        self.output = output if is_image(self.shape) else "none"
        self.generator = build(
            generator, "decoders", slot="generator", dim=latent_dim + classes, shape=self.shape
        )
        self.critic = build(critic, "critics", shape=self.with_label_maps(self.shape))
        self.prior = build(prior, "priors", dim=latent_dim)
        self.penalty = None
        if penalty != "none":
            self.penalty = build(penalty, "divergences", slot="penalty")
        self.penalty_weight = penalty_weight
        self.augmentation = augmentation
        if augmentation and not is_image(self.shape):
            raise SettingError(
                f"augmentation = {show(augmentation)} changes images, but shape = {self.shape}; "
                "leave it out."
            )
        self._penalty_factor = 1.0
        """The factor of the penalty in this step of the critic: 0 in a step without a penalty."""
        self.refuse_mixing(self.generator, self.critic)
        if self.penalty is not None:
            self._check_penalty()

    def _check_penalty(self) -> None:
        if not isinstance(self.penalty, Penalty):
            raise SettingError(
                f"penalty = {type(self.penalty).__name__} compares distributions, but a penalty "
                'acts on a critic; take "gradient-penalty", "dragan", or "r1".'
            )
        if name := batch_norm(self.critic, training=False):
            raise SettingError(
                f"critic: {name} mixes the examples of a batch, so no example has a gradient of "
                'its own to penalize; take norm = "layer", as WGAN-GP does, or "none".'
            )

    def critic_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the quantity that the critic minimizes; by default the negative gap.

        Arguments:
            real: scores of real examples, `(batch,)`.
            fake: scores of generated examples, `(batch,)`.
        """
        return fake.mean() - real.mean()

    def generator_objective(self, fake: Tensor) -> Tensor:
        """Return the quantity that the generator minimizes; by default the negative score.

        Arguments:
            fake: scores of generated examples, `(batch,)`.

        Returns:
            `(batch,)`, one value for each example.
        """
        return -fake

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """Generate data from latent vectors.

        Arguments:
            z: latent vectors, `(batch, latent_dim)`.
            given: labels, `(batch,)`, if the model is conditional.

        Returns:
            `(batch, *shape)`; images in [0, 1].
        """
        x = self.generate(self.with_labels(z, given))
        return from_tanh_range(x) if self.output == "tanh" else x

    def score(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the critic's score of data, `(batch, *shape)` -> `(batch,)`."""
        return self._score_scaled(self._to_critic_range(x), given)

    def critic_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the critic's loss on `batch`, `(batch, *shape)`, and as many generated examples.

        Returns:
            `loss`; the mean scores `real` and `fake`; `gap`, which is `real` minus `fake`;
            `sample_variance_ratio`, the variance of a coordinate over the batch, of generated
            examples divided by that of real ones; and `penalty`, without its weight, if the step
            has one.
        """
        x, given = self.unpack(batch)
        x = self._to_critic_range(x)
        with torch.no_grad():
            z = self.prior.sample(x.shape[0])
            generated = self.generate(self.with_labels(z, given))
        ratio = _sample_variance_ratio(generated, x)
        x, generated = augment(x, self.augmentation), augment(generated, self.augmentation)
        real, fake = self._score_scaled(x, given), self._score_scaled(generated, given)
        loss = self.critic_objective(real, fake)
        report = {
            "real": real.mean(),
            "fake": fake.mean(),
            "gap": real.mean() - fake.mean(),
            "sample_variance_ratio": ratio,
        }
        if self.penalty is not None and self._penalty_factor:
            report["penalty"] = self.penalty(self.at_labels(self.critic, given), x, generated)
            loss = loss + self._penalty_factor * self.penalty_weight * report["penalty"]
        return {"loss": loss, **report}

    def before_critic_step(self, step: int) -> None:
        """Decide whether the next step of the critic has a penalty.

        A penalty with `every = k` is part of each k-th step and is multiplied by k there, so its
        mean gradient does not change.

        Arguments:
            step: the number of steps that the critic has made.
        """
        every = self.penalty.every if isinstance(self.penalty, Penalty) else 1
        self._penalty_factor = float(every) if step % every == 0 else 0.0

    def after_critic_step(self) -> None:
        """Let the penalty be part of each loss again. Override this to constrain the critic."""
        self._penalty_factor = 1.0

    def generator_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the generator's loss on as many generated examples as `batch` holds."""
        _, given = self.unpack(batch)

        def objective(z: Tensor, y: Tensor | None = None) -> Tensor:
            generated = augment(self.generate(self.with_labels(z, y)), self.augmentation)
            return self.generator_objective(self._score_scaled(generated, y))

        return {"loss": self.expectation(objective, self.batch_size(batch), given)}

    def players(self) -> tuple[Player, ...]:
        return (
            Player(
                name="critic",
                owns=(self.critic,),
                loss=self.critic_loss,
                steps_per_round=self.critic_steps,
                optimizer=self.optimizer,
                before=self.before_critic_step,
                after=self.after_critic_step,
            ),
            Player(
                name="generator",
                owns=(self.generator, self.prior),
                loss=self.generator_loss,
                optimizer=self.optimizer,
            ),
        )

    def diagnose(self, line: Mapping[str, float], progress: float) -> str | None:
        # An untrained generator varies little, too.
        trained = progress > 0.25 and line["step"] >= 200
        if trained and line.get("critic/sample_variance_ratio", 1.0) < _COLLAPSED:
            advice = "Lower the learning rates, or give the critic more steps."
            if not isinstance(self.penalty, GradientPenalty):
                advice = "Lower the learning rates, give the critic more steps, or take wgan-gp."
            return (
                "the generator's samples vary less than a twentieth as much as the data: it has "
                f"collapsed to almost a single sample. {advice}"
            )
        return None

    def generate(self, z: Tensor) -> Tensor:
        """Return generated examples in the range that the critic sees, `(batch, *shape)`.

        Override this to map the generator's outputs in another way.

        Arguments:
            z: latent vectors, followed by the one-hot label if the model is conditional.
        """
        # Autocast may have lowered the precision.
        x = self.generator(z).to(z.dtype)
        if self.output == "sigmoid":
            return x.sigmoid()
        return x.tanh() if self.output == "tanh" else x

    def _score_scaled(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Score examples that are already in the critic's range.

        Scores are averaged in single precision, because the gap is a small difference of means.
        """
        return at_least_single(scores(self.critic, self.with_labels(x, given)))

    def _to_critic_range(self, x: Tensor) -> Tensor:
        return to_tanh_range(x) if self.output == "tanh" else x


def _sample_variance_ratio(generated: Tensor, real: Tensor) -> Tensor:
    """Return the ratio of the mean variances over a batch, or 1 for a batch of one."""
    if real.shape[0] < 2:
        return real.new_ones(())
    floor = torch.finfo(real.dtype).eps
    return generated.var(dim=0).mean() / real.var(dim=0).mean().clamp(min=floor)


def initialize(parts: nn.Module, std: float = 0.02) -> None:
    """Initialize a network in place as DCGAN does.

    Weights are drawn from N(0, std^2), the gains of norms from N(1, std^2), and biases are 0.
    """
    for module in parts.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if isinstance(weight, nn.Parameter):
            nn.init.normal_(weight, mean=1.0 if weight.dim() == 1 else 0.0, std=std)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
