"""Models with a closed-form solution: one pass over the data replaces training steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Batch, Model
from genzoo.distributed import replicated
from genzoo.train.settings import Settings

__all__ = ["has_closed_form", "solve", "warn_unused_settings"]


def has_closed_form(model: Any) -> bool:
    """Return whether the class of a model defines a method `solve(batches)`.

    An attribute of the instance, such as a layer named `solve`, does not count.
    """
    return callable(getattr(type(model), "solve", None))


def solve(model: Model, rows: Callable[[], Iterable[Batch]]) -> tuple[dict[str, Tensor], int]:
    """Set the parameters of a model in closed form from the training data.

    Frozen parameters keep their values. Every rank reads all rows and gets the same parameters.

    Arguments:
        model: a model with a method `solve(batches)`.
        rows: a function that returns one pass over the training rows. It is called twice.

    Returns:
        The mean of each value of the loss over all rows, and the number of rows.
    """
    player = model.players()[0]
    with replicated(), torch.no_grad():
        frozen = [(p, p.clone()) for p in model.parameters() if not p.requires_grad]
        model.solve(rows())  # type: ignore[operator]
        for parameter, value in frozen:
            parameter.copy_(value)
        totals: dict[str, Tensor] = {}
        n = 0
        for batch in rows():
            size = model.batch_size(batch)
            n += size
            for name, value in player.loss(batch).items():
                totals[name] = totals.get(name, 0) + size * value.double()
    return {name: total / n for name, total in totals.items()}, n


def warn_unused_settings(model: Model, settings: Settings, overrides: Iterable[str]) -> None:
    """Warn about settings of gradient steps, which a model in closed form does not use."""
    lengths = [name for name in ("steps", "epochs") if getattr(settings, name) is not None]
    unused = [f"train.{name}" for name in lengths]
    unused += [f"players.{name}" for name in overrides]
    if unused:
        warnings.warn(
            f"{type(model).__name__} is fitted in closed form, in one pass over the training data; "
            f"{', '.join(unused)} has no effect.",
            stacklevel=2,
        )
