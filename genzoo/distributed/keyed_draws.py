"""Noise that is one draw for the whole batch, keyed by the run, the player, and its step.

Each microbatch and rank gets its rows of the draw, so the split of a batch does not change samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from genzoo.distributed.random_state import alone, exclusive, reseed, seed_for
from genzoo.distributed.ranks import Position, at, current

__all__ = ["draws", "noise", "uniform"]

_SAMPLERS: dict[str, Callable[..., Tensor]] = {"normal": torch.randn, "uniform": torch.rand}


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
        device: a device; its default generator and the CPU's are seeded from the key and the
            microbatch.
        key: the key of `noise` and `uniform`, which return the rows of this microbatch and rank.
        part: the index of the microbatch, or None for all microbatches of this rank.
        parts: the number of microbatches.
        piece: the index of a piece of this rank's share of the microbatch.
        pieces: the number of equal pieces that this share is split into.
    """
    with exclusive():
        reseed(device, *key, part)
        with at(
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


def noise(n: int, *shape: int, like: Tensor) -> Tensor:
    r"""Draw standard normal noise, `(n, *shape)`, on the device and in the dtype of `like`.

    The rows are those of this microbatch and rank; see `genzoo.distributed`. The noise is drawn
    in at least single precision, because half precision cannot represent the tails.

    Example:
        >>> noise(3, 2, like=torch.zeros(())).shape
        torch.Size([3, 2])
    """
    return _draw("normal", n, shape, like).to(like.dtype)


def uniform(n: int, *shape: int, like: Tensor) -> Tensor:
    """Draw numbers that are uniform on [0, 1), `(n, *shape)`, on the device of `like`.

    The rows are chosen as in `noise`. The dtype is at least single precision, even if `like` is in
    half precision, which has only about 256 numbers below 1. These are too few to sample an event
    with a probability of 1 in 1,000. Compute probabilities in the dtype of the result before you
    compare. Then convert the outcome to the model's dtype.

    Example:
        >>> uniform(3, like=torch.zeros((), dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return _draw("uniform", n, shape, like)


def _draw(distribution: str, n: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    position = current()
    dtype = torch.promote_types(like.dtype, torch.float32)
    is_compiling = torch.compiler.is_compiling()
    if position.keyed:
        k = position.count if is_compiling else _number(position)
        position.count = max(position.count, k + 1)
        draw = _compiled_rows if is_compiling else _keyed_rows
        layout = (position.rank, position.size, position.parts, position.pieces)
        return draw(distribution, k, n, shape, layout, dtype, like.device)
    if is_compiling:
        return _unkeyed_rows(distribution, n, shape, dtype, like.device)
    with alone():
        return _unkeyed_rows(distribution, n, shape, dtype, like.device)


def _number(position: Position) -> int:
    """Return the number of a keyed draw.

    Activation checkpointing restores torch's default generator and then runs code a second time. A
    random number from that generator identifies the draw, so it gets the same number both times.
    """
    mark = int(torch.empty((), dtype=torch.int64, device="cpu").random_())
    return position.seen.setdefault(mark, position.count)


def _unkeyed_rows(
    distribution: str, n: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return this rank's rows of a draw from the default generator."""
    position, sample = current(), _SAMPLERS[distribution]
    if position.size == 1:
        return sample(n, *shape, dtype=dtype, device=device)
    rows = sample(n * position.size, *shape, dtype=dtype, device=device)
    return rows[position.rank * n : (position.rank + 1) * n]


def _keyed_rows(
    distribution: str,
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
    position, sample = current(), _SAMPLERS[distribution]
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
    distribution: str,
    k: int,
    n: int,
    shape: Sequence[int],
    layout: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return `_keyed_rows` as one operation of a graph.

    No argument changes from step to step, so the graph stays valid.
    """
    return _keyed_rows(distribution, k, n, shape, layout, dtype, device)


@_compiled_rows.register_fake
def _(
    _distribution: str,
    _k: int,
    n: int,
    shape: Sequence[int],
    _layout: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    return torch.empty(n, *shape, dtype=dtype, device=device)
