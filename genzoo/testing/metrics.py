"""What every metric must do: measure a model that has what it needs, and leave it as it was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any
from unittest import SkipTest

import torch
from torch import Tensor

from genzoo.contract import Metric, Model, Shape
from genzoo.errors import GenzooError
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.testing.subject import Subject, close, demand

_ROWS = 16
_MODELS: tuple[tuple[str, Shape], ...] = (
    ("vae", (1, 8, 8)),
    ("vae", (2,)),
    ("vae", (1, 28, 28)),
    ("nade", (1, 8, 8)),
)
"""What a metric is tried on first; then every registered model, at the shapes that it is tested for."""


def check_builds(subject: Subject) -> None:
    """It is a `Metric`, and names what it needs and reads."""
    metric = subject()
    demand(isinstance(metric, Metric), f"{type(metric).__name__} is not a genzoo.contract.Metric")
    for name in ("needs", "reads"):
        words = getattr(metric, name)
        right = isinstance(words, tuple) and all(isinstance(word, str) for word in words)
        demand(right, f'{name} = {words!r}: expected a tuple of names, as in ("encode",)')


def check_lacking(subject: Subject) -> None:
    """It says what a model lacks, one word each, and does not break where a model has nothing but its shape and inputs."""
    metric = subject()
    lacking = metric.lacking(SimpleNamespace(shape=(2,), inputs=("x",), given=()))
    right = isinstance(lacking, list) and all(isinstance(word, str) for word in lacking)
    demand(right, f"lacking(model) is {lacking!r}, not a list of names")
    missing = [need for need in metric.needs if need not in lacking]
    demand(not missing, f"a model without {', '.join(missing)} lacks {lacking!r}")


def check_measures(subject: Subject) -> None:
    """Of a model that has what it needs, it measures name -> finite number."""
    metric = subject()
    values = _measure(metric, _model_for(metric))
    right = (
        isinstance(values, Mapping)
        and len(values) > 0
        and all(isinstance(key, str) for key in values)
    )
    demand(right, f"it measures {values!r}, not a mapping from names")
    for key, value in values.items():
        demand(
            isinstance(value, int | float),
            f"{key!r} is a {type(value).__name__}, not a plain number",
        )
        demand(math.isfinite(value), f"{key!r} is {value}")


def check_repeats(subject: Subject) -> None:
    """From one seed it measures the same again."""
    metric = subject()
    model = _model_for(metric)
    one, two = _measure(metric, model), _measure(metric, model)
    demand(one == two, f"from one seed it measures {one}, then {two}")


def check_leaves_the_model(subject: Subject) -> None:
    """It changes neither the model's weights and buffers nor its mode, and leaves no gradients."""
    metric = subject()
    model = _model_for(metric)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _measure(metric, model)
    close(dict(model.state_dict()), before, "it changes the model")
    demand(
        not any(module.training for module in model.modules()), "it leaves the model in train mode"
    )
    demand(all(p.grad is None for p in model.parameters()), "it leaves gradients in the model")


def _measure(metric: Metric, model: Model) -> Mapping[str, float]:
    torch.manual_seed(0)
    batches = list(_batches(metric, model))
    torch.manual_seed(0)
    return metric(model, batches)


def _batches(metric: Metric, model: Model) -> Iterator[Any]:
    """Three batches, the last one shorter; columns that are only read are like the data that the model makes."""
    for n in (_ROWS, _ROWS, 5):
        batch = model.example(n)
        if metric.reads:
            columns = {model.inputs[0]: batch} if isinstance(batch, Tensor) else dict(batch)
            yield {**{name: torch.rand(n, *model.shape) for name in metric.reads}, **columns}
        else:
            yield batch


def _model_for(metric: Metric) -> Model:
    """The first model that lacks nothing, in eval mode; a test is skipped where there is none."""
    for name, shape in _candidates():
        try:
            torch.manual_seed(0)
            model = build(name, shape=shape)
        except (
            Exception
        ):  # a shape that it does not take, or a plugin that is broken: not this metric's affair
            continue
        if not metric.lacking(model):
            return model.eval()
    raise SkipTest(f"no registered model has {', '.join(metric.needs) or 'what it asks for'}")


def _candidates() -> Iterator[tuple[str, Shape]]:
    yield from _MODELS
    models = registry("models")
    for name in models.available():
        try:
            target = models.get(name)
        except GenzooError:
            continue
        yield from ((name, shape) for shape in getattr(target, "example_shapes", ()))


ALWAYS = (check_builds, check_lacking, check_measures, check_repeats, check_leaves_the_model)
