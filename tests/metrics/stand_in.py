"""A model of given methods, and the values that a metric measures with it."""

from types import SimpleNamespace

import torch

import genzoo
from genzoo import Dataset
from genzoo.metrics import Evidence


class StandIn(SimpleNamespace):
    """A model whose methods and attributes are passed to the constructor."""

    unpack = genzoo.Model.unpack
    batch_size = genzoo.Model.batch_size

    def __init__(self, shape, **members):
        defaults = {"inputs": ("x",), "given": (), "reference_tensor": torch.zeros(())}
        super().__init__(**{**defaults, "shape": tuple(shape), **members})


def replay(rows):
    """Return a model whose samples are stored rows, one after another."""
    iterator = iter(rows)
    return StandIn(rows.shape[1:], sample=lambda n: torch.stack([next(iterator) for _ in range(n)]))


def evidence_of(model, test, train=None, **settings):
    """Return the evidence of a model and held-out rows; by default, the training rows are equal."""
    columns, more = (
        rows if isinstance(rows, dict) else {model.inputs[0]: rows}
        for rows in (test, test if train is None else train)
    )
    more = {name: column for name, column in more.items() if name in model.inputs}
    return Evidence(model, Dataset(more, columns), **settings)


def measurements(metric, model, test, train=None, **settings):
    """Return quantity -> measurement."""
    if isinstance(metric, str | dict):
        metric = genzoo.build(metric, "metrics")
    torch.manual_seed(0)
    evidence = evidence_of(model, test, train, **settings).reading(metric.reads)
    return {row.quantity: row for row in metric(evidence)}


def values(*arguments, **settings):
    """Return quantity -> value."""
    return {name: row.value for name, row in measurements(*arguments, **settings).items()}
