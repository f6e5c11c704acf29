"""The suites of checks: which checks apply to which kind.

A check is a function that takes a `Subject` and raises an error that names the broken promise.
`genzoo.testing` runs the checks.
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
    DistributionDivergence,
    Divergence,
    Encoder,
    FeatureNetwork,
    Logger,
    Metric,
    Model,
    Penalty,
    Prior,
    SampleDivergence,
    Shape,
    Translator,
    has_capability,
)
from genzoo.testing import (
    capabilities,
    datasets,
    divergences,
    feature_networks,
    loggers,
    metrics,
    models,
    networks,
    pretrained,
    priors,
)
from genzoo.testing.subject import Subject, check_device, no_inputs, no_outputs
from genzoo.weights import Entry

__all__ = ["KIND_OF", "SUITES", "CheckFunction", "Suite"]

CheckFunction = Callable[[Subject], None]
"""A function that checks one promise."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The checks of one base class, and the inputs that they need."""

    base: type
    """The class that a thing must be an instance of."""
    always: tuple[CheckFunction, ...]
    """The checks of everything with this base class."""
    optional: Mapping[str, tuple[CheckFunction, ...]] = field(default_factory=dict)
    """Method -> the checks of things that offer this method."""
    shapes: tuple[Shape, ...] = ((),)
    """The shapes to test, unless the class has `example_shapes`."""
    sizes: Callable[[Shape], Mapping[str, Any]] = lambda _: {}
    """Shape -> the constructor arguments that an owner would pass down."""
    inputs: Callable[[Shape, Tensor], tuple[Any, ...]] = no_inputs
    """Shape, and a tensor with the device and dtype -> the inputs of `outputs`."""
    outputs: Callable[..., dict[str, Tensor]] = no_outputs
    """A thing and its inputs -> everything that it computes."""

    def checks_for(self, thing: Any) -> list[CheckFunction]:
        """Return the checks that apply to a thing."""
        functions = [*self.always]
        for name, optional in self.optional.items():
            if self._offers(thing, name):
                functions += optional
        return functions

    def _offers(self, thing: Any, name: str) -> bool:
        """Return True if a thing has a method, not counting one that the contract only declares."""
        declared = getattr(self.base, name, None)
        if declared is not None:
            return getattr(type(thing), name) is not declared
        return has_capability(thing, name)

    @property
    def names(self) -> set[str]:
        """The names of its checks."""
        optional = [function for functions in self.optional.values() for function in functions]
        functions = (*self.always, *optional, check_device)
        return {function.__name__.removeprefix("check_") for function in functions}


_IMAGES: tuple[Shape, ...] = ((1, 8, 8), (3, 9, 12))
_CODES: tuple[Shape, ...] = ((1,), (4,))


def _network(
    base: type, inputs: Callable[[Shape, Tensor], tuple[Any, ...]], sizes: Callable[[Shape], Any]
) -> Suite:
    return Suite(
        base=base,
        always=networks.ALWAYS,
        shapes=_IMAGES,
        sizes=sizes,
        inputs=inputs,
        outputs=networks.outputs,
    )


SUITES: Mapping[str, tuple[Suite, ...]] = {
    "models": (
        Suite(
            base=Model,
            always=models.ALWAYS,
            optional=capabilities.CAPABILITIES,
            shapes=Model.example_shapes,
            sizes=lambda shape: {"shape": shape},
            outputs=models.outputs,
        ),
    ),
    "priors": (
        Suite(
            base=Prior,
            always=priors.ALWAYS,
            optional=priors.OPTIONAL,
            shapes=_CODES,
            sizes=priors.sizes,
            outputs=priors.outputs,
        ),
    ),
    "divergences": (
        Suite(
            base=Penalty,
            always=divergences.PENALTY,
            shapes=_IMAGES,
            inputs=divergences.critic_inputs,
            outputs=divergences.penalize,
        ),
        Suite(
            base=DistributionDivergence,
            always=divergences.DIVERGENCE,
            shapes=_CODES,
            inputs=divergences.posteriors,
            outputs=divergences.compare_distributions,
        ),
        Suite(
            base=SampleDivergence,
            always=divergences.DIVERGENCE,
            shapes=_CODES,
            inputs=divergences.codes,
            outputs=divergences.compare_samples,
        ),
    ),
    "encoders": (_network(Encoder, networks.data, networks.encoder_sizes),),
    "decoders": (_network(Decoder, networks.codes, networks.encoder_sizes),),
    "critics": (_network(Critic, networks.data, networks.critic_sizes),),
    "translators": (_network(Translator, networks.given, networks.translator_sizes),),
    "datasets": (Suite(base=Dataset, always=datasets.ALWAYS),),
    "metrics": (Suite(base=Metric, always=metrics.ALWAYS),),
    "networks": (
        Suite(
            base=FeatureNetwork,
            always=feature_networks.ALWAYS,
            shapes=_IMAGES,
            sizes=lambda shape: {"shape": shape},
            inputs=networks.data,
            outputs=feature_networks.outputs,
        ),
    ),
    "loggers": (Suite(base=Logger, always=loggers.ALWAYS),),
    "weights": (Suite(base=Entry, always=pretrained.ALWAYS),),
}
"""Kind -> its suites; a thing gets the first one whose base class it has."""
KIND_OF: Mapping[type, str] = {
    Divergence: "divergences",
    **{suite.base: kind for kind, suites in SUITES.items() for suite in suites},
}
"""Base class -> the kind of its instances and subclasses."""
