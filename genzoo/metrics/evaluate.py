"""Evaluation: measure a trained model on held-out data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from genzoo.contract import Dataset, Metric, Model
from genzoo.data.arrays import as_dataset
from genzoo.data.stream import iterate_split
from genzoo.errors import SettingError, describe
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.runs.modes import eval_mode

__all__ = ["Evaluation", "evaluate"]


class Evaluation(dict[str, dict[str, float]]):
    """The measured values of a model: metric -> quantity -> value.

    Attributes:
        rows: the number of held-out rows that were used.
        skipped: the metrics that failed -> the reason in one line.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.skipped: dict[str, str] = {}


def evaluate(
    model: Model,
    dataset: Any,
    metrics: Sequence[str] | None = None,
    *,
    limit: int | None = None,
    batch_size: int = 500,
) -> Evaluation:
    """Measure a model on the held-out rows of a dataset.

    The model is in eval mode while it is measured. Each metric starts from the same seed. The
    random state of torch and the mode of the model are restored at the end.

    Arguments:
        model: a trained model.
        dataset: a `Dataset`, or a name, table, or arrays as for `genzoo.fit`.
        metrics: names of metrics. By default, every registered metric that the model supports; a
            metric that fails is then skipped.
        limit: use only the first `limit` held-out rows.
        batch_size: rows per batch.

    Returns:
        Metric -> quantity -> value. `skipped` holds the reasons of the metrics that failed.

    Raises:
        SettingError: a metric in `metrics` is unknown, or the model does not support it.
        DataError: the dataset has no held-out rows.

    Example:
        >>> import genzoo
        >>> run = genzoo.fit("vae", "digits", steps=2)
        >>> evaluation = evaluate(run.model, "digits", ["reconstruction"], limit=100)
        >>> sorted(evaluation["reconstruction"]), evaluation.rows
        (['squared_error'], 100)
    """
    dataset = as_dataset(dataset)
    rows = dataset.rows("test")
    evaluation = Evaluation(rows if limit is None else min(rows, limit))
    for name in registry("metrics").available() if metrics is None else metrics:
        try:
            metric = build(name, "metrics")
            missing = metric.lacking(model)
            if not missing:
                evaluation[name] = _measure(metric, model, dataset, limit, batch_size)
            elif metrics is not None:
                raise SettingError(_unsupported(name, missing, model))
        except Exception as error:
            if metrics is not None:
                raise
            evaluation.skipped[name] = describe(error)
    return evaluation


def _measure(
    metric: Metric, model: Model, dataset: Dataset, limit: int | None, batch_size: int
) -> dict[str, float]:
    """Return the values of one metric: quantity -> value."""
    columns = tuple(dict.fromkeys((*model.inputs, *metric.reads)))
    device = model.reference_tensor.device
    batches = iterate_split(dataset, columns, batch_size, model, limit=limit)
    with eval_mode(model), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        with torch.no_grad():
            return dict(metric(model, batches))


def _unsupported(name: str, missing: Sequence[str], model: Model) -> str:
    """Return the message for a model without the capabilities that a metric needs."""
    needs = " and ".join(need.replace("|", " or ") for need in missing)
    return f"metric {name!r} needs {needs}; {type(model).__name__} does not provide it."
