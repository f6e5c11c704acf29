"""Checks of pretrained weights: their files are complete, and the model samples."""

from __future__ import annotations

from typing import Any

import torch

from genzoo.contract import conditions
from genzoo.runs.folder import RunFolder
from genzoo.runs.portable import portable_recipe, portable_text
from genzoo.testing.subject import Subject, demand
from genzoo.train.pictures import has_labels, labels_by_class
from genzoo.weights import Entry

__all__ = ["ALWAYS"]


def entry(subject: Subject) -> Any:
    """Return the entry, once its files are checked."""
    result = subject(0)
    demand(isinstance(result, Entry), f"{type(result).__name__} is not a genzoo.weights.Entry")
    result.check()
    return result


def check_files(subject: Subject) -> None:
    """Check that every file has its hash."""
    entry(subject)


def check_samples(subject: Subject) -> None:
    """Check that the model is in eval mode and draws finite samples of its shape."""
    model = entry(subject).load()
    demand(not model.training, "the model is in training mode")
    if model.given and not has_labels(model):
        return  # its conditions are data
    given = labels_by_class(model, 2) if has_labels(model) else None
    samples = model.sample(2, **conditions(given))
    demand(
        samples.shape == (2, *model.shape) and bool(torch.isfinite(samples).all()),
        f"its samples have the shape {tuple(samples.shape)}, or are not finite",
    )


def check_card(subject: Subject) -> None:
    """Check that the card has front matter, and that no text holds an absolute path."""
    tested = entry(subject)
    demand(tested.card.startswith("---\n"), "the card has no front matter")
    demand(portable_text(tested.card) == tested.card, "the card holds an absolute path")
    recipe = RunFolder(tested.folder).recipe_file.read_bytes()
    demand(portable_recipe(recipe).encode() == recipe, "the recipe holds an absolute path")


ALWAYS = (check_files, check_samples, check_card)
