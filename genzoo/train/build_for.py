"""Build a model for a dataset, or check that an instance fits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from genzoo.contract import Dataset, Model, Shape, generated_columns
from genzoo.data.columns import CheckedColumn, load, open_column
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.errors import DataError, SettingError
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.train.standardization import standardize_for

__all__ = ["build_for"]


def build_for(
    model: Any, dataset: Dataset, seed: int, device: torch.device, dtype: torch.dtype
) -> Model:
    """Return a model for a dataset.

    A name or a table is built under the seed, with the shape and the metadata of the data. An
    instance is returned unchanged if it fits the data. `dtype` is that of the run.

    Raises:
        SettingError: the model is unknown, not a `genzoo.Model`, has other shapes than the data, or
            has weights that cannot be trained.
        DataError: the examples have no shape.
    """
    if not dataset.shape:
        raise DataError(
            f"{dataset.name}: the first column has one number per row; examples have a shape, "
            "such as (D,) or (C, H, W). Stack the columns of a table, as in "
            "{'x': np.stack([a, b], axis=1)}."
        )
    if not isinstance(model, nn.Module):
        name = model.get("name") if isinstance(model, Mapping) else model
        # `build` refuses a spec without a name
        target = registry("models").get(name) if isinstance(name, str) else None
        with exclusive():
            reseed(device, seed, "weights")
            model = build(model, defaults=_defaults(target, dataset), shape=_shape(target, dataset))
    if not isinstance(model, Model):
        raise SettingError(
            f"{type(model).__name__} is not a genzoo.Model; subclass it and define a constructor, "
            "loss(batch), and sample(n)."
        )
    _check_tensors(model)
    _check_shape(model, "shape", _shape(model, dataset))
    _check_shape(model, "given_shape", _defaults(model, dataset).get("given_shape"))
    _check_classes(model, dataset)
    _check_labels(model, dataset)
    standardize_for(model, dataset, dtype)
    return model


def _check_classes(model: Model, dataset: Dataset) -> None:
    """Check that a model with labels has as many classes as the data.

    Raises:
        SettingError: the numbers differ.
    """
    classes, names = model.classes, dataset.class_names
    if not classes or "y" not in model.inputs or not names or classes == len(names):
        return
    few = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
    raise SettingError(
        f"classes = {classes}, but {dataset.name} has {len(names)} classes ({few}); set "
        f"classes = {len(names)}."
    )


def _check_labels(model: Model, dataset: Dataset) -> None:
    """Check the labels of a dataset, in all its splits, if a model is conditioned on them.

    The values of labels outside memory are checked when they are read.

    Raises:
        DataError: there are no labels, or some are not from 0 to classes - 1.
    """
    classes, name = model.classes, type(model).__name__
    if not classes or tuple(model.given) != ("y",):
        return
    if "y" not in dataset.train:
        raise DataError(
            f"classes = {classes} conditions this {name} on labels, but {dataset.name} has no "
            "column 'y'. Name the labels, as in data.labels = \"folders\" or {'x': ..., 'y': ...}, "
            "or leave classes out."
        )
    for split, columns in dataset.splits.items():
        if "y" not in columns:
            continue
        column = open_column(dataset, split, "y")
        if len(column.shape) != 1 or column.dtype not in (torch.int32, torch.int64):
            raise DataError(
                f"{dataset.name}, {split}: column 'y' is {column.dtype} of shape "
                f"{tuple(column.shape)}; labels are integers of shape (n,), as y.long()."
            )
        if isinstance(column, CheckedColumn):
            continue  # read item by item, and checked then
        y = load(column, torch.device("cpu"))
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= classes:
            way = f"set classes = {high + 1}" if low >= 0 else "number the labels from 0 on"
            raise DataError(
                f"{dataset.name}, {split}: labels range from {low} to {high}, but classes = "
                f"{classes} allows 0 to {classes - 1}; {way}."
            )


def _check_shape(model: Model, name: str, expected: Shape | None) -> None:
    """Check a shape of a model, if it has one."""
    shape = getattr(model, name, None)
    if shape is None or expected is None or tuple(shape) == expected:
        return
    raise SettingError(
        f"{type(model).__name__} has {name} {tuple(shape)}, but the data have {expected}; build it "
        "with that shape."
    )


def _check_tensors(model: nn.Module) -> None:
    """Check that all weights can be trained.

    Raises:
        SettingError: a lazy module has no weights yet, or the weights are inference tensors.
    """
    for name, module in model.named_modules():
        tensors = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        label = f"{name or 'the model'} ({type(module).__name__})"
        if any(is_lazy(tensor) for tensor in tensors):
            raise SettingError(
                f"{label} is a lazy module, which has no weights before its first forward pass, "
                "but optimizers need them. Give it its sizes, as in nn.Linear(in_features, "
                "out_features), or call it once in the constructor that holds it, as in "
                "self(torch.zeros(1, *shape))."
            )
        if any(tensor.is_inference() for tensor in tensors):
            raise SettingError(
                f"{label} was built under torch.inference_mode(), so its weights never take "
                "gradients. Build the model outside of inference mode, or pass its name and "
                "settings to fit."
            )


def _shape(model: Any, dataset: Dataset) -> Shape:
    """Return the shape of the samples of a model, or of a class or factory of models."""
    columns = [name for name in generated_columns(model) if name in dataset.train]
    return dataset.shape_of(columns[0]) if columns else dataset.shape


def _defaults(model: Any, dataset: Dataset) -> dict[str, Any]:
    """Return the metadata of the data, for a constructor that accepts them."""
    columns = [name for name in getattr(model, "given", ()) if name in dataset.train]
    if not columns:
        return {**dataset.metadata}
    return {**dataset.metadata, "given_shape": dataset.shape_of(columns[0])}
