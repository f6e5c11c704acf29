"""The contract: what a model, a player, a part, a data set and a metric must do, with shapes and units.

A **model** is a `torch.nn.Module` that can `sample(n)` and names the **players** that train it. Everything else is a part that a
model holds, or a function that takes a model.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from genzoo.build import Made, check, config, filled, note, settings_of
from genzoo.dataset import Dataset, Shape, is_image
from genzoo.errors import SettingError
from genzoo.inputs import check_methods
from genzoo.ranks import alone
from genzoo.registry import CONTRACT as VERSION
from genzoo.signatures import bind, parameters

Batch = Tensor | Mapping[str, Tensor]
"""What a loss gets: a tensor where a model has one input, else a mapping from input to tensor."""
Part = nn.Module | str | Mapping[str, Any]
"""A slot: an instance, a registered name, or a table with a name and settings."""
Positive = Annotated[int, Gt(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Count = Annotated[int, Gt(0), Le(10_000)]
"""A number that stays small, such as of layers, of steps a round, or of pixels along a side."""

__all__ = [
    "VERSION", "Batch", "Configurable", "Count", "Critic", "Dataset", "Decoder", "Divergence", "Encoder", "Metric", "Model",
    "NonNegativeFloat", "Part", "Penalty", "Player", "Positive", "PositiveFloat", "Prior", "Shape", "Translator", "is_image",
    "made_columns",
]  # fmt: skip


class _Recorded:
    """What checks and records its constructor's arguments, outside its attributes."""

    kind_of_part: ClassVar[str] = ""
    """The registry that parts of this class belong to, such as `"encoders"`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ARG004, for the constructor
        # here, since a dataclass gets its constructor only after the class was made
        if getattr(cls.__init__, "checked", None) is not cls.__init__:
            cls.__init__ = _checked(cls.__init__)  # type: ignore[method-assign]
        return super().__new__(cls)


class Configurable(_Recorded, nn.Module):
    """A module that remembers its constructor's arguments, outside its attributes, so that it can be built again.

    `config` is the table for `genzoo.build`; subclasses need do nothing for it. A direct call checks
    the arguments as `build` does: lists become tuples, and a table without a name, such as
    `{"hidden": (8,)}`, changes the settings of the slot's default.
    """

    @property
    def config(self) -> dict[str, Any]:
        """The table that builds this again, with every default filled in.

        Raises:
            SettingError: it, or a part that it holds, is not registered.
        """
        return config(self)

    def extra_repr(self) -> str:
        own = {key: value for key, value in settings_of(self).items() if not isinstance(getattr(self, key, None), nn.Module)}
        return ", ".join(f"{key}={value!r}" for key, value in own.items())


def _checked(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that gets its arguments as `build` hands them down, and records them."""

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        if type(self).__init__ is checked:  # not one that a subclass's constructor calls
            args, kwargs = _arguments(self, args, kwargs)
        with alone():  # weights are drawn from the caller's random state, not from that of a run in another thread
            init(self, *args, **kwargs)

    checked.checked = checked  # type: ignore[attr-defined]
    return checked


def _arguments(part: _Recorded, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Check a constructor's arguments and record them; return them with partial tables completed."""
    cls = type(part)
    try:
        bound = bind(cls, *args, **kwargs)
    except TypeError:  # the constructor itself says what is wrong
        return args, kwargs
    known = bound.signature.parameters
    above = [name for name in parameters(cls) if name not in known]
    settings: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if known[name].kind is inspect.Parameter.VAR_KEYWORD:
            settings |= value
        elif known[name].kind is inspect.Parameter.VAR_POSITIONAL:
            settings |= dict(zip(above, value, strict=False))
        else:
            settings[name] = value
    settings = check(cls, settings, cls.__name__, cls.__name__)
    note(part, Made(cls.kind_of_part, "", filled(cls, settings)))
    for name, value in bound.arguments.items():
        if known[name].kind is inspect.Parameter.VAR_KEYWORD:
            bound.arguments[name] = {key: settings[key] for key in value}
        elif known[name].kind is inspect.Parameter.VAR_POSITIONAL:
            passed = [settings[key] for key in above[: len(value)]]
            bound.arguments[name] = (*passed, *value[len(passed) :])
        else:
            bound.arguments[name] = settings[name]
    return bound.args, bound.kwargs


@dataclass(frozen=True)
class Player:
    """One participant in training: the parameters it moves, and the loss it moves them for.

    Arguments:
        name: what recipes and logs call it (`"autoencoder"`, `"critic"`).
        owns: the modules whose parameters this player moves; no other player may move them in the same round.
        loss: batch -> `{"loss": scalar, ...}`; whatever stands beside `"loss"` is logged.
        steps: steps a round, or round, counted from 0, -> steps (which may then be 0).
        optimizer: a name in `torch.optim` and its settings; a recipe may override them.
        schedule: fraction of training in [0, 1] -> factor on the learning rate.
        after: an in-place constraint after each step, such as weight clipping; called without gradients.
    """

    name: str
    owns: tuple[nn.Module, ...]
    loss: Callable[[Any], Mapping[str, Tensor]]
    steps: int | Callable[[int], int] = 1
    optimizer: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({"name": "Adam", "lr": 1e-3}))
    schedule: Callable[[float], float] | None = None
    after: Callable[[], None] | None = None

    def parameters(self) -> list[nn.Parameter]:
        """The parameters it moves, each once; those that the author froze stay frozen."""
        found = {id(p): p for module in self.owns for p in module.parameters() if p.requires_grad}
        return list(found.values())


_TAKES: Mapping[str, str] = MappingProxyType(
    {
        "sample": "n",
        **dict.fromkeys(("encode", "posterior", "reconstruct", "log_prob", "elbo", "log_prob_bound"), "shape"),
        **dict.fromkeys(("bits_per_dim", "score_samples", "conditionals", "complete", "score"), "shape"),
        "decode": "latent_dim",
        "translate": "tensor",
    }
)
"""The methods of models whose first argument is checked, and what it is (see `genzoo.inputs.check_methods`)."""


class Model(Configurable):
    """What can be trained and sampled: a constructor that takes `shape`, a `loss(batch)` and a `sample(n)`.

    Beyond that, capabilities are methods that a model has or has not: `log_prob(x)` (exact, nats, shape `(batch,)`), `elbo(x)`
    and `log_prob_bound(x, samples)` (a bound is called so), `encode(x)`, `posterior(x)`, `decode(z)`, `reconstruct(x)`,
    `complete(x, mask)`, `conditionals(x)` (a law for each number of an example), `bits_per_dim(x)`, `score_samples(x)`,
    `score(x)` (a critic's, `(batch,)`), `translate(x)` (data of one domain to data of another) and `text(x)` (samples as lines of
    text). A conditional model takes what it is given as the argument after `x`. Calls of these methods are checked (see
    `genzoo.inputs`): a subclass need not refuse other shapes, dtypes and devices, or a number of samples that is none.

    A model whose best parameters have a closed form has `solve(batches)`: the trainer then calls it once, on one pass over the
    training data, in place of the players' rounds, and logs the mean loss. Every process reads all rows.

    The constructor takes `shape`, that of what it samples. It may also take `given_shape`, that of what it is given, and whatever
    its data set tells (see `Dataset.tells`); the trainer hands these down.
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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_methods(cls, _TAKES)

    def loss(self, batch: Any) -> Mapping[str, Tensor]:
        """The objective of the default player: `{"loss": scalar, ...}`."""
        raise NotImplementedError(f"{type(self).__name__} has neither a loss(batch) nor players() of its own")

    def sample(self, n: int, given: Any = None) -> Any:
        """`n` samples, without gradients, on the model's device and in its dtype; images in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} has no sample(n)")

    def players(self) -> tuple[Player, ...]:
        """Who trains this model; by default one player that owns all of it and minimises `loss`."""
        return (Player("model", owns=(self,), loss=self.loss),)

    def round(
        self, plan: Sequence[tuple[Player, int]], batches: Sequence[Batch], update: Callable[[Player, Batch], None]
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

    def advice(self, line: Mapping[str, float], progress: float) -> str | None:  # noqa: ARG002
        """What a person should know about a line of the log, in words that hold no numbers: the trainer says each text once.

        Arguments:
            line: the means that were logged, by the names in the log (`"critic/spread"`).
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
        return _columns(batch, made_columns(self)), _columns(batch, self.given)

    def example(self, n: int) -> Batch:
        """A valid batch of `n` made-up examples on the model's device, for the conformance suite."""
        return torch.rand(n, *self.shape, device=self.like.device, dtype=self.like.dtype)

    @property
    def discrete(self) -> bool:
        """Whether likelihoods are probabilities of discrete data rather than densities, so that bits can be made of them."""
        return False

    @property
    def like(self) -> Tensor:
        """A tensor with the model's device and floating dtype."""
        tensors: Iterable[Tensor] = (*self.parameters(), *self.buffers())
        return next((t for t in tensors if t.is_floating_point()), torch.zeros(()))


def made_columns(model: Any) -> list[str]:
    """The data columns that a model, or a class of models, makes: its inputs but for what it is given."""
    given = getattr(model, "given", ())
    return [name for name in getattr(model, "inputs", ()) if name not in given]


def _columns(batch: Mapping[str, Tensor], names: Sequence[str]) -> Any:
    found = {name: batch[name] for name in names}
    return found if len(found) > 1 else next(iter(found.values()), None)


class Encoder(Configurable):
    """Data -> features: `Encoder(shape, dim)` maps `(batch, *shape)` to `(batch, dim)`, unconstrained."""

    kind_of_part: ClassVar[str] = "encoders"
    shape: Shape
    dim: int


class Decoder(Configurable):
    """Latent -> data (a generator is a decoder): `Decoder(dim, shape)` maps `(batch, dim)` to `(batch, *shape)`, unconstrained.

    The model that holds it applies what its likelihood asks for (a sigmoid for images).
    """

    kind_of_part: ClassVar[str] = "decoders"
    dim: int
    shape: Shape


class Critic(Configurable):
    """Data -> score: `Critic(shape)` maps `(batch, *shape)` to `(batch,)`, unconstrained (a discriminator's logit)."""

    kind_of_part: ClassVar[str] = "critics"
    shape: Shape


class Translator(Configurable):
    """Data -> data: `Translator(given_shape, shape)` maps `(batch, *given_shape)` to `(batch, *shape)`, unconstrained.

    The model that holds it applies what its data ask for (a sigmoid or tanh for images).
    """

    kind_of_part: ClassVar[str] = "translators"
    given_shape: Shape
    shape: Shape


class Prior(Configurable):
    """A law on latent vectors: `Prior(dim)`, with `sample` and, where it has a density, `log_prob`."""

    kind_of_part: ClassVar[str] = "priors"
    dim: int
    spherical: ClassVar[bool] = False
    """Whether the law looks the same in every direction from the origin; paths between codes then turn (`genzoo.codes.slerp`)."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_methods(cls, {"sample": "n", "truncated": "n", "strata": "n", "log_prob": "dim", "component": "dim"})

    def sample(self, n: int) -> Tensor:
        """`n` draws, `(n, dim)`; differentiable in the prior's parameters where it is learned and that is possible."""
        raise NotImplementedError(f"{type(self).__name__} has no sample(n)")

    def truncated(self, n: int, threshold: float) -> Tensor:  # noqa: ARG002
        """`n` draws, `(n, dim)`, that stay within `threshold` standard deviations of a mean in each coordinate."""
        raise SettingError(f'{type(self).__name__} cannot be truncated; take a prior that can, such as "normal" or "mog"')

    def log_prob(self, z: Tensor) -> Tensor:  # noqa: ARG002
        """Log-density in nats, `(batch, dim)` -> `(batch,)`."""
        raise SettingError(f'{type(self).__name__} has no density; take a prior that has one, such as "normal" or "mog"')

    @property
    def variance(self) -> Tensor:
        """The variance of each coordinate, `(dim,)`."""
        raise SettingError(f"{type(self).__name__} does not state its variance; give it a `variance` of shape (dim,)")

    def strata(self, n: int) -> tuple[Tensor, Tensor]:
        r"""A stratified sample for expectations: draws `(K, m, dim)` with K * m >= n, and the strata's weights `(K,)`.

        \( E f(z) \approx \sum_k w_k \frac1m \sum_i f(z_{ki}) \). A mixture enumerates its components here, which gives its
        weights a gradient; everything else is one stratum of weight 1.
        """
        z = self.sample(n)
        return z[None], z.new_ones(1)


class Divergence(Configurable):
    """How far apart two laws are: `forward(p, q)`, or `forward(q, prior, z)` for laws with a draw `z` that the caller has.

    Between samples `(n, dim)`, or a sample and a `Prior`, the result is a scalar; between a batch of distributions and a prior
    it is `(batch,)`.
    """

    kind_of_part: ClassVar[str] = "divergences"


class Penalty(Configurable):
    """What a critic pays for not being smooth: `forward(critic, real, fake)`, a scalar; registered among the divergences.

    `critic` maps `(batch, *shape)` to `(batch,)`, and each example must be scored on its own: no batch norm in train mode.
    """

    kind_of_part: ClassVar[str] = "divergences"


class Metric(_Recorded):
    """A measurement of a trained model: built by name with its settings, then called with the model and data.

    `needs` names the capabilities without which it cannot be taken (`("encode", "decode")`; `"log_prob|elbo"` is either); who
    calls it says what is `lacking`.
    """

    kind_of_part: ClassVar[str] = "metrics"
    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()
    """Held-out columns that it reads beside the model's inputs; its batches are then mappings."""

    def lacking(self, model: Any) -> list[str]:
        """The needs that a model does not meet."""
        return [need for need in self.needs if not any(hasattr(model, name) for name in need.split("|"))]

    def __call__(self, model: Model, batches: Iterable[Any]) -> Mapping[str, float]:
        """Name -> value, over batches as `loss` would get them, without gradients."""
        raise NotImplementedError
