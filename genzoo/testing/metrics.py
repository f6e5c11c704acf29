"""Checks of metrics: they measure a suitable model and do not change it."""

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

__all__ = ["ALWAYS"]

_ROWS = 16
_MODELS: tuple[tuple[str, Shape], ...] = (
    ("vae", (1, 8, 8)),
    ("vae", (2,)),
    ("vae", (1, 28, 28)),
    ("nade", (1, 8, 8)),
)
"""The first models to try; then come all registered models, with their `example_shapes`."""


def check_builds(subject: Subject) -> None:
    """Check that it is a `Metric`, and that `needs` and `reads` are tuples of names."""
    metric = subject()
    demand(isinstance(metric, Metric), f"{type(metric).__name__} is not a genzoo.contract.Metric")
    for name in ("needs", "reads"):
        names = getattr(metric, name)
        right = isinstance(names, tuple) and all(isinstance(entry, str) for entry in names)
        demand(right, f'{name} = {names!r}: expected a tuple of names, as in ("encode",)')


def check_lacking(subject: Subject) -> None:
    """Check that `lacking` lists every need that a minimal model does not meet."""
    metric = subject()
    lacking = metric.lacking(SimpleNamespace(shape=(2,), inputs=("x",), given=()))
    right = isinstance(lacking, list) and all(isinstance(need, str) for need in lacking)
    demand(right, f"lacking(model) is {lacking!r}, not a list of names")
    missing = [need for need in metric.needs if need not in lacking]
    demand(not missing, f"a model without {', '.join(missing)} lacks {lacking!r}")


def check_measures(subject: Subject) -> None:
    """Check that it measures a suitable model: name -> finite number."""
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
    """Check that it measures the same values again with the same seed."""
    metric = subject()
    model = _model_for(metric)
    first, second = _measure(metric, model), _measure(metric, model)
    demand(first == second, f"with the same seed, it measures {first}, then {second}")


def check_leaves_the_model(subject: Subject) -> None:
    """Check that it does not change the model's weights, buffers, mode, or gradients."""
    metric = subject()
    model = _model_for(metric)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _measure(metric, model)
    close(dict(model.state_dict()), before, "it changes the model")
    demand(
        not any(module.training for module in model.modules()),
        "it leaves the model in training mode",
    )
    demand(all(p.grad is None for p in model.parameters()), "it leaves gradients in the model")


def _measure(metric: Metric, model: Model) -> Mapping[str, float]:
    torch.manual_seed(0)
    batches = list(_batches(metric, model))
    torch.manual_seed(0)
    return metric(model, batches)


def _batches(metric: Metric, model: Model) -> Iterator[Any]:
    """Yield three batches; the last one is shorter. Columns in `reads` have the model's shape."""
    for n in (_ROWS, _ROWS, 5):
        batch = model.example(n)
        if metric.reads:
            columns = {model.inputs[0]: batch} if isinstance(batch, Tensor) else dict(batch)
            yield {**{name: torch.rand(n, *model.shape) for name in metric.reads}, **columns}
        else:
            yield batch


def _model_for(metric: Metric) -> Model:
    """Return the first suitable model in evaluation mode; skip the test if no model is suitable."""
    for name, shape in _candidates():
        try:
            torch.manual_seed(0)
            model = build(name, shape=shape)
        except Exception:
            # The model rejects this shape, or its plugin is broken. The metric is not at fault.
            continue
        if not metric.lacking(model):
            return model.eval()
    raise SkipTest(
        f"no registered model has {', '.join(metric.needs) or 'the requirements of this metric'}"
    )


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
"""The checks of every metric."""
