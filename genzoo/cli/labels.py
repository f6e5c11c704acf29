"""The option `--label`: the class that a conditional model generates, by its number or name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from genzoo.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from genzoo.contract import Model

__all__ = ["Label", "SheetSize", "label_number", "labels", "sheet_size"]

Label = Annotated[
    str | None, typer.Option(help="The class to generate, by its number or its name in the data.")
]
SheetSize = Annotated[
    int | None,
    typer.Option(
        "-n",
        min=1,
        help="The number of samples. Default: 64, or 8 of each class; with more than 32 classes, "
        "one of each, up to 64.",
    ),
]
_SAMPLES = 64
"""The default number of samples of a model without labels, or of a single class."""
_SHOWN = 30
"""The number of classes that an error message lists."""


def label_number(model: Model, label: str) -> int:
    """Return the number of a class. A name of the data wins over a number.

    Raises:
        SettingError: the model has no labels, or there is no such class.
    """
    from genzoo.runs.weights import origin
    from genzoo.train.pictures import has_labels

    if not has_labels(model):
        raise SettingError(
            f"--label {label}: this {type(model).__name__} is not conditioned on labels; leave "
            "--label out, or train a model with model.classes."
        )
    classes = model.classes
    names = list(origin(model).get("class_names", ()))
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < classes:
        return int(label)
    more = ", ..." if len(names) > _SHOWN else ""
    are_numbers = names == [str(number) for number in range(classes)]
    known = f", or {', '.join(names[:_SHOWN])}{more}" if names and not are_numbers else ""
    raise SettingError(
        f"--label {label}: there is no such class; choose 0 to {classes - 1}{known}."
    )


def sheet_size(model: Model, n: int | None, label: str | None = None) -> int:
    """Return the number of samples on a sheet; None stands for the default."""
    from genzoo.train.pictures import has_labels, sheet_of_classes

    if n is not None:
        return n
    if label is None and has_labels(model):
        return sheet_of_classes(model)
    return _SAMPLES


def labels(model: Model, n: int, label: str | None) -> Tensor:
    """Return `n` labels of one class, or of all classes, one after the other.

    Raises:
        SettingError: as in `label_number`.
    """
    import torch

    from genzoo.train.pictures import labels_by_class

    if label is None:
        return labels_by_class(model, n)
    return torch.full((n,), label_number(model, label), device=model.reference_tensor.device)
