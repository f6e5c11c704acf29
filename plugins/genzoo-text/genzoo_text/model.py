"""WGAN-GP's model of characters: a generator whose probabilities of symbols go straight into the critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genzoo import Player, build
from genzoo.blocks.precision import at_least_single
from genzoo.contract import Count, Part, Penalty, Positive, PositiveFloat, Shape
from genzoo.errors import SettingError
from genzoo.models.latent import LatentModel, scores
from genzoo_text.alphabet import NAMELESS, decode
from genzoo_text.blocks import EXAMPLES, line_shape, symbols_of


class CharWGANGP(LatentModel):
    r"""A generator of lines of text against a critic whose slope is held near 1 between real and generated lines.

    The generator gives each of L places a distribution on V symbols, and the critic sees these probabilities where real lines are one-hot
    vectors. So nothing is drawn and everything has a gradient:

    \[ \min_g \max_D \; E_x D(x) - E_z D(p) - \lambda\, E \big( \| \nabla D(\epsilon x + (1 - \epsilon) p) \|_2 - 1 \big)^2,
       \qquad p = \operatorname{softmax} g(z), \quad \epsilon \sim U[0, 1] \text{ for each line} \]

    A sample takes the likeliest symbol at each place. To win, the generator has to be sure of each, as real lines are.

    Arguments:
        latent_dim: the number of latent coordinates.
        penalty_weight: \( \lambda \).
        critic_steps: the critic's steps a round; the generator makes one.
        penalty: a part of kind `"divergences"` that penalises the critic.
        generator: a part of kind `"decoders"`, which gives logits.
        critic: a part of kind `"critics"`, without batch norm.
        prior: the distribution of the latent vectors, a part of kind `"priors"`; a learned one is the generator's.
        vocabulary: the characters of the V symbols, padding first; the data set tells it. Without one, `text` shows pictures.
        shape: the shape of one line, `(L, V)`.

    Raises:
        SettingError: the shape is not that of a line, or the vocabulary has not V different symbols.

    References:
        Improved Training of Wasserstein GANs, Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, 2017,
            https://arxiv.org/abs/1704.00028; code: https://github.com/igul222/improved_wgan_training (gan_language.py)

    Example:
        >>> small = {"width": 8, "depth": 1}
        >>> table = {"name": "char-wgan-gp", "generator": small, "critic": small, "vocabulary": "␀�ab"}
        >>> model = build(table, shape=(6, 4))
        >>> model.text(torch.eye(4)[[2, 3, 3, 2, 0, 0]][None])
        ['abba']
    """

    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-4, "betas": (0.5, 0.9)}
    """Of both players."""
    example_shapes: ClassVar[tuple[Shape, ...]] = EXAMPLES

    def __init__(
        self,
        latent_dim: Positive = 128,
        penalty_weight: PositiveFloat = 10.0,
        critic_steps: Count = 10,
        penalty: Part = "gradient-penalty",
        generator: Part = "char-resnet",
        critic: Part = "char-resnet",
        prior: Part = "normal",
        vocabulary: str | None = None,
        shape: Shape = (32, 27),
    ) -> None:
        super().__init__()
        _, symbols = line_shape(shape, "char-wgan-gp")
        if vocabulary is not None and len(set(vocabulary)) != symbols:
            raise SettingError(
                f"vocabulary = {vocabulary!r} has {len(set(vocabulary))} different symbols, and lines of shape {tuple(shape)} "
                f"have {symbols}; leave it out, and the data set tells it."
            )
        self.shape, self.latent_dim, self.critic_steps, self.vocabulary = (
            tuple(shape),
            latent_dim,
            critic_steps,
            vocabulary,
        )
        self.generator = build(
            generator, "decoders", slot="generator", dim=latent_dim, shape=self.shape
        )
        self.critic = build(critic, "critics", shape=self.shape)
        self.prior = build(prior, "priors", dim=latent_dim)
        self.penalty = build(penalty, "divergences", slot="penalty")
        self.penalty_weight = penalty_weight
        self.refuse_mixing(self.generator, self.critic)
        if not isinstance(self.penalty, Penalty):
            raise SettingError(
                f'penalty = {type(self.penalty).__name__} judges no critic; take "gradient-penalty".'
            )

    def decode(self, z: Tensor) -> Tensor:
        """Probabilities of the symbols, `(batch, latent_dim)` -> `(batch, L, V)`."""
        return self.generator(z).to(z.dtype).softmax(dim=-1)  # autocast may have lowered the logits

    @torch.no_grad()
    def sample(self, n: int, given: Any = None, truncation: float | None = None) -> Tensor:
        """The likeliest symbols of `n` lines, one-hot: `(n, L, V)`; arguments as of `LatentModel.sample`."""
        soft = super().sample(n, given, truncation)
        return one_hot(soft.argmax(dim=-1), self.shape[1]).to(soft.dtype)

    def text(self, x: Tensor) -> list[str]:
        """Lines `(n, L, V)`, one-hot or as probabilities, in characters, without the padding at their ends."""
        return decode(x.argmax(dim=-1).cpu().numpy(), self.vocabulary or NAMELESS)

    def score(self, x: Tensor) -> Tensor:
        """The critic's score of lines, `(batch, L, V)` -> `(batch,)`."""
        return at_least_single(scores(self.critic, x))

    def critic_loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        """The critic's loss on `batch`, `(batch, L, V)`, and as many of the generator's lines.

        Returns:
            `loss`; the mean scores `real` and `fake`; `gap`, real less fake; `penalty`, without its weight.
        """
        with torch.no_grad():
            made = self.decode(self.prior.sample(batch.shape[0]))
        real, fake = self.score(batch).mean(), self.score(made).mean()
        gap, penalty = real - fake, self.penalty(self.critic, batch, made)
        return {
            "loss": self.penalty_weight * penalty - gap,
            "real": real,
            "fake": fake,
            "gap": gap,
            "penalty": penalty,
        }

    def generator_loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        """The negative score of as many of the generator's lines as `batch` has."""
        return {"loss": -self.expectation(lambda z: self.score(self.decode(z)), batch.shape[0])}

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

    def check_batch(self, batch: Any) -> None:
        """Refuse what is not one-hot: probabilities or images would train, and `text` would mean nothing.

        Raises:
            DataError: some place has no single symbol.
        """
        symbols_of(batch, "char-wgan-gp")

    def example(self, n: int) -> Tensor:
        """Lines of symbols drawn uniformly, `(n, L, V)`."""
        length, symbols = self.shape
        drawn = torch.randint(symbols, (n, length), device=self.reference_tensor.device)
        return one_hot(drawn, symbols).to(self.reference_tensor.dtype)
