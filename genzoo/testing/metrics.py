"""Checks of metrics: they measure a suitable model and do not change it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any
from unittest import SkipTest

import torch
from torch import Tensor

from genzoo.contract import (
    Dataset,
    Measurement,
    Metric,
    Model,
    Part,
    Shape,
    generated_columns,
    has_capability,
)
from genzoo.errors import GenzooError
from genzoo.metrics.evaluate import measure
from genzoo.metrics.evidence import Evidence
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.testing.sanity import SANITY, passed_checks
from genzoo.testing.subject import Subject, close, demand

__all__ = ["ALWAYS"]

_ROWS = 16
_MODELS: tuple[tuple[Part, Shape], ...] = (
    ("vae", (1, 8, 8)),
    ("vae", (2,)),
    ("vae", (1, 28, 28)),
    ({"name": "vae", "prior": "mog"}, (2,)),
    ("nade", (1, 8, 8)),
    ({"name": "pixel-rnn", "layer": "conv", "hidden": 4, "depth": 1, "classes": 2}, (1, 8, 8)),
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
    """Check that it measures a suitable model: finite numbers with their fields."""
    metric = subject()
    rows = _measure(metric, _evidence(metric))
    demand(len(rows) > 0, "it returns no measurement")
    for row in rows:
        name = row.quantity
        demand(isinstance(name, str) and name != "", f"quantity = {name!r}: expected a name")
        for key in ("value", "standard_error", "floor"):
            number = getattr(row, key)
            if number is None and key != "value":
                continue
            demand(
                isinstance(number, int | float),
                f"{key} of {name!r} is a {type(number).__name__}, not a plain number",
            )
            demand(math.isfinite(number), f"{key} of {name!r} is {number}")
        demand(
            row.standard_error is None or row.standard_error >= 0,
            f"standard_error of {name!r} is {row.standard_error}",
        )
        demand(
            isinstance(row.n, int) and row.n > 0, f"n of {name!r} is {row.n!r}: expected a count"
        )
        demand(
            row.higher_is_better in (True, False, None),
            f"higher_is_better of {name!r} is {row.higher_is_better!r}",
        )
    keys = [(row.quantity, row.network) for row in rows]
    demand(len(set(keys)) == len(keys), f"several measurements have the same name: {keys}")


def check_repeats(subject: Subject) -> None:
    """Check that it measures the same values again with the same seed."""
    metric = subject()
    evidence = _evidence(metric)
    first, second = _measure(metric, evidence), _measure(metric, evidence)
    demand(first == second, f"with the same seed, it measures {first}, then {second}")


def check_order(subject: Subject) -> None:
    """Check that values do not depend on the samples and features that other metrics asked for."""
    metric = subject()
    fresh, used = _evidence(metric), _evidence(metric)
    first = _measure(metric, fresh)
    if has_capability(used.model, "sample"):
        _ = used.samples
        if len(generated_columns(used.model)) == 1:
            used.features(None, "train")
    demand(
        _measure(metric, used) == first,
        "its values depend on which other metrics were measured before",
    )


def check_leaves_the_model(subject: Subject) -> None:
    """Check that it does not change the model's weights, buffers, mode, or gradients."""
    metric = subject()
    evidence = _evidence(metric)
    model = evidence.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # `measure` would restore the mode.
    torch.manual_seed(0)
    list(metric(evidence.reading(metric.reads)))
    close(dict(model.state_dict()), before, "it changes the model")
    demand(
        not any(module.training for module in model.modules()),
        "it leaves the model in training mode",
    )
    demand(all(p.grad is None for p in model.parameters()), "it leaves gradients in the model")


def check_sanity(subject: Subject) -> None:
    """Check that a metric passes exactly the published sanity checks that it declares."""
    metric = subject()
    if metric.passes is None:
        raise SkipTest("it declares no sanity checks: its attribute `passes` is None")
    declared = {quantity: tuple(names) for quantity, names in metric.passes.items()}
    unknown = {name for names in declared.values() for name in names} - set(SANITY)
    demand(not unknown, f"passes names {sorted(unknown)}; the checks are {', '.join(SANITY)}")
    passed = passed_checks(metric)
    for quantity in sorted({*passed, *declared}):
        demand(
            set(declared.get(quantity, ())) == set(passed.get(quantity, ())),
            f"{quantity!r} passes the sanity checks {passed.get(quantity, ())}, but declares "
            f"{declared.get(quantity, ())}",
        )


def _measure(metric: Metric, evidence: Evidence) -> tuple[Measurement, ...]:
    return measure(metric, evidence, "test")


def _evidence(metric: Metric) -> Evidence:
    """Return evidence of a suitable model: random rows in three batches, the last one shorter."""
    model = _model_for(metric)
    torch.manual_seed(0)
    n = 2 * _ROWS + 5
    train, test = ({**_columns(model, model.example(n))} for _ in range(2))
    for name in metric.reads:
        test.setdefault(name, torch.rand(n, *model.shape))
    return Evidence(model, Dataset(train, test), batch_size=_ROWS)


def _columns(model: Model, batch: Any) -> Mapping[str, Tensor]:
    return {model.inputs[0]: batch} if isinstance(batch, Tensor) else batch


def _model_for(metric: Metric) -> Model:
    """Return the first suitable model in evaluation mode; skip the test if no model is suitable."""
    candidates = _candidates()
    if metric.on_request:  # It takes long, so small examples come first.
        candidates = iter(sorted(candidates, key=lambda candidate: math.prod(candidate[1])))
    for name, shape in candidates:
        try:
            torch.manual_seed(0)
            model = build(name, "models", shape=shape)
        except Exception:
            # The model rejects this shape, or its plugin is broken. The metric is not at fault.
            continue
        if not metric.lacking(model):
            return model.eval()
    raise SkipTest(
        f"no registered model has {', '.join(metric.needs) or 'the requirements of this metric'}"
    )


def _candidates() -> Iterator[tuple[Part, Shape]]:
    yield from _MODELS
    models = registry("models")
    for name in models.available():
        try:
            target = models.get(name)
        except GenzooError:
            continue
        yield from ((name, shape) for shape in getattr(target, "example_shapes", ()))


ALWAYS = (
    check_builds,
    check_lacking,
    check_measures,
    check_repeats,
    check_order,
    check_leaves_the_model,
    check_sanity,
)
"""The checks of every metric."""
