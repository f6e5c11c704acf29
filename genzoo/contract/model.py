"""A model: what can be trained and sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from genzoo.contract.dataset import Shape
from genzoo.contract.inputs import check_methods
from genzoo.contract.parts import Configurable
from genzoo.contract.player import Player

Batch = Tensor | Mapping[str, Tensor]
"""What a loss gets: a tensor where a model has one input, else a mapping from input to tensor."""

_TAKES: Mapping[str, str] = MappingProxyType(
    {
        "sample": "n",
        **dict.fromkeys(
            ("encode", "posterior", "reconstruct", "log_prob", "elbo", "log_prob_bound"), "shape"
        ),
        **dict.fromkeys(
            ("bits_per_dim", "score_samples", "conditionals", "complete", "score"), "shape"
        ),
        "decode": "latent_dim",
        "translate": "tensor",
    }
)
"""The methods of models whose first argument is checked, and what it is (see `genzoo.contract.inputs.check_methods`)."""


class Model(Configurable):
    """What can be trained and sampled: a constructor that takes `shape`, a `loss(batch)` and a `sample(n)`.

    Beyond that, capabilities are methods that a model has or has not: `log_prob(x)` (exact, nats, shape `(batch,)`), `elbo(x)`
    and `log_prob_bound(x, samples)` (a bound is called so), `encode(x)`, `posterior(x)`, `decode(z)`, `reconstruct(x)`,
    `complete(x, mask)`, `conditionals(x)` (a distribution for each number of an example), `bits_per_dim(x)`, `score_samples(x)`,
    `score(x)` (a critic's, `(batch,)`), `translate(x)` (data of one domain to data of another) and `text(x)` (samples as lines of
    text). A conditional model takes what it is given as the argument after `x`. Calls of these methods are checked (see
    `genzoo.contract.inputs`): a subclass need not refuse other shapes, dtypes and devices, or a number of samples that is none.

    A model whose best parameters have a closed form has `solve(batches)`: the trainer then calls it once, on one pass over the
    training data, in place of the players' rounds, and logs the mean loss. Every process reads all rows.

    The constructor takes `shape`, that of what it samples. It may also take `given_shape`, that of what it is given, and whatever
    its data set tells (see `Dataset.metadata`); the trainer hands these down.
    """

    kind_of_part: ClassVar[str] = "models"
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    """The data columns that a loss reads; one name gives it a tensor, several a mapping."""
    given: ClassVar[tuple[str, ...]] = ()
    """The columns that `sample` needs as `given`: a tensor for one, a mapping for several."""
    training_state: ClassVar[tuple[str, ...]] = ()
    """Names of submodules and buffers that training needs and a user does not: in checkpoints, not in exports."""
    example_shapes: ClassVar[tuple[Shape, ...]] = ((1, 8, 8), (3, 9, 12))
    """The shapes for which the conformance suite builds it."""
    shape: Shape

    # The optional capabilities, for type checkers: they cannot know which model a folder or a table
    # holds. An annotation creates no attribute, so a model has a capability only if its class
    # defines the method.
    encode: Callable[..., Tensor]
    posterior: Callable[..., Distribution]
    decode: Callable[..., Tensor]
    reconstruct: Callable[..., Tensor]
    log_prob: Callable[..., Tensor]
    bits_per_dim: Callable[..., Tensor]
    score_samples: Callable[..., Tensor]
    conditionals: Callable[..., Distribution]
    complete: Callable[..., Tensor]
    elbo: Callable[..., Tensor]
    log_prob_bound: Callable[..., Tensor]
    score: Callable[..., Tensor]
    translate: Callable[..., Tensor]
    text: Callable[..., list[str]]
    solve: Callable[..., None]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_methods(cls, _TAKES)

    def loss(self, batch: Any) -> Mapping[str, Tensor]:
        """The objective of the default player: `{"loss": scalar, ...}`."""
        raise NotImplementedError(
            f"{type(self).__name__} has neither a loss(batch) nor players() of its own"
        )

    def sample(self, n: int, given: Any = None) -> Any:
        """`n` samples, without gradients, on the model's device and in its dtype; images in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} has no sample(n)")

    def players(self) -> tuple[Player, ...]:
        """Who trains this model; by default one player that owns all of it and minimises `loss`."""
        return (Player(name="model", owns=(self,), loss=self.loss),)

    def round(
        self,
        plan: Sequence[tuple[Player, int]],
        batches: Sequence[Batch],
        update: Callable[[Player, Batch], None],
    ) -> None:
        """One round of the game: each player makes its steps, on the last of the batches if it makes fewer than others.

        Schemes that need another order override this (rare).

        Arguments:
            plan: the players with the number of steps that each makes this round.
            batches: as many as the largest number of steps.
            update: makes one step of a player on a batch.
        """
        for player, steps in plan:
            for batch in batches[len(batches) - steps :]:
                update(player, batch)

    def diagnose(self, line: Mapping[str, float], progress: float) -> str | None:  # noqa: ARG002
        """What a person should know about a line of the log, in words that hold no numbers: the trainer says each text once.

        Arguments:
            line: the means that were logged, by the names in the log (`"critic/sample_variance_ratio"`).
            progress: the fraction of training that is done.
        """
        return None

    def check_batch(self, batch: Batch) -> None:
        """Refuse, by name, a batch that this model cannot be trained on; the trainer asks once, before it writes anything.

        Here values may be looked at, which a loss should not do: it would wait for the device at every step.
        """

    def batch_size(self, batch: Batch) -> int:
        """How many examples a batch holds."""
        return len(batch if isinstance(batch, Tensor) else next(iter(batch.values())))

    def unpack(self, batch: Batch) -> tuple[Any, Any]:
        """The examples of a batch, and what they are `given`, or None: each a tensor for one column, a mapping for several."""
        if isinstance(batch, Tensor):
            return (None, batch) if self.given else (batch, None)
        return _columns(batch, generated_columns(self)), _columns(batch, self.given)

    def example(self, n: int) -> Batch:
        """A valid batch of `n` made-up examples on the model's device, for the conformance suite."""
        return torch.rand(
            n, *self.shape, device=self.reference_tensor.device, dtype=self.reference_tensor.dtype
        )

    @property
    def is_discrete(self) -> bool:
        """Whether likelihoods are probabilities of discrete data rather than densities, so that bits can be made of them."""
        return False

    @property
    def reference_tensor(self) -> Tensor:
        """A tensor with the model's device and floating dtype."""
        tensors: Iterable[Tensor] = (*self.parameters(), *self.buffers())
        return next((t for t in tensors if t.is_floating_point()), torch.zeros(()))


def generated_columns(model: Any) -> list[str]:
    """The data columns that a model, or a class of models, makes: its inputs but for what it is given."""
    given = getattr(model, "given", ())
    return [name for name in getattr(model, "inputs", ()) if name not in given]


def _columns(batch: Mapping[str, Tensor], names: Sequence[str]) -> Any:
    found = {name: batch[name] for name in names}
    return found if len(found) > 1 else next(iter(found.values()), None)
