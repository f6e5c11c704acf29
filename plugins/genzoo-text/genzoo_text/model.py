"""WGAN-GP's character model: the critic sees the generator's probabilities of symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genzoo.contract import Count, Part, Positive, PositiveFloat, Shape
from genzoo.errors import SettingError
from genzoo.models.adversarial import Adversarial
from genzoo_text.alphabet import NAMELESS, decode
from genzoo_text.blocks import EXAMPLES, line_shape, symbols_of

__all__ = ["CharWGANGP"]


class CharWGANGP(Adversarial):
    r"""A GAN for lines of text, whose critic has a gradient penalty.

    At each of the L positions of a line, the generator returns a distribution over V symbols. The
    critic sees these probabilities in place of one-hot vectors. No symbol is sampled in training,
    so gradients reach the generator:

    \[ \min_g \max_D \; E_x D(x) - E_z D(p)
       - \lambda\, E \big( \| \nabla D(\epsilon x + (1 - \epsilon) p) \|_2 - 1 \big)^2,
       \qquad p = \operatorname{softmax} g(z),
       \quad \epsilon \sim U[0, 1] \text{ for each line} \]

    A sample takes the most probable symbol at each position. Real lines are one-hot, so the
    generator must learn probabilities close to 0 and 1.

    Arguments:
        latent_dim: the number of latent coordinates.
        penalty_weight: \( \lambda \).
        critic_steps: critic steps per round; the generator makes one step.
        penalty: a part of kind `"divergences"` that penalizes the critic.
        generator: a part of kind `"decoders"`, which returns logits.
        critic: a part of kind `"critics"`, without batch norm.
        prior: the distribution of the latent vectors, a part of kind `"priors"`. The generator
            trains the parameters of a learned prior.
        vocabulary: the characters of the V symbols, padding first. The dataset provides it.
            Without a vocabulary, `text` shows a braille pattern for each symbol.
        shape: the shape of one line, `(L, V)`.

    Raises:
        SettingError: the shape is not that of a line, or the vocabulary does not have V different
            symbols.

    References:
        Improved Training of Wasserstein GANs, Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville,
            2017, https://arxiv.org/abs/1704.00028;
            code: https://github.com/igul222/improved_wgan_training (gan_language.py)

    Example:
        >>> from genzoo import build
        >>> small = {"width": 8, "depth": 1}
        >>> table = {"name": "char-wgan-gp", "generator": small, "critic": small}
        >>> model = build({**table, "vocabulary": "␀�ab"}, shape=(6, 4))
        >>> model.text(torch.eye(4)[[2, 3, 3, 2, 0, 0]][None])
        ['abba']
    """

    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-4, "betas": (0.5, 0.9)}
    """The optimizer of both players."""
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
        _, symbols = line_shape(shape, "char-wgan-gp")
        super().__init__(
            latent_dim=latent_dim,
            generator=generator,
            critic=critic,
            prior=prior,
            output="sigmoid",  # not used: it applies to images only
            critic_steps=critic_steps,
            penalty=penalty,
            penalty_weight=penalty_weight,
            shape=shape,
        )
        if vocabulary is not None and len(set(vocabulary)) != symbols:
            raise SettingError(
                f"vocabulary = {vocabulary!r} has {len(set(vocabulary))} different symbols, but "
                f"lines of shape {tuple(shape)} have {symbols}; leave it out, and the dataset "
                "provides it."
            )
        self.vocabulary = vocabulary

    def generate(self, z: Tensor) -> Tensor:
        """Return the probabilities of the symbols, `(batch, latent_dim)` -> `(batch, L, V)`."""
        logits = self.generator(z).to(z.dtype)  # autocast may have lowered the precision
        return logits.softmax(dim=-1)

    @torch.no_grad()
    def sample(self, n: int, given: Any = None, truncation: float | None = None) -> Tensor:
        """Return the most probable symbols of `n` lines, one-hot, `(n, L, V)`.

        The arguments are those of `LatentModel.sample`.
        """
        probabilities = super().sample(n, given, truncation)
        symbols = probabilities.argmax(dim=-1)
        return one_hot(symbols, self.shape[1]).to(probabilities.dtype)

    def text(self, x: Tensor) -> list[str]:
        """Return lines as strings, without the padding at their ends.

        Arguments:
            x: one-hot vectors or probabilities, `(n, L, V)`.
        """
        return decode(x.argmax(dim=-1).cpu().numpy(), self.vocabulary or NAMELESS)

    def check_batch(self, batch: Any) -> None:
        """Check that a batch is one-hot. On other values, training runs but `text` is meaningless.

        Raises:
            DataError: the batch is not one-hot.
        """
        symbols_of(batch, "char-wgan-gp")

    def example(self, n: int) -> Tensor:
        """Return `n` lines of uniformly random symbols, one-hot, `(n, L, V)`."""
        length, count = self.shape
        symbols = torch.randint(count, (n, length), device=self.reference_tensor.device)
        return one_hot(symbols, count).to(self.reference_tensor.dtype)
