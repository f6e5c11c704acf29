"""What generative adversarial networks have in common: a generator and a critic who play against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from genzoo.blocks.precision import at_least_single
from genzoo.contract import Part, Penalty, Player, Shape, is_image
from genzoo.divergences.penalties import batch_norm
from genzoo.errors import SettingError
from genzoo.models.latent import LatentModel, scores
from genzoo.registry.build import build

Output = Literal["sigmoid", "tanh"]
"""How a generator's images are brought into their range, and the range in which the critic sees images: [0, 1] or [-1, 1]."""


class Adversarial(LatentModel):
    r"""A generator \( g \) from latent vectors to data against a critic \( D \) from data to scores; a subclass sets objectives.

    Outside, images are in [0, 1]; the critic sees real and generated ones in the range of `output`. Data of other shapes are
    taken and given as they are.

    Arguments:
        latent_dim: the number of latent coordinates.
        generator: a part of kind `"decoders"`.
        critic: a part of kind `"critics"`.
        prior: the distribution of the latent vectors, a part of kind `"priors"`; a learned one is the generator's.
        output: `"sigmoid"` or `"tanh"`, for images.
        critic_steps: the critic's steps a round; the generator makes one.
        penalty: a part of kind `"divergences"` that penalises the critic, or None.
        penalty_weight: its weight in the critic's loss.
        shape: the shape of one example, `(C, H, W)` or `(D,)`.
    """

    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 2e-4, "betas": (0.5, 0.999)}
    """Of both players."""

    def __init__(
        self,
        latent_dim: int,
        generator: Part,
        critic: Part,
        prior: Part,
        output: Output,
        critic_steps: int,
        penalty: Part | None,
        penalty_weight: float,
        shape: Shape,
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim, self.critic_steps = tuple(shape), latent_dim, critic_steps
        self.output = output if is_image(self.shape) else "none"
        self.generator = build(
            generator, "decoders", slot="generator", dim=latent_dim, shape=self.shape
        )
        self.critic = build(critic, "critics", shape=self.shape)
        self.prior = build(prior, "priors", dim=latent_dim)
        self.penalty = None if penalty is None else build(penalty, "divergences", slot="penalty")
        self.penalty_weight = penalty_weight
        self.refuse_mixing(self.generator, self.critic)
        if self.penalty is not None and not isinstance(self.penalty, Penalty):
            raise SettingError(
                f"penalty = {type(self.penalty).__name__} compares distributions, where a penalty judges a critic; "
                'take "gradient-penalty", "dragan" or "r1".'
            )
        if self.penalty is not None and (name := batch_norm(self.critic, training=False)):
            raise SettingError(
                f"critic: {name} mixes the examples of a batch, so that none has a gradient of its own to penalise; "
                'take norm = "layer", as WGAN-GP does, or "none".'
            )

    def critic_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic minimises, from its scores `(batch,)` of both kinds: by default the negative gap."""
        return fake.mean() - real.mean()

    def generator_objective(self, fake: Tensor) -> Tensor:
        """What the generator minimises for each of its examples, from their scores `(batch,)`: by default the negative score."""
        return -fake

    def decode(self, z: Tensor) -> Tensor:
        """`(batch, latent_dim)` -> `(batch, *shape)`; images in [0, 1]."""
        x = self.generate(z)
        return (x + 1) / 2 if self.output == "tanh" else x

    def score(self, x: Tensor) -> Tensor:
        """The critic's score of data, `(batch, *shape)` -> `(batch,)`."""
        return self._judge(self._seen(x))

    def critic_loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        """The critic's loss on `batch`, `(batch, *shape)`, and as many of the generator's examples.

        Returns:
            `loss`; the mean scores `real` and `fake`; `gap`, real less fake; `sample_variance_ratio`, the variance of a coordinate over the
            batch, of generated examples over that of real ones; `penalty`, without its weight, where there is one.
        """
        x = self._seen(batch)
        with torch.no_grad():
            made = self.generate(self.prior.sample(x.shape[0]))
        real, fake = self._judge(x), self._judge(made)
        loss = self.critic_objective(real, fake)
        report = {
            "real": real.mean(),
            "fake": fake.mean(),
            "gap": real.mean() - fake.mean(),
            "sample_variance_ratio": _sample_variance_ratio(made, x),
        }
        if self.penalty is not None:
            report["penalty"] = self.penalty(self.critic, x, made)
            loss = loss + self.penalty_weight * report["penalty"]
        return {"loss": loss, **report}

    def generator_loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        """The generator's loss on as many of its own examples as `batch` has."""
        return {
            "loss": self.expectation(
                lambda z: self.generator_objective(self._judge(self.generate(z))), batch.shape[0]
            )
        }

    def players(self) -> tuple[Player, ...]:
        return (
            Player(
                name="critic",
                owns=(self.critic,),
                loss=self.critic_loss,
                steps_per_round=self.critic_steps,
                optimizer=self.optimizer,
            ),
            Player(
                name="generator",
                owns=(self.generator, self.prior),
                loss=self.generator_loss,
                optimizer=self.optimizer,
            ),
        )

    def diagnose(self, line: Mapping[str, float], progress: float) -> str | None:
        begun = progress > 0.25 and line["step"] >= 200  # untrained generators vary little too
        if begun and line.get("critic/sample_variance_ratio", 1.0) < 0.05:
            return (
                "the generator's samples vary less than a twentieth as much as the data: it has collapsed to hardly more than "
                "one. Lower the learning rates, give the critic more steps, or take wgan-gp."
            )
        return None

    def generate(self, z: Tensor) -> Tensor:
        """Return generated examples in the range that the critic sees, `(batch, *shape)`.

        Override this to map the generator's outputs in another way.
        """
        x = self.generator(z).to(z.dtype)  # which autocast may have lowered
        return {"sigmoid": x.sigmoid, "tanh": x.tanh, "none": lambda: x}[self.output]()

    def _judge(self, x: Tensor) -> Tensor:
        """Scores of examples as the critic sees them, averaged in full precision: the gap is a small difference of means."""
        return at_least_single(scores(self.critic, x))

    def _seen(self, x: Tensor) -> Tensor:
        return 2 * x - 1 if self.output == "tanh" else x


def _sample_variance_ratio(made: Tensor, real: Tensor) -> Tensor:
    """The ratio of mean variances over a batch; 1 for a batch of one."""
    if real.shape[0] < 2:
        return real.new_ones(())
    floor = torch.finfo(real.dtype).eps
    return made.var(dim=0).mean() / real.var(dim=0).mean().clamp(min=floor)


def initialize(parts: nn.Module, std: float = 0.02) -> None:
    """DCGAN's start, in place: weights from N(0, std^2), gains of norms from N(1, std^2), biases 0."""
    for module in parts.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if isinstance(weight, nn.Parameter):
            nn.init.normal_(weight, mean=1.0 if weight.dim() == 1 else 0.0, std=std)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
