"""Batches in microbatches, and the losses for which that makes a difference."""

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
from genzoo.distributed import draws, reseed
from genzoo.errors import GenzooError
from genzoo.train.engine import Engine
from genzoo.train.settings import Settings

_REPEATS = 8
"""Evaluations of a loss with noise that is not `genzoo.distributed`', as of dropout."""
_SIGMAS = 6
"""Standard errors from which on the mean difference of such a loss counts."""


def split(batch: Batch, parts: int) -> list[Any]:
    """A batch in equal microbatches."""
    if parts == 1:
        return [batch]
    if isinstance(batch, Tensor):
        return list(batch.chunk(parts))
    columns = {name: column.chunk(parts) for name, column in batch.items()}
    return [{name: chunks[i] for name, chunks in columns.items()} for i in range(parts)]


def compare_halves(
    model: Model, players: Iterable[Player], batch: Batch, engine: Engine, settings: Settings
) -> None:
    """Warn where a loss is not a mean over examples, so that microbatches do not add up to their batch.

    Each player's loss of the first microbatch is compared with the mean over its halves, for the same noise. Afterwards the model
    is as it was before. Every rank takes part, and the main one warns.

    Arguments:
        model: what is trained.
        players: whose losses are compared.
        batch: this rank's share of a batch.
        engine: where.
        settings: of the run, with more than one microbatch.
    """
    rows = model.batch_size(batch) // settings.microbatches
    whole = _first_rows(batch, max(2, rows - rows % 2))
    for player in players:
        text = _difference(model, player, whole, engine, settings)
        if text and engine.main:
            warnings.warn(
                f"player {player.name!r}: {text}. So its loss is not a mean over examples, as with batch norm, an MMD or a "
                f"fitted sigma, and microbatches = {settings.microbatches} trains another objective than microbatches = 1 does. "
                "Where that matters, set microbatches = 1, with a smaller batch_size if memory is short.",
                stacklevel=2,
            )


def _difference(
    model: Model, player: Player, whole: Batch, engine: Engine, settings: Settings
) -> str | None:
    """Describe how the loss of some examples differs from the mean over their halves, if it does."""

    def losses(pieces: int, repeat: int) -> Tensor:
        key, values = (settings.seed, player.name, "halves"), []
        for piece, part in enumerate(split(whole, pieces)):
            place = {"parts": settings.microbatches, "piece": piece, "pieces": pieces}
            with _unchanged(model), draws(engine.device, *key, **place):
                reseed(
                    engine.device, *key, piece, repeat
                )  # other noise than `genzoo.distributed`' has no rows to share
                values.append(torch.as_tensor(player.loss(part)["loss"]).detach().float())
        return engine.mean(torch.stack(values)).cpu()

    try:
        once, again = losses(1, 0), losses(1, 1)
    except (GenzooError, ValueError, RuntimeError):  # the first step will say it
        return None
    n = model.batch_size(whole)
    repeats = range(1 if torch.equal(once, again) else _REPEATS)
    try:
        halves = torch.stack([losses(2, repeat) for repeat in repeats])
    except (GenzooError, ValueError, RuntimeError):
        return f"its loss is that of {n} examples together, and cannot be taken of {n // 2}"
    wholes = torch.stack([losses(1, repeat) for repeat in repeats])
    apart = wholes[:, 0] - halves.mean(1)
    noise = _SIGMAS * float(apart.std()) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
    scale = max(float(wholes.abs().max()), float(halves.abs().max()))
    gap = abs(float(apart.mean()))
    if gap <= noise + _tolerance(model.reference_tensor) * scale:
        return None
    return (
        f"the loss of {n} examples is {float(wholes.mean()):.6g}, and that of their halves {float(halves.mean()):.6g} on "
        f"average, a difference of {gap / scale:.2g} of it"
    )


def _tolerance(like: Tensor) -> float:
    """The relative difference that rounding makes; accelerators multiply in lower precision than they say."""
    if torch.finfo(like.dtype).bits < 32:
        return 4 * torch.finfo(like.dtype).eps
    return 1e-5 if like.device.type == "cpu" else 1e-3


def _first_rows(batch: Batch, n: int) -> Batch:
    return (
        batch[:n]
        if isinstance(batch, Tensor)
        else {name: column[:n] for name, column in batch.items()}
    )


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Give a model's tensors, attributes, and the containers among them back at the end, whatever a loss does to them."""
    containers: list[Any] = [*_containers([vars(module) for module in model.modules()])]
    copies = [copy.copy(container) for container in containers]
    tensors = {id(value): value for kept in copies for value in _items(kept) if _is_writable(value)}
    content = [(tensor, tensor.detach().clone()) for tensor in tensors.values()]
    try:
        yield
    finally:
        for container, kept in zip(containers, copies, strict=True):
            container.clear()
            (container.extend if isinstance(container, list | deque) else container.update)(kept)
        with torch.no_grad():
            for tensor, value in content:
                if not torch.equal(tensor, value):
                    tensor.copy_(value)


_CONTAINERS = (list, deque, dict, OrderedDict, defaultdict, set)
"""Those that can be changed in place. A subclass may refuse to be."""


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
