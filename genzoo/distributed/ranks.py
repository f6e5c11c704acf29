"""The rank of this process, the share of the batch that a loss sees, and `gather`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "Position",
    "at",
    "current",
    "emulate_rank",
    "gather",
    "holders",
    "in_run",
    "rank_and_world_size",
    "replicated",
    "share",
    "whole_batch",
]


class Position:
    """The position of a thread: its rank, its share of the batch, and the key of its draws."""

    def __init__(self) -> None:
        self.rank, self.size = 0, 1
        # the microbatch; None stands for all microbatches of this rank
        self.part: int | None = 0
        # the number of microbatches
        self.parts = 1
        # the piece of this rank's share of a microbatch
        self.piece, self.pieces = 0, 1
        self.keyed = False
        # a compiled loss must not read the key, which changes with each step
        self.key: tuple[object, ...] = ()
        # the number of keyed draws so far
        self.count = 0
        # the numbers of keyed draws, by the state of torch's default generator
        self.seen: dict[int, int] = {}
        # the number of nested `exclusive` sections
        self.depth = 0
        # a standardized model is computing, so its methods do not convert units
        self.standardized = False
        # Python did not start this thread; autograd did, for example
        self.is_helper = False
        self.generators: dict[torch.device, torch.Generator] = {}

    def indices(self) -> tuple[int | None, int]:
        """Return the indices of the microbatch and of the piece.

        A compiled loss is compiled again for each value that it reads, so the attributes are read
        only if several values are possible.
        """
        part = self.part if self.parts > 1 else 0
        piece = self.piece if self.pieces > 1 else 0
        return part, piece


class _Local(threading.local):
    def __init__(self) -> None:
        self.position = Position()  # a separate object, which a compiler can follow
        self.position.is_helper = isinstance(threading.current_thread(), threading._DummyThread)


holders: list[Position] = []
"""The position of the thread that is in `exclusive`; empty if no thread is in it."""
_local = _Local()


def current() -> Position:
    """Return the position of this thread.

    A thread of autograd works for the thread that waits for its backward pass, and this thread may
    change between passes.
    """
    position = _local.position
    return holders[-1] if position.is_helper and holders else position


@contextmanager
def at(**changes: Any) -> Iterator[None]:
    """Change attributes of the current position within this context."""
    position = current()
    before = {name: getattr(position, name) for name in changes}
    for name, value in changes.items():
        setattr(position, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(position, name, value)


@contextmanager
def emulate_rank(rank: int, size: int) -> Iterator[None]:
    """Treat this process as rank `rank` of `size`. Outside a run, it is rank 0 of 1 by default.

    Example:
        >>> with emulate_rank(1, size=4):
        ...     rank_and_world_size()
        (1, 4)
    """
    with at(rank=rank, size=size):
        yield


@contextmanager
def replicated() -> Iterator[None]:
    """Draw the same numbers on every rank, for noise that belongs to gathered examples.

    Example:
        >>> with emulate_rank(1, size=4), replicated():
        ...     rank_and_world_size()
        (0, 1)
    """
    with emulate_rank(0, 1):
        yield


@contextmanager
def whole_batch() -> Iterator[None]:
    """Draw for the batch as a whole: the same numbers in all microbatches and on all ranks.

    Use it for numbers that a loss draws once per batch and not once per example. `share` returns
    the share of the batch that the loss sees.

    Example:
        >>> from genzoo.distributed import noise
        >>> with whole_batch():
        ...     shift = noise(1, 2, like=torch.zeros(()))  # the same for all examples
    """
    with at(rank=0, size=1, parts=1, pieces=1):
        yield


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of ranks.

    Example:
        >>> rank_and_world_size()
        (0, 1)
    """
    position = current()
    return position.rank, position.size


def in_run() -> bool:
    """Return True in the losses of a run, which must not wait for the device by reading values."""
    return current().keyed


def share() -> tuple[int, int]:
    """Return the index of the share of the whole batch that a loss sees, and the number of shares.

    The number of shares is the number of microbatches times the number of ranks.

    Example:
        >>> share()
        (0, 1)
    """
    position = current()
    part, piece = position.indices()
    if part is None:
        return position.rank, position.size
    index = (part * position.size + position.rank) * position.pieces + piece
    return index, position.parts * position.size * position.pieces


def gather(x: Tensor) -> Tensor:
    """Return the rows of all ranks, in rank order: `(B, ...)` -> `(W * B, ...)`, with gradients.

    Only the current microbatch is gathered. Gradients flow back to the rank of each row: every rank
    computes the same global statistic, the backward pass sums the W equal gradients, and the
    trainer's mean over ranks divides by W. A gather without gradients gives the right loss and a
    wrong gradient.

    Example:
        >>> gather(torch.zeros(3, 2)).shape  # a single process has all rows
        torch.Size([3, 2])
    """
    return x if rank_and_world_size()[1] == 1 else _Gather.apply(x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        # read here, because the backward pass may run in another thread
        ctx.rank, size = rank_and_world_size()
        ctx.rows = x.shape[0]
        parts = [torch.empty_like(x) for _ in range(size)]
        torch.distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        grad = grad.contiguous()
        torch.distributed.all_reduce(grad)
        return grad[ctx.rank * ctx.rows : (ctx.rank + 1) * ctx.rows]
