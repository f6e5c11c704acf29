"""The promises of the contract, one function each, and which of them are asked of what.

`genzoo.testing` runs them. A check gets a `Subject` and raises an error that says what is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from genzoo.contract import (
    Critic,
    Dataset,
    Decoder,
    Divergence,
    Encoder,
    Metric,
    Model,
    Penalty,
    Prior,
    Shape,
    Translator,
)
from genzoo.testing import capabilities, datasets, divergences, metrics, models, networks, priors
from genzoo.testing.subject import Subject, check_device, no_inputs, no_outputs

__all__ = ["KIND_OF", "SUITES", "Promise", "Subject", "Suite", "check_device"]

Promise = Callable[[Subject], None]


@dataclass(frozen=True)
class Suite:
    """What is asked of one sort of thing, and how it is made for that."""

    base: type
    """What it must be an instance of."""
    always: tuple[Promise, ...]
    where: Mapping[str, tuple[Promise, ...]] = field(default_factory=dict)
    """What is asked where it has a method of its own of this name."""
    shapes: tuple[Shape, ...] = ((),)
    """What it is made for, unless its class has `example_shapes`."""
    sizes: Callable[[Shape], Mapping[str, Any]] = lambda _: {}
    """What an owner would hand down for a shape."""
    inputs: Callable[[Shape, Tensor], tuple[Any, ...]] = no_inputs
    outputs: Callable[..., dict[str, Tensor]] = no_outputs
    picks: Callable[[Any], bool] = lambda _: True
    """Whether it is about a thing of its kind, where the kind has several sorts."""

    def promises(self, thing: Any) -> list[Promise]:
        """What is asked of a thing."""
        return [
            *self.always,
            *(run for name, runs in self.where.items() if self._has(thing, name) for run in runs),
        ]

    def _has(self, thing: Any, name: str) -> bool:
        """Whether it has a method, not one that it inherits from the contract, where that may only say that there is none."""
        inherited = getattr(self.base, name, None)
        return (
            hasattr(thing, name)
            if inherited is None
            else getattr(type(thing), name) is not inherited
        )

    @property
    def names(self) -> set[str]:
        """What its checks are called."""
        runs = (*self.always, *(run for runs in self.where.values() for run in runs), check_device)
        return {run.__name__.removeprefix("check_") for run in runs}


_IMAGES: tuple[Shape, ...] = ((1, 8, 8), (3, 9, 12))
_CODES: tuple[Shape, ...] = ((1,), (4,))


def _network(
    base: type, inputs: Callable[[Shape, Tensor], tuple[Any, ...]], sizes: Callable[[Shape], Any]
) -> Suite:
    return Suite(
        base, networks.ALWAYS, shapes=_IMAGES, sizes=sizes, inputs=inputs, outputs=networks.outputs
    )


SUITES: Mapping[str, tuple[Suite, ...]] = {
    "models": (
        Suite(Model, models.ALWAYS, capabilities.CAPABILITIES, Model.example_shapes, lambda shape: {"shape": shape},
              outputs=models.outputs),
    ),
    "priors": (Suite(Prior, priors.ALWAYS, priors.WHERE, _CODES, priors.sizes, outputs=priors.outputs),),
    "divergences": (
        Suite(Penalty, divergences.PENALTY, shapes=_IMAGES, inputs=divergences.examples, outputs=divergences.of_critics,
              picks=lambda thing: isinstance(thing, Penalty)),
        Suite(Divergence, divergences.DIVERGENCE, shapes=_CODES, inputs=divergences.posteriors, outputs=divergences.of_laws,
              picks=divergences.is_of_laws),
        Suite(Divergence, divergences.DIVERGENCE, shapes=_CODES, inputs=divergences.codes, outputs=divergences.of_samples),
    ),
    "encoders": (_network(Encoder, networks.data, networks.encoder_sizes),),
    "decoders": (_network(Decoder, networks.codes, networks.encoder_sizes),),
    "critics": (_network(Critic, networks.data, networks.critic_sizes),),
    "translators": (_network(Translator, networks.given, networks.translator_sizes),),
    "datasets": (Suite(Dataset, datasets.ALWAYS),),
    "metrics": (Suite(Metric, metrics.ALWAYS),),
}  # fmt: skip
"""The suites of each kind; the first that picks a thing is its own."""
KIND_OF: Mapping[type, str] = {
    suite.base: kind for kind, suites in SUITES.items() for suite in suites
}
"""The kind of an instance or a subclass."""
