"""Noise that depends neither on processes, nor on microbatches, nor on threads; and a gather that carries gradients.

A run on W ranks with M microbatches must equal a run on one with one. So a loss draws its noise for the whole batch, each time,
and keeps the rows of its microbatch and rank; a statistic that is not a mean over examples (an MMD) is computed on the examples
of all ranks. The whole batch lies in the order of microbatches, and within each in the order of ranks.

In a run there are two streams of random numbers. `noise` and `uniform` draw from generators of this module: their k-th draw is a
pure function of the run's seed, the player, its step, and k. Everything else, such as dropout, draws from torch's default
generators, which are seeded for each microbatch. Outside a run both draw from the default generators.
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


class _Here:
    """What a thread is at: its rank, its part of the batch, and the key of its draws."""

    def __init__(self) -> None:
        self.rank, self.size = 0, 1
        self.part: int | None = 0  # None: all parts of this rank
        self.parts = 1  # microbatches
        self.piece, self.pieces = 0, 1  # of this rank's share of a part
        self.keyed = False
        self.key: tuple[
            object, ...
        ] = ()  # a compiler must not look at a key, which changes with each step
        self.count = 0  # keyed draws so far
        self.seen: dict[int, int] = {}  # their numbers, by where torch's default generator was
        self.depth = 0  # of `exclusive`
        self.helps = False  # a thread that was not started from Python, such as autograd's
        self.generators: dict[torch.device, torch.Generator] = {}

    def number(self) -> tuple[int | None, int]:
        """Of the part and of the piece; a compiled loss is made anew for each, so it asks only where there are several."""
        return self.part if self.parts > 1 else 0, self.piece if self.pieces > 1 else 0


class _Local(threading.local):
    def __init__(self) -> None:
        self.here = _Here()  # an object of its own, which a compiler can follow
        self.here.helps = isinstance(threading.current_thread(), threading._DummyThread)


_holders: list[_Here] = []
"""What the thread in `exclusive` is at, if there is one."""
_local = _Local()


def _current() -> _Here:
    """Return what this thread is at.

    A thread of autograd's works for the thread that waits for it, which differs from one backward pass to the next.
    """
    here = _local.here
    return _holders[-1] if here.helps and _holders else here


@contextmanager
def _at(**changes: Any) -> Iterator[None]:
    here = _current()
    before = {name: getattr(here, name) for name in changes}
    for name, value in changes.items():
        setattr(here, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(here, name, value)


@contextmanager
def emulate_rank(rank: int, size: int) -> Iterator[None]:
    """Within: this process is number `rank` of `size`. The trainer says it; outside a run a process stands alone."""
    with _at(rank=rank, size=size):
        yield


@contextmanager
def replicated() -> Iterator[None]:
    """Draw the same numbers on every rank, for noise that belongs to gathered examples."""
    with emulate_rank(0, 1):
        yield


@contextmanager
def whole_batch() -> Iterator[None]:
    """Within: draws are for the batch as a whole, and equal in all of its microbatches and on all ranks.

    For what a loss draws once a batch rather than once an example; `share` says which share of the batch the loss is of.

    Example:
        >>> with whole_batch():
        ...     shift = noise(1, 2, like=torch.zeros(()))  # one for all examples of a batch
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
    """Within: random numbers are pure functions of a key, and no other thread draws.

    Arguments:
        device: whose default generator is seeded, with the CPU's, from the key and the part.
        key: of `noise` and `uniform`, which take the rows of this part and rank of each draw.
        part: which microbatch this is, of `parts`; None for all of them, as far as they are this rank's.
        parts: how many microbatches there are.
        piece: which piece of this rank's share of the microbatch this is, of `pieces`.
        pieces: how many equal pieces that share is cut into.
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
    """This process's rank, and how many there are."""
    return _current().rank, _current().size


def share() -> tuple[int, int]:
    """Which share of the whole batch a loss is computed on, and how many shares there are: microbatches times ranks."""
    here = _current()
    part, piece = here.number()
    if part is None:
        return here.rank, here.size
    return (
        part * here.size + here.rank
    ) * here.pieces + piece, here.parts * here.size * here.pieces


def seed_for(*key: object) -> int:
    """A seed that is a pure function of its key, the same on every machine and in every process.

    Example:
        >>> seed_for(0, "critic", 12)
        8778608017679629815
    """
    return (
        int.from_bytes(hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest())
        >> 1
    )


class _Turns:
    """A lock for one thread at a time, which serves those that wait before the one that has just had its turn."""

    def __init__(self) -> None:
        self.queue, self.lock = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self.queue:
            self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


class _Kept:
    """A default generator as it was before a section, and the seed that it was last given there."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator, self.state, self.seed = (
            generator,
            generator.get_state(),
            generator.initial_seed(),
        )
        self.foreign: int | None = None

    def look(self) -> None:
        """Notice a seed that another thread has set meanwhile."""
        if self.generator.initial_seed() != self.seed and threading.active_count() > 1:
            self.foreign = self.generator.initial_seed()

    def reseed(self, seed: int) -> None:
        self.look()
        self.generator.manual_seed(seed)
        self.seed = seed

    def give_back(self) -> None:
        """As it was, or as another thread has wanted it since."""
        self.look()
        if self.foreign is None:
            self.generator.set_state(self.state)
        else:
            self.generator.manual_seed(self.foreign)


_turns = _Turns()
_kept: dict[torch.device, _Kept] = {}
_CPU = torch.device("cpu")


def _forget_threads() -> None:
    global _turns
    _turns = _Turns()  # a forked process has none of the threads that may hold the old one
    _kept.clear()
    _holders.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


@contextmanager
def alone() -> Iterator[None]:
    """Within: no other thread of this process draws. Random states are not given back: this is for draws of the caller's."""
    here = _current()
    with nullcontext() if here.depth else _turns:
        here.depth += 1
        outermost = here.depth == 1
        if outermost:
            _holders.append(here)
        try:
            yield outermost
        finally:
            here.depth -= 1
            if outermost:
                _holders.clear()


@contextmanager
def exclusive(*devices: torch.device) -> Iterator[None]:
    """Within: no other thread of this process draws, and at the end torch's default generators are as they were before.

    Whoever seeds them does it in here: a thread that samples meanwhile gets the numbers that it would get alone, also where it
    sets a seed of its own. Sections may lie in each other.

    Arguments:
        devices: whose generators are kept too, besides the CPU's and those that `reseed` seeds.
    """
    global _kept
    with alone():
        outer, _kept = _kept, {}
        for device in (_CPU, *devices):
            _keep(device)
        try:
            yield
        finally:
            for device, kept in _kept.items():
                kept.give_back()
                if (
                    device in outer and kept.foreign is not None
                ):  # which may be the seed that the outer section began with
                    outer[device].foreign = kept.foreign
            _kept = outer


def reseed(device: torch.device, *key: object) -> None:
    """Seed torch's default generators, the CPU's and the device's, from a key; whoever does it does it in `exclusive`."""
    if not _current().depth:
        raise RuntimeError("reseed outside of exclusive: the caller's random state would be lost.")
    for each in dict.fromkeys((_CPU, device)):
        _keep(each).reseed(seed_for(*key))


def _keep(device: torch.device) -> _Kept:
    if device not in _kept:
        _kept[device] = _Kept(_default_generator(device))
    return _kept[device]


def _default_generator(device: torch.device) -> torch.Generator:
    if device.type == "cuda":
        torch.cuda.init()
        return torch.cuda.default_generators[
            torch.cuda.current_device() if device.index is None else device.index
        ]
    return (
        torch.mps._get_default_mps_generator() if device.type == "mps" else torch.default_generator
    )


def noise(n: int, *shape: int, like: Tensor) -> Tensor:
    r"""Standard normal noise of shape `(n, *shape)`, on the device and in the dtype of `like`; see above for the rows.

    It is drawn in single precision at least: half precision has no tails to draw from.

    Example:
        >>> noise(3, 2, like=torch.zeros(())).shape
        torch.Size([3, 2])
    """
    return _draw(True, n, shape, like).to(like.dtype)


def uniform(n: int, *shape: int, like: Tensor) -> Tensor:
    """As `noise`, uniform on [0, 1), but in single precision at least, whatever the dtype of `like`.

    Compare it with a probability as it is, and compute that in its dtype too: half precision has 256 numbers or so below 1,
    and none of them says whether something happens that is as rare as 1 in 1,000. Bring to the dtype of a model what you
    compute from it.

    Example:
        >>> uniform(3, like=torch.zeros((), dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return _draw(False, n, shape, like)


def _draw(normal: bool, n: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    here = _current()
    dtype, compiling = torch.promote_types(like.dtype, torch.float32), torch.compiler.is_compiling()
    if here.keyed:
        k = here.count if compiling else _number(here)
        here.count = max(here.count, k + 1)
        draw = _compiled_rows if compiling else _keyed_rows
        return draw(
            normal, k, n, shape, (here.rank, here.size, here.parts, here.pieces), dtype, like.device
        )
    if compiling:
        return _unkeyed_rows(normal, n, shape, dtype, like.device)
    with alone():
        return _unkeyed_rows(normal, n, shape, dtype, like.device)


def _number(here: _Here) -> int:
    """The number of a keyed draw: that of the first time, where checkpointed activations are computed a second time.

    Then torch brings its default generator back to where it was, which a number drawn from it shows.
    """
    mark = int(torch.empty((), dtype=torch.int64, device="cpu").random_())
    return here.seen.setdefault(mark, here.count)


def _unkeyed_rows(
    normal: bool, n: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """This rank's rows of a draw from the default generator."""
    here, make = _current(), torch.randn if normal else torch.rand
    if here.size == 1:
        return make(n, *shape, dtype=dtype, device=device)
    return make(n * here.size, *shape, dtype=dtype, device=device)[
        here.rank * n : (here.rank + 1) * n
    ]


def _keyed_rows(
    normal: bool,
    k: int,
    n: int,
    shape: Sequence[int],
    layout: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """This share's rows of the k-th draw for the whole batch, which leaves the default generators alone."""
    here, make = _current(), torch.randn if normal else torch.rand
    if device not in here.generators:
        here.generators[device] = torch.Generator(device)
    generator = here.generators[device].manual_seed(seed_for(*here.key, "noise", k))
    rank, size, parts, pieces = layout
    part, piece = here.part if parts > 1 else 0, here.piece if pieces > 1 else 0
    shares = size if part is None else parts * size * pieces
    drawn = make(n * shares, *shape, dtype=dtype, device=device, generator=generator)
    if shares == 1:
        return drawn
    if part is None and n % parts == 0:
        return drawn.unflatten(0, (parts, size, n // parts))[:, rank].flatten(0, 1)
    share = rank if part is None else (part * size + rank) * pieces + piece
    return drawn[share * n : (share + 1) * n].clone()  # lets go of the other rows


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
    """As `_keyed_rows`, one operation in a graph: what changes from step to step is not among the arguments."""
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
    """The rows of all ranks, in rank order: `(B, ...)` -> `(W * B, ...)`; gradients flow back to the rank that they belong to.

    It sees the microbatch at hand, and no other.

    Each rank computes the same global statistic, and its backward sums the W equal gradients; the trainer's mean over ranks
    divides by W. A gather without gradients gives the right loss and a wrong gradient.
    """
    return x if rank_and_world_size()[1] == 1 else _Gather.apply(x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.rows, (ctx.rank, size) = (
            x.shape[0],
            rank_and_world_size(),
        )  # the backward pass may run in another thread
        parts = [torch.empty_like(x) for _ in range(size)]
        torch.distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        grad = grad.contiguous()
        torch.distributed.all_reduce(grad)
        return grad[ctx.rank * ctx.rows : (ctx.rank + 1) * ctx.rows]
