"""Evaluation: measure a trained model on held-out data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.contract import Figure, Measurement, Metric, Model, Part
from genzoo.data.arrays import as_dataset, is_folder
from genzoo.data.image_files import find_images
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.errors import MissingDataError, RunError, SettingError, describe, show
from genzoo.files import local_path
from genzoo.metrics.evidence import Evidence
from genzoo.metrics.figures import interpolation_figure, samples_figure
from genzoo.metrics.report import Evaluation
from genzoo.metrics.samples import Samples, read_samples
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.registry.records import recorded
from genzoo.runs.folder import RunFolder
from genzoo.runs.modes import eval_mode
from genzoo.runs.result import Run
from genzoo.runs.same_data import check_same_data

__all__ = ["evaluate", "measure", "model_and_data", "requested"]


def evaluate(
    run: Run[Any] | Model | str | Path | Tensor | np.ndarray[Any, Any],
    data: Any = None,
    metrics: str | Mapping[str, Any] | Metric | Sequence[Any] | None = None,
    *,
    n: int = 10_000,
    seed: int = 0,
    batch_size: int = 500,
    network: Part | None = None,
    value_range: tuple[float, float] | None = None,
) -> Evaluation:
    """Measure a trained model, or samples of another program, on held-out data.

    Samples and features are computed once and shared by all metrics. Each metric has its own seed,
    so its results do not depend on the other metrics. The model is in eval mode while it is
    measured; its modes and torch's random state are restored at the end.

    Arguments:
        run: the result of `fit`, a run folder, the name of pretrained weights, or a model. Samples
            of another program are the path of a folder of images, of a `.npy` or `.npz` file, or of
            an ONNX generator, or an array, `(n, *shape)`: uint8 or floats, images in [0, 1] and
            with their channels first or last.
        data: a `Dataset`, a name, table, or arrays as for `genzoo.fit`, or a run folder, whose data
            are used. By default, the data of the run. A model and samples need them.
        metrics: the name, table, or instance of a metric, or several of them. By default, every
            registered metric that the model supports, except those on request.
        n: the largest number of held-out examples, and of samples.
        seed: the seed of the samples, of the choice of training rows, and of the metrics.
        batch_size: the number of rows per batch.
        network: the feature network of all metrics that do not name one: a name, a table, or an
            instance. By default, the one for the shape of the data.
        value_range: the numbers that stand for black and white in samples of another program, such
            as (-1, 1). By default, 0 and 255 for uint8, and 0 and 1 for floats.

    Returns:
        The measurements. A metric that fails does not affect the others; `skipped` has the reasons.

    Raises:
        SettingError: `run` is none of these, or a metric in `metrics` is unknown, or the model does
            not support it.
        DataError: the data have no held-out rows, or do not fit the model. Samples cannot be read,
            or have another shape or range than the data.
        RunError: a path is not a run folder or samples, or the data of its run have changed.
        Exception: the error of a metric, if all metrics in `metrics` fail.

    Example:
        >>> import genzoo
        >>> run = genzoo.fit("vae", "digits", steps=2)
        >>> evaluation = evaluate(run, metrics=["reconstruction", "frechet"], n=100)
        >>> evaluation["frechet", "distance"].network
        'digits-cnn-v1'
        >>> evaluate(torch.rand(50, 8, 8), "digits", "texture").n
        50
    """
    model, data = model_and_data(run, data, value_range)
    if isinstance(metrics, str | Mapping | Metric):
        metrics = [metrics]
    evidence = Evidence(model, data, n=n, seed=seed, batch_size=batch_size, network=network)
    evaluation = Evaluation(n=evidence.n, seed=seed, data=evidence.dataset.name, model=_name(model))
    if metrics is None:
        chosen = list(_supported(model, evaluation.skipped))
    else:
        chosen = [requested(spec, model) for spec in metrics]
    errors = []
    for name, metric in chosen:
        try:
            evaluation.rows += measure(metric, evidence, name)
        except Exception as error:
            errors.append(error)
            evaluation.skipped[name] = describe(error)
    evaluation.notes += evidence.notes
    evaluation.figures = {**_figures(evidence, evaluation.notes), **evidence.figures}
    if metrics is not None and errors and not evaluation.rows:
        raise errors[0]
    return evaluation


def _name(model: Any) -> str:
    """Return the name of a model's class, or "Samples" for samples of another program."""
    return "Samples" if isinstance(model, Samples) else type(model).__name__


def _figures(evidence: Evidence, notes: list[str]) -> dict[str, Figure]:
    """Return the figures of samples, if there are any, and note why one could not be made."""
    figures: dict[str, Figure] = {}
    if not evidence.has_samples:
        return figures
    for name, make in (("samples", samples_figure), ("interpolation", interpolation_figure)):
        try:
            with eval_mode(evidence.model):
                figure = make(evidence)
        except Exception as error:
            notes.append(f"The figure {name!r} could not be made. {describe(error)}")
            continue
        if figure is not None:
            figures[name] = figure
    return figures


def measure(metric: Metric, evidence: Evidence, name: str = "") -> tuple[Measurement, ...]:
    """Return the measurements of one metric, with its name filled in.

    Arguments:
        metric: the metric.
        evidence: the evidence.
        name: the name of the metric, which is also the key of its seed.

    Raises:
        SettingError: the metric returns something other than measurements.
    """
    device = evidence.model.reference_tensor.device
    with eval_mode(evidence.model), exclusive(device), torch.no_grad():
        reseed(device, "evaluate", evidence.seed, "metric", name)
        values = list(metric(evidence.reading(metric.reads)))
    rows = []
    for value in values:
        if not isinstance(value, Measurement):
            raise SettingError(
                f"metric {name!r} returns {type(value).__name__} objects; it should return "
                "genzoo.contract.Measurement objects."
            )
        rows.append(replace(value, metric=name))
    return tuple(rows)


def model_and_data(
    run: Any,
    data: Any,
    value_range: tuple[float, float] | None = None,
    checkpoint: Any = "last",
    data_path: str | Path | None = None,
) -> tuple[Model, Any]:
    """Return the model and the data of an evaluation.

    Arguments:
        run: as in `evaluate`.
        data: as in `evaluate`.
        value_range: as in `evaluate`.
        checkpoint: the weights of a run folder, `"last"` or `"best"`.
        data_path: the new path of the data of a run folder, if they have moved.

    Raises:
        SettingError: `run` is none of these, there are no data, or `value_range` was passed for a
            model.
        DataError: samples cannot be read, or do not fit the data.
        RunError: a path is not a run folder or samples, or the data of its run have changed.
    """
    data = _data_of_run(data)
    if isinstance(run, Tensor | np.ndarray) or _is_samples(run):
        if data is None:
            name = f"{show(str(run))}" if isinstance(run, str | Path) else "samples"
            raise SettingError(
                f"{name}: samples of another program have no data of their own; name the data to "
                f'compare them with, as in genzoo.evaluate({name}, "digits") (--data digits).'
            )
        dataset = as_dataset(data)
        return read_samples(run, dataset, value_range), dataset
    if value_range is not None:
        raise SettingError(
            f"value_range = {show(value_range)} is for samples of another program; leave it out."
        )
    if isinstance(run, str | Path):
        folder = RunFolder.find(run)
        model = folder.model(checkpoint=checkpoint)
        if data is None:
            data = folder.dataset(data_path)
            check_same_data(folder, data, "test", tuple(data.test))
        return model, data
    model = run.model if isinstance(run, Run) else run
    if not hasattr(model, "inputs"):
        raise SettingError(
            f"run is {show(model)}: expected a model, the result of fit, a run folder, or samples."
        )
    if data is None and isinstance(run, Run):
        data = run.dataset
        if data is None and run.folder is not None:  # the result of Run.open
            data = RunFolder.find(run.folder).dataset(data_path)
    if data is None:
        raise SettingError(
            f"{type(run).__name__} has no data of its own; pass them, as in "
            'genzoo.evaluate(model, "digits").'
        )
    return model, data


def _is_samples(run: Any) -> bool:
    """Return True if a path holds samples of another program, and False for a run folder.

    Raises:
        RunError: it is a folder, but not of a run or of images.
    """
    if not isinstance(run, str | Path) or RunFolder.find(run).is_run():
        return False
    path = local_path(run, "run folder or samples", RunError)
    if not path.is_dir() or RunFolder(path).recipe_file.exists():
        return path.is_file()
    try:
        find_images(path)
    except MissingDataError:
        raise RunError(
            f"{path} is not a run folder: it has no recipe.toml. It holds no samples, either: it "
            "has no images."
        ) from None
    return True


def _data_of_run(data: Any) -> Any:
    """Return the data of a run folder. Anything else is returned as it is; names come first."""
    if isinstance(data, str | Path) and is_folder(data) and RunFolder(data).is_run():
        return RunFolder(data).dataset()
    return data


def _supported(model: Model, skipped: dict[str, str]) -> Iterator[tuple[str, Metric]]:
    """Yield the metrics that are not on request; add the broken ones to `skipped`."""
    for name in registry("metrics").available():
        try:
            metric = build(name, "metrics")
            if not metric.on_request and not metric.lacking(model):
                yield name, metric
        except Exception as error:
            skipped[name] = describe(error)


def requested(spec: Any, model: Model) -> tuple[str, Metric]:
    """Return a metric and its name.

    Raises:
        SettingError: there is no such metric, or the model does not support it.
    """
    metric = build(spec, "metrics")
    record = recorded(metric)
    names = (record.name if record else "", registry("metrics").name_of(type(metric)))
    name = next(filter(None, names), type(metric).__name__)
    missing = metric.lacking(model)
    if missing:
        needs = " and ".join(need.replace("|", " or ") for need in missing)
        raise SettingError(
            f"metric {name!r} needs {needs}; {type(model).__name__} does not provide it."
        )
    return name, metric
