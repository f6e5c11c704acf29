"""Samples to look at: what a conditional model needs to draw them, and the picture that fits them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from genzoo.contract import Batch, Dataset, Model
from genzoo.data.stream import once
from genzoo.pictures import can_plot, draw
from genzoo.ranks import as_rank, reseed

IMAGES, POINTS = 64, 1000
"""Samples on a sheet, and in a scatter plot."""


def held_out(dataset: Dataset, columns: Sequence[str], n: int, model: Model) -> Batch:
    """The first rows that the model was not trained on (of the training split where there is no other), as it wants them."""
    return next(passed(dataset, columns, n, model, "test" if dataset.test else "train"))


def passed(
    dataset: Dataset, columns: Sequence[str], n: int, model: Model, split: str = "test", limit: int | None = None
) -> Iterator[Batch]:
    """Batches of `n` rows of a split, each row once, on the model's device and in its dtype."""
    like = model.like
    for batch in once(dataset, columns, n, device=like.device, split=split, limit=limit):
        if isinstance(batch, torch.Tensor):
            yield _as(batch, like)
        else:
            yield {name: _as(column, like) for name, column in batch.items()}


def _as(column: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return column.to(like.dtype) if column.is_floating_point() else column


def rows(dataset: Dataset, columns: Sequence[str]) -> int:
    """How many held-out rows there are of some columns side by side."""
    split = dataset.split("test" if dataset.test else "train")
    return min(len(split[name]) for name in columns if name in split)


def given(model: Model, dataset: Dataset, n: int) -> dict[str, Any]:
    """What `sample` needs beside a number: nothing, or held-out rows of the columns that the model names."""
    return {"given": held_out(dataset, model.given, n, model)} if model.given else {}


def picture(model: Model, dataset: Dataset, seed: int) -> Any:
    """A sheet of samples from noise that depends on the seed alone, or None where the samples make no picture.

    In the plane, a model that has a `score` shows it as a surface.
    """
    n = POINTS if len(dataset.shape) == 1 else IMAGES
    n = min(n, rows(dataset, model.given)) if model.given else n
    with _evaluating(model), as_rank(0, 1):
        reseed(model.like.device, seed, "samples")
        samples = model.sample(n, **given(model, dataset, n))
        if not isinstance(samples, torch.Tensor) or (samples.dim() == 2 and not can_plot()):
            return None
        if dataset.shape != (2,) or samples.dim() != 2:
            return draw(samples)
        data: Any = held_out(dataset, tuple(dataset.train)[:1], 2000, model)
        return draw(samples, data, score=getattr(model, "score", None))


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
