"""Pictures of samples, and the held-out examples that conditional models need to draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from genzoo.contract import Batch, Dataset, Model, conditions, generated_columns, is_image
from genzoo.data.stream import iterate_split
from genzoo.distributed import replicated
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.plots import arrange, draw
from genzoo.plots.arrange import columns_for
from genzoo.plots.theme import can_plot
from genzoo.runs.modes import eval_mode

__all__ = [
    "has_labels",
    "held_out",
    "held_out_rows",
    "labels_by_class",
    "picture",
    "sheet_columns",
    "sheet_labels",
    "sheet_of_classes",
    "side_by_side",
    "text",
]

IMAGES, POINTS, LINES, TRANSLATIONS = 64, 1000, 32, 24
"""The number of samples on a sheet, in a scatter plot, as text, and next to their inputs."""
PER_CLASS, ROWS = 8, 32
"""The number of samples of each class on a sheet, and the largest number of such rows."""


def has_labels(model: Model) -> bool:
    """Return True if a model is conditioned on labels."""
    return bool(model.classes) and tuple(model.given) == ("y",)


def sheet_of_classes(model: Model) -> int:
    """Return the default number of samples on a sheet of a model with labels.

    It is 8 of each class, or one of each of the first 64 if there are more than 32 classes.
    """
    return PER_CLASS * model.classes if model.classes <= ROWS else min(model.classes, IMAGES)


def sheet_columns(model: Model, n: int) -> int | None:
    """Return the number of columns with which each class has a row; None for a square sheet."""
    return n // model.classes if model.classes <= ROWS and n % model.classes == 0 else None


def sheet_labels(labels: torch.Tensor, names: Sequence[str], columns: int | None) -> list[str]:
    """Return the names of classes for a sheet: one for each row, or one for each image.

    Arguments:
        labels: the class of each image, `(n,)`.
        names: the names of the classes; classes without a name have their number.
        columns: the number of columns, or None for a square sheet.
    """
    texts = [names[y] if y < len(names) else str(y) for y in labels.tolist()]
    columns = columns or columns_for(len(texts), 1)
    rows = [texts[start : start + columns] for start in range(0, len(texts), columns)]
    is_by_row = all(len(set(row)) == 1 for row in rows)
    return [row[0] for row in rows] if is_by_row else texts


def labels_by_class(model: Model, n: int) -> torch.Tensor:
    """Return `n` labels of all classes, one after the other, about equally many of each.

    If there are more than 32 classes, and fewer labels, they are those of the first classes.
    """
    if model.classes > max(n, ROWS):
        return torch.arange(n, device=model.reference_tensor.device)
    return torch.arange(n, device=model.reference_tensor.device) * model.classes // n


def held_out(dataset: Dataset, columns: Sequence[str], n: int, model: Model) -> Batch:
    """Return the first held-out rows, on the model's device and in its dtype.

    A dataset without a test split gives training rows.
    """
    split = "test" if dataset.test else "train"
    return next(iterate_split(dataset, columns, n, model, split))


def held_out_rows(dataset: Dataset, columns: Sequence[str]) -> int:
    """Return the number of held-out rows that all of these columns have."""
    split = dataset.split("test" if dataset.test else "train")
    return min(len(split[name]) for name in columns if name in split)


def picture(model: Model, dataset: Dataset, seed: int) -> Any:
    """Return a picture of samples that depends on the weights and the seed alone.

    It is a sheet of images, a scatter plot, or a list of lines of text; None if nothing fits. A
    scatter plot also shows the `score` of the model, if it has one, as a surface.
    """
    n = _number_of_samples(model, dataset)
    with eval_mode(model), replicated(), exclusive():
        reseed(model.reference_tensor.device, seed, "samples")
        given: Any = None
        if has_labels(model):
            given = labels_by_class(model, n)
        elif model.given:
            given = held_out(dataset, model.given, n, model)
        samples = model.sample(n, **conditions(given))
        lines = text(model, samples)
        if lines is not None:
            return lines
        if not isinstance(samples, torch.Tensor) or (samples.dim() == 2 and not can_plot()):
            return None
        if dataset.shape != (2,) or samples.dim() != 2:
            if has_labels(model):
                columns = sheet_columns(model, n)
                names = sheet_labels(given, dataset.class_names, columns)
                return draw(samples, columns=columns, labels=names)
            tiles = side_by_side(model, dataset, samples, given)
            return draw(tiles.images, columns=tiles.columns, titles=tiles.titles)
        points: Any = held_out(dataset, tuple(dataset.train)[:1], 2000, model)
        # the score of a conditional model is a different surface for each condition
        score = None if model.given else getattr(model, "score", None)
        return draw(samples, points, score=score)


def _number_of_samples(model: Model, dataset: Dataset) -> int:
    n = IMAGES
    if hasattr(model, "text"):
        n = LINES
    elif len(model.shape) == 1:
        n = POINTS
    elif has_labels(model):
        return sheet_of_classes(model)
    if not model.given or has_labels(model):
        return n
    if is_image(dataset.shape_of(model.given[0])):
        n = TRANSLATIONS
    return min(n, held_out_rows(dataset, model.given))


def text(model: Any, samples: Any) -> list[str] | None:
    """Return samples as lines of text, or None if the model does not generate text."""
    return model.text(samples) if hasattr(model, "text") else None


class Tiles(NamedTuple):
    """The tiles of a sheet."""

    images: Any
    columns: int | None = None
    """Their number in a row, or None for a square sheet."""
    titles: tuple[str, ...] = ()
    """The texts above the columns."""


def side_by_side(model: Model, dataset: Dataset, samples: Any, given: Any) -> Tiles:
    """Return translated images as tiles: the input, the output, and the truth if the data have it.

    Other samples are returned unchanged.
    """
    are_images = all(isinstance(x, torch.Tensor) and x.dim() == 4 for x in (given, samples))
    if not are_images or given.shape[2:] != samples.shape[2:]:
        return Tiles(samples)
    images, outputs = [given, samples], generated_columns(model)
    is_paired = any({*model.given, *outputs} <= set(group) for group in dataset.groups)
    truth = ["truth"] if "truth" in dataset.test else outputs
    if is_paired or "truth" in dataset.test:
        images.append(held_out(dataset, truth, len(samples), model))
    titles = ("input", "output", "truth")[: len(images)]
    columns = columns_for(len(samples), len(images))
    return Tiles(arrange.side_by_side(*images), columns, titles)
