"""Samples to look at: what a conditional model needs to draw them, and the picture that fits them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from genzoo import plots
from genzoo.contract import Batch, Dataset, Model, generated_columns, is_image
from genzoo.data.stream import iterate_split
from genzoo.distributed import emulate_rank, exclusive, reseed
from genzoo.plots import can_plot, columns_for, draw

IMAGES, POINTS, LINES, TRANSLATIONS = 64, 1000, 32, 24
"""Samples on a sheet, in a scatter plot, as text, and beside what they were given."""


def held_out(dataset: Dataset, columns: Sequence[str], n: int, model: Model) -> Batch:
    """The first rows that the model was not trained on (of the training split where there is no other), as it wants them."""
    return next(iterate_split(dataset, columns, n, model, "test" if dataset.test else "train"))


def rows(dataset: Dataset, columns: Sequence[str]) -> int:
    """How many held-out rows there are of some columns side by side."""
    split = dataset.split("test" if dataset.test else "train")
    return min(len(split[name]) for name in columns if name in split)


def picture(model: Model, dataset: Dataset, seed: int) -> Any:
    """Samples from noise that depends on the seed alone, as they are best looked at: a sheet, a scatter plot, text, or None.

    In the plane, a model that has a `score` shows it as a surface.
    """
    n = LINES if hasattr(model, "text") else POINTS if len(model.shape) == 1 else IMAGES
    if model.given:
        n = min(
            TRANSLATIONS if is_image(dataset.shape_of(model.given[0])) else n,
            rows(dataset, model.given),
        )
    with _evaluating(model), emulate_rank(0, 1), exclusive():
        reseed(model.reference_tensor.device, seed, "samples")
        given = held_out(dataset, model.given, n, model) if model.given else None
        samples = model.sample(n) if given is None else model.sample(n, given)
        if (lines := text(model, samples)) is not None:
            return lines
        if not isinstance(samples, torch.Tensor) or (samples.dim() == 2 and not can_plot()):
            return None
        if dataset.shape != (2,) or samples.dim() != 2:
            tiles, columns = side_by_side(model, dataset, samples, given)
            return draw(tiles, columns=columns)
        data: Any = held_out(dataset, tuple(dataset.train)[:1], 2000, model)
        return draw(samples, data, score=getattr(model, "score", None))


def text(model: Any, samples: Any) -> list[str] | None:
    """Samples as lines of text, or None where they are no text."""
    return model.text(samples) if hasattr(model, "text") else None


def side_by_side(
    model: Model, dataset: Dataset, samples: Any, given: Any
) -> tuple[Any, int | None]:
    """Images from images as tiles of a sheet: what was given, the sample, and the truth where the data have it.

    Returns:
        The tiles, and how many there are in a row; samples of anything else as they are, and None.
    """
    if (
        not all(isinstance(x, torch.Tensor) and x.dim() == 4 for x in (given, samples))
        or given.shape[2:] != samples.shape[2:]
    ):
        return samples, None
    images, made = [given, samples], generated_columns(model)
    paired = any({*model.given, *made} <= set(group) for group in dataset.groups)
    if paired or "truth" in dataset.test:
        images.append(
            held_out(dataset, ["truth"] if "truth" in dataset.test else made, len(samples), model)
        )
    return plots.side_by_side(*images), columns_for(len(samples), len(images))


@contextmanager
def _evaluating(model: Model) -> Iterator[None]:
    """Within: eval mode; afterwards each module in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
