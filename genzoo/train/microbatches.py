"""Split batches into microbatches, and warn if that changes the loss."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.contract import Batch, Model, Player
from genzoo.distributed.keyed_draws import draws
from genzoo.distributed.random_state import reseed
from genzoo.errors import GenzooError
from genzoo.train.engine import Engine
from genzoo.train.settings import Settings

__all__ = ["compare_halves", "split"]

_REPEATS = 8
"""The number of evaluations of a loss with other noise than `genzoo.distributed`'s, as dropout."""
_SIGMAS = 6
"""The mean difference of such a loss counts if it is more than this many standard errors."""


def split(batch: Batch, parts: int) -> list[Any]:
    """Split a batch into equal microbatches."""
    if parts == 1:
        return [batch]
    if isinstance(batch, Tensor):
        return list(batch.chunk(parts))
    columns = {name: column.chunk(parts) for name, column in batch.items()}
    return [{name: chunks[i] for name, chunks in columns.items()} for i in range(parts)]


def compare_halves(
    model: Model, players: Iterable[Player], batch: Batch, engine: Engine, settings: Settings
) -> None:
    """Warn if a loss is not a mean over examples, because then microbatches change the gradient.

    Compare each player's loss of the first microbatch with the mean of the losses of its halves,
    for the same noise. The model does not change. Every rank takes part, and rank 0 warns.

    Arguments:
        model: the model that is trained.
        players: the players whose losses are compared.
        batch: this rank's share of a batch.
        engine: the processes and the device.
        settings: the settings of the run, with more than one microbatch.
    """
    rows = model.batch_size(batch) // settings.microbatches
    whole = _first_rows(batch, max(2, rows - rows % 2))
    for player in players:
        difference = _difference(model, player, whole, engine, settings)
        if difference and engine.main:
            warnings.warn(
                f"player {player.name!r}: {difference}. So its loss is not a mean over examples, "
                "as with batch norm, an MMD, or a fitted sigma, and microbatches = "
                f"{settings.microbatches} trains another objective than microbatches = 1. If that "
                "matters, set microbatches = 1, with a smaller batch_size if memory is short.",
                stacklevel=2,
            )


def _difference(
    model: Model, player: Player, whole: Batch, engine: Engine, settings: Settings
) -> str | None:
    """Describe how the loss of some examples differs from the mean loss of their halves, if so."""

    def losses(pieces: int, repeat: int) -> Tensor:
        key, values = (settings.seed, player.name, "halves"), []
        for piece, part in enumerate(split(whole, pieces)):
            position = {"parts": settings.microbatches, "piece": piece, "pieces": pieces}
            with _unchanged(model), draws(engine.device, *key, **position):
                # noise that is not from `genzoo.distributed` is not assigned to rows
                reseed(engine.device, *key, piece, repeat)
                values.append(torch.as_tensor(player.loss(part)["loss"]).detach().float())
        return engine.mean(torch.stack(values)).cpu()

    try:
        once, again = losses(1, 0), losses(1, 1)
    # the first training step raises the same error
    except (GenzooError, ValueError, RuntimeError):
        return None
    n = model.batch_size(whole)
    repeats = range(1 if torch.equal(once, again) else _REPEATS)
    try:
        halves = torch.stack([losses(2, repeat) for repeat in repeats])
    except (GenzooError, ValueError, RuntimeError):
        return f"its loss needs {n} examples together and cannot be computed for {n // 2}"
    wholes = torch.stack([losses(1, repeat) for repeat in repeats])
    differences = wholes[:, 0] - halves.mean(1)
    noise = 0.0
    if len(differences) > 1:
        noise = _SIGMAS * float(differences.std()) / len(differences) ** 0.5
    scale = max(float(wholes.abs().max()), float(halves.abs().max()))
    gap = abs(float(differences.mean()))
    if gap <= noise + _tolerance(model.reference_tensor) * scale:
        return None
    return (
        f"the loss of {n} examples is {float(wholes.mean()):.6g}, and the mean loss of their "
        f"halves is {float(halves.mean()):.6g}, a relative difference of {gap / scale:.2g}"
    )


def _tolerance(reference: Tensor) -> float:
    """Return the relative difference that rounding can cause.

    Accelerators may multiply in lower precision than that of the tensors.
    """
    if torch.finfo(reference.dtype).bits < 32:
        return 4 * torch.finfo(reference.dtype).eps
    return 1e-5 if reference.device.type == "cpu" else 1e-3


def _first_rows(batch: Batch, n: int) -> Batch:
    if isinstance(batch, Tensor):
        return batch[:n]
    return {name: column[:n] for name, column in batch.items()}


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Restore the tensors, attributes, and containers of a model at the end of the block."""
    containers: list[Any] = [*_containers([vars(module) for module in model.modules()])]
    copies = [copy.copy(container) for container in containers]
    items = [item for container in copies for item in _items(container)]
    tensors = {id(item): item for item in items if _is_writable(item)}
    content = [(tensor, tensor.detach().clone()) for tensor in tensors.values()]
    try:
        yield
    finally:
        for container, original in zip(containers, copies, strict=True):
            container.clear()
            if isinstance(container, list | deque):
                container.extend(original)
            else:
                container.update(original)
        with torch.no_grad():
            for tensor, value in content:
                if not torch.equal(tensor, value):
                    tensor.copy_(value)


_CONTAINERS = (list, deque, dict, OrderedDict, defaultdict, set)
"""The containers that can be changed in place. A subclass may forbid it."""


def _containers(values: Iterable[Any], depth: int = 4) -> Iterator[Any]:
    """Yield the containers among values, and those within them."""
    for value in values:
        if depth and type(value) in _CONTAINERS:
            yield value
            yield from _containers(_items(value), depth - 1)


def _is_writable(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_meta or value.is_inference())
    )


def _items(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container
