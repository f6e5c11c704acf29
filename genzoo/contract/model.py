"""The base class of models."""

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
from genzoo.contract.standardize import convert_methods

__all__ = ["Batch", "Model", "conditions", "generated_columns"]

Batch = Tensor | Mapping[str, Tensor]
"""The argument of a loss: a tensor if a model has one input, else input name -> tensor."""

_ROWS = (
    "encode",
    "posterior",
    "reconstruct",
    "log_prob",
    "elbo",
    "log_prob_bound",
    "bits_per_dim",
    "score_samples",
    "conditionals",
    "complete",
    "score",
)
_ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        "sample": "n",
        **dict.fromkeys(_ROWS, "shape"),
        "decode": "latent_dim",
        "translate": "tensor",
    }
)
"""Method -> the type of its first argument (see `genzoo.contract.inputs.check_methods`)."""


class Model(Configurable):
    """A generative model: a module with a constructor that takes `shape`, a loss, and `sample(n)`.

    Everything else is optional. A model offers a capability by defining its method, such as
    `log_prob(x)`, `encode(x)`, `decode(z)`, or `complete(x, mask)`. The protocols in
    `genzoo.contract` list these methods and their signatures, and `has_capability` asks for them.
    A conditional model takes `given` as the last argument of each method.

    Calls of these methods are checked, so a subclass does not have to reject wrong shapes, dtypes,
    devices, or sample counts.

    A model with a closed-form solution defines `solve(batches)`. The trainer then calls it once, on
    one pass over the training data, and logs the mean loss. Every process reads all rows.

    The constructor takes `shape`, the shape of one sample. It may also take `given_shape`, the
    shape of the condition, and any name in the dataset's `metadata`. The trainer passes these
    arguments.

    Example:
        >>> import genzoo
        >>> from torch import nn
        >>> class Constant(genzoo.Model):
        ...     def __init__(self, shape=(1, 28, 28)):
        ...         super().__init__()
        ...         self.shape = shape
        ...         self.image = nn.Parameter(torch.zeros(shape))
        ...
        ...     def loss(self, x):
        ...         return {"loss": (x - self.image).square().mean()}
        ...
        ...     @torch.no_grad()
        ...     def sample(self, n):
        ...         return self.image.expand(n, *self.shape).clamp(0, 1)
        >>> run = genzoo.fit(Constant((1, 8, 8)), "digits", steps=2, progress=False)
        >>> run.model.sample(4).shape
        torch.Size([4, 1, 8, 8])
    """

    kind_of_part: ClassVar[str] = "models"
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    """The data columns that a loss reads. One name gives it a tensor, several give it a mapping."""
    given: ClassVar[tuple[str, ...]] = ()
    """The columns that `sample` needs as `given`: a tensor for one, a mapping for several."""
    training_state: ClassVar[tuple[str, ...]] = ()
    """Submodules and buffers that only training needs: checkpoints keep them, exports do not."""
    example_shapes: ClassVar[tuple[Shape, ...]] = ((1, 8, 8), (3, 9, 12))
    """The shapes that the conformance suite tests."""
    classes: int = 0
    """The number of labels that the model is conditioned on, as the column `y`; 0 for none."""
    can_truncate: ClassVar[bool] = False
    """True if `sample` has the argument `truncation`, the bound on latent coordinates."""
    can_reverse: ClassVar[bool] = False
    """True if `translate` has the argument `reverse`, which translates the other way."""
    unsupported: tuple[str, ...] = ()
    """Methods that this instance does not support, such as `posterior` without a random encoder."""
    shape: Shape
    is_standardized: bool = False
    """True if the model computes in standardized units; see `genzoo.contract.Dataset`."""
    data_mean: Tensor
    data_scale: Tensor

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
        convert_methods(cls)
        check_methods(cls, _ARGUMENTS)

    def loss(self, batch: Any) -> Mapping[str, Tensor]:
        """Compute the objective of the default player: `{"loss": scalar, ...}`."""
        raise NotImplementedError(f"{type(self).__name__} does not define loss(batch) or players()")

    def sample(self, n: int, given: Any = None) -> Any:
        """Draw `n` samples without gradients, on the model's device and in its dtype.

        Images are in [0, 1].
        """
        raise NotImplementedError(f"{type(self).__name__} does not define sample(n)")

    def players(self) -> tuple[Player, ...]:
        """Return the players that train this model.

        The default is one player that owns the whole model and minimizes `loss`.
        """
        return (Player(name="model", owns=(self,), loss=self.loss),)

    def diagnose(self, line: Mapping[str, float], progress: float) -> str | None:  # noqa: ARG002
        """Return advice about a line of the log, or None.

        The trainer shows each text once, so the text must not contain numbers that change.

        Arguments:
            line: the logged means, by their names in the log (`"critic/gap"`).
            progress: the completed fraction of training.
        """
        return None

    def after_training(self, batches: Iterable[Batch]) -> None:
        """Fit what depends on the trained weights, such as a density of latent codes.

        The trainer calls this once, after the last step, without gradients and in eval mode. With
        averaged weights, it calls it for the averaged model, too.

        Arguments:
            batches: one pass over the training rows. Nothing is read unless this is iterated.
        """

    def check_batch(self, batch: Batch) -> None:
        """Reject a batch that this model cannot be trained on.

        The trainer calls this once, before it writes any file. This method may look at values. A
        loss should not, because it would wait for the device at every step.
        """

    def batch_size(self, batch: Batch) -> int:
        """Return the number of examples in a batch."""
        return len(batch if isinstance(batch, Tensor) else next(iter(batch.values())))

    def unpack(self, batch: Batch) -> tuple[Any, Any]:
        """Return the examples of a batch and their condition, which is None without `given`.

        Both are a tensor for one column, and a mapping for several columns.
        """
        if isinstance(batch, Tensor):
            return (None, batch) if self.given else (batch, None)
        return _columns(batch, generated_columns(self)), _columns(batch, self.given)

    def example(self, n: int) -> Batch:
        """Return a valid random batch of `n` examples, for the conformance suite."""
        like = self.reference_tensor
        return torch.rand(n, *self.shape, device=like.device, dtype=like.dtype)

    @property
    def is_discrete(self) -> bool:
        """True if likelihoods are probabilities of discrete data, not densities."""
        return False

    @property
    def parameter_count(self) -> int:
        """The number of trainable numbers in the model and all its parts."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def reference_tensor(self) -> Tensor:
        """A tensor with the model's device and floating-point dtype."""
        tensors: Iterable[Tensor] = (*self.parameters(), *self.buffers())
        return next((t for t in tensors if t.is_floating_point()), torch.zeros(()))


def generated_columns(model: Any) -> list[str]:
    """Return the data columns that a model, or a class of models, generates.

    These are its inputs without those in `given`.

    Example:
        >>> import genzoo
        >>> generated_columns(genzoo.load("vae", classes=10))
        ['x']
    """
    given = getattr(model, "given", ())
    return [name for name in getattr(model, "inputs", ()) if name not in given]


def conditions(given: Any) -> dict[str, Any]:
    """Return a condition as keyword arguments of a model's methods: none if it is None.

    A method of an unconditional model may have no argument `given`.

    Example:
        >>> conditions(None), conditions("labels")
        ({}, {'given': 'labels'})
    """
    return {} if given is None else {"given": given}


def _columns(batch: Mapping[str, Tensor], names: Sequence[str]) -> Any:
    columns = {name: batch[name] for name in names}
    return columns if len(columns) > 1 else next(iter(columns.values()), None)
