"""Randomness that does not depend on ranks, microbatches, or threads; `gather` with gradients.

A run on W ranks with M microbatches must equal a run on one rank with one microbatch. So a loss
draws its noise for the whole batch each time and keeps the rows of its microbatch and rank. A
statistic that is not a mean over examples, such as an MMD, is computed on the examples of all
ranks. The rows of the whole batch are ordered by microbatch, and within a microbatch by rank.

A run has two streams of random numbers. `noise` and `uniform` draw from generators of this module:
their k-th draw is a pure function of the run's seed, the player, its step, and k. Everything else,
such as dropout, draws from torch's default generators, which are seeded for each microbatch.
Outside a run, both draw from the default generators.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "emulate_rank",
    "gather",
    "noise",
    "rank_and_world_size",
    "replicated",
    "share",
    "uniform",
    "whole_batch",
]


class _Position:
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
        self.position = _Position()  # a separate object, which a compiler can follow
        self.position.is_helper = isinstance(threading.current_thread(), threading._DummyThread)


_holders: list[_Position] = []
"""The position of the thread in `exclusive`; empty if no thread is."""
_local = _Local()


def _current() -> _Position:
    """Return the position of this thread.

    A thread of autograd works for the thread that waits for it, which may be another one in each
    backward pass.
    """
    position = _local.position
    return _holders[-1] if position.is_helper and _holders else position


@contextmanager
def _at(**changes: Any) -> Iterator[None]:
    """Change attributes of the current position within this context."""
    position = _current()
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
    """Treat this process as number `rank` of `size`; outside a run, a process is the only one."""
    with _at(rank=rank, size=size):
        yield


@contextmanager
def replicated() -> Iterator[None]:
    """Draw the same numbers on every rank, for noise that belongs to gathered examples."""
    with emulate_rank(0, 1):
        yield


@contextmanager
def whole_batch() -> Iterator[None]:
    """Draw for the batch as a whole: the same numbers in all microbatches and on all ranks.

    Use it for what a loss draws once per batch and not once per example. `share` returns which
    share of the batch the loss is computed on.

    Example:
        >>> with whole_batch():
        ...     shift = noise(1, 2, like=torch.zeros(()))  # the same for all examples
    """
    with _at(rank=0, size=1, parts=1, pieces=1):
        yield


@contextmanager
def draws(
    device: torch.device,
    *key: object,
    part: int | None = 0,
    parts: int = 1,
    piece: int = 0,
    pieces: int = 1,
) -> Iterator[None]:
    """Make random numbers pure functions of a key, and keep other threads from drawing.

    Arguments:
        device: its default generator and the CPU's are seeded from the key and the microbatch.
        key: the key of `noise` and `uniform`, which return the rows of this microbatch and rank.
        part: the index of the microbatch, or None for all microbatches of this rank.
        parts: the number of microbatches.
        piece: the index of a piece of this rank's share of the microbatch.
        pieces: the number of equal pieces that this share is split into.
    """
    with exclusive():
        reseed(device, *key, part)
        with _at(
            part=part,
            parts=parts,
            piece=piece,
            pieces=pieces,
            keyed=True,
            key=key,
            count=0,
            seen={},
        ):
            yield


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of ranks."""
    position = _current()
    return position.rank, position.size


def share() -> tuple[int, int]:
    """Return the index of the share of the whole batch that a loss sees, and the number of shares.

    The number of shares is the number of microbatches times the number of ranks.
    """
    position = _current()
    part, piece = position.indices()
    if part is None:
        return position.rank, position.size
    index = (part * position.size + position.rank) * position.pieces + piece
    return index, position.parts * position.size * position.pieces


def seed_for(*key: object) -> int:
    """Return a seed that is a pure function of its key on every machine and in every process.

    Example:
        >>> seed_for(0, "critic", 12)
        8778608017679629815
    """
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


class _Turns:
    """A lock that serves waiting threads before the thread that has just released it."""

    def __init__(self) -> None:
        self.queue, self.lock = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self.queue:
            self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


class _Saved:
    """A default generator, its state before a section, and the seed that the section set last."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.state = generator.get_state()
        self.seed = generator.initial_seed()
        self.foreign_seed: int | None = None
        """The seed that another thread has set meanwhile."""

    def check_foreign_seed(self) -> None:
        """Notice a seed that another thread has set meanwhile."""
        if self.generator.initial_seed() != self.seed and threading.active_count() > 1:
            self.foreign_seed = self.generator.initial_seed()

    def reseed(self, seed: int) -> None:
        """Seed the generator."""
        self.check_foreign_seed()
        self.generator.manual_seed(seed)
        self.seed = seed

    def restore(self) -> None:
        """Restore the state before the section, or the seed that another thread has set since."""
        self.check_foreign_seed()
        if self.foreign_seed is None:
            self.generator.set_state(self.state)
        else:
            self.generator.manual_seed(self.foreign_seed)


_turns = _Turns()
_saved: dict[torch.device, _Saved] = {}
_CPU = torch.device("cpu")


def _forget_threads() -> None:
    """Replace the lock in a forked process, which does not have the thread that may hold it."""
    global _turns
    _turns = _Turns()
    _saved.clear()
    _holders.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


@contextmanager
def alone() -> Iterator[None]:
    """Keep other threads of this process from drawing.

    Random states are not restored: this is for draws from the caller's random state.
    """
    position = _current()
    with nullcontext() if position.depth else _turns:
        position.depth += 1
        is_outermost = position.depth == 1
        if is_outermost:
            _holders.append(position)
        try:
            yield
        finally:
            position.depth -= 1
            if is_outermost:
                _holders.clear()


@contextmanager
def exclusive(*devices: torch.device) -> Iterator[None]:
    """Keep other threads from drawing, and restore torch's default generators at the end.

    Code that seeds the generators does so within this context. So a thread that samples meanwhile
    gets the numbers that it would get alone, even if it sets a seed. Contexts may be nested.

    Arguments:
        devices: the devices whose generators are restored, in addition to the CPU's and to those
            that `reseed` seeds.
    """
    global _saved
    with alone():
        outer, _saved = _saved, {}
        for device in (_CPU, *devices):
            _save(device)
        try:
            yield
        finally:
            for device, saved in _saved.items():
                saved.restore()
                # the outer section must restore this seed, too
                if device in outer and saved.foreign_seed is not None:
                    outer[device].foreign_seed = saved.foreign_seed
            _saved = outer


def reseed(device: torch.device, *key: object) -> None:
    """Seed torch's default generators, the CPU's and the device's, from a key, within `exclusive`.

    Raises:
        RuntimeError: the call is not within `exclusive`.
    """
    if not _current().depth:
        raise RuntimeError("reseed outside of exclusive: the caller's random state would be lost.")
    for generator_device in dict.fromkeys((_CPU, device)):
        _save(generator_device).reseed(seed_for(*key))


def _save(device: torch.device) -> _Saved:
    """Save the state of a device's default generator unless this section has saved it."""
    if device not in _saved:
        _saved[device] = _Saved(_default_generator(device))
    return _saved[device]


def _default_generator(device: torch.device) -> torch.Generator:
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.cuda.default_generators[index]
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()
    return torch.default_generator


def noise(n: int, *shape: int, like: Tensor) -> Tensor:
    r"""Draw standard normal noise, `(n, *shape)`, on the device and in the dtype of `like`.

    The rows are those of this microbatch and rank; see the top of this module. The noise is drawn
    in at least single precision, because half precision cannot represent the tails.

    Example:
        >>> noise(3, 2, like=torch.zeros(())).shape
        torch.Size([3, 2])
    """
    return _draw(True, n, shape, like).to(like.dtype)


def uniform(n: int, *shape: int, like: Tensor) -> Tensor:
    """Draw numbers that are uniform on [0, 1), `(n, *shape)`, on the device of `like`.

    The rows are chosen as in `noise`. The dtype is at least single precision, whatever the dtype of
    `like`: half precision has only about 256 numbers below 1, which cannot decide an event as rare
    as 1 in 1,000. Compute a probability in the dtype of the result before you compare them. Then
    convert what you compute from the comparison to the model's dtype.

    Example:
        >>> uniform(3, like=torch.zeros((), dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return _draw(False, n, shape, like)


def _draw(normal: bool, n: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    position = _current()
    dtype = torch.promote_types(like.dtype, torch.float32)
    is_compiling = torch.compiler.is_compiling()
    if position.keyed:
        k = position.count if is_compiling else _number(position)
        position.count = max(position.count, k + 1)
        draw = _compiled_rows if is_compiling else _keyed_rows
        layout = (position.rank, position.size, position.parts, position.pieces)
        return draw(normal, k, n, shape, layout, dtype, like.device)
    if is_compiling:
        return _unkeyed_rows(normal, n, shape, dtype, like.device)
    with alone():
        return _unkeyed_rows(normal, n, shape, dtype, like.device)


def _number(position: _Position) -> int:
    """Return the number of a keyed draw.

    Activation checkpointing runs code a second time and restores torch's default generator before.
    A number drawn from that generator identifies the draw, which gets the same number both times.
    """
    mark = int(torch.empty((), dtype=torch.int64, device="cpu").random_())
    return position.seen.setdefault(mark, position.count)


def _unkeyed_rows(
    normal: bool, n: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return this rank's rows of a draw from the default generator."""
    position, sample = _current(), torch.randn if normal else torch.rand
    if position.size == 1:
        return sample(n, *shape, dtype=dtype, device=device)
    rows = sample(n * position.size, *shape, dtype=dtype, device=device)
    return rows[position.rank * n : (position.rank + 1) * n]


def _keyed_rows(
    normal: bool,
    k: int,
    n: int,
    shape: Sequence[int],
    layout: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return this share's rows of the k-th draw for the whole batch.

    The default generators are not used.
    """
    position, sample = _current(), torch.randn if normal else torch.rand
    if device not in position.generators:
        position.generators[device] = torch.Generator(device)
    generator = position.generators[device].manual_seed(seed_for(*position.key, "noise", k))
    rank, size, parts, pieces = layout
    part = position.part if parts > 1 else 0
    piece = position.piece if pieces > 1 else 0
    shares = size if part is None else parts * size * pieces
    rows = sample(n * shares, *shape, dtype=dtype, device=device, generator=generator)
    if shares == 1:
        return rows
    if part is None and n % parts == 0:
        return rows.unflatten(0, (parts, size, n // parts))[:, rank].flatten(0, 1)
    index = rank if part is None else (part * size + rank) * pieces + piece
    return rows[index * n : (index + 1) * n].clone()  # a copy, so that the other rows are freed


@torch.library.custom_op(
    "genzoo::noise",
    mutates_args=(),
    tags=(torch.Tag.nondeterministic_seeded, torch.Tag.cudagraph_unsafe),
)
def _compiled_rows(
    normal: bool,
    k: int,
    n: int,
    shape: Sequence[int],
    layout: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return `_keyed_rows` as one operation of a graph.

    The arguments do not contain what changes from step to step, so the graph stays valid.
    """
    return _keyed_rows(normal, k, n, shape, layout, dtype, device)


@_compiled_rows.register_fake
def _(
    _normal: bool,
    _k: int,
    n: int,
    shape: Sequence[int],
    _layout: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    return torch.empty(n, *shape, dtype=dtype, device=device)


def gather(x: Tensor) -> Tensor:
    """Return the rows of all ranks, in rank order: `(B, ...)` -> `(W * B, ...)`, with gradients.

    Only the current microbatch is gathered. Gradients flow back to the rank of each row: every rank
    computes the same global statistic, the backward pass sums the W equal gradients, and the
    trainer's mean over ranks divides by W. A gather without gradients gives the right loss and a
    wrong gradient.
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
