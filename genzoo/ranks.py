"""Several processes as one: noise for the global batch, and a gather that carries gradients.

A run on W ranks must equal a run on one. So noise is drawn for the global batch on every rank, which then keeps its own rows,
and a statistic that is not a mean over examples (an MMD) is computed on the gathered global batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

_rank, _size = 0, 1


@contextmanager
def as_rank(rank: int, size: int) -> Iterator[None]:
    """Within: this process is number `rank` of `size`. The trainer says it; outside a run a process stands alone."""
    global _rank, _size
    before = _rank, _size
    _rank, _size = rank, size
    try:
        yield
    finally:
        _rank, _size = before


def place() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    return _rank, _size


def seed_for(*key: object) -> int:
    """A seed that is a pure function of its key, the same on every machine and in every process.

    Example:
        >>> seed_for(0, "critic", 12)
        8778608017679629815
    """
    return int.from_bytes(hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()) >> 1


def reseed(device: torch.device, *key: object) -> None:
    """Seed torch's default generators, the CPU's and the device's, from a key."""
    seed = seed_for(*key)
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        module = torch.get_device_module(device)
        with module.device(device) if device.type == "cuda" else nullcontext():  # or it seeds the current one
            module.manual_seed(seed)


def own_rows(draw: Callable[[int], Tensor], n: int) -> Tensor:
    """This rank's `n` rows of a draw for the global batch; `draw(m)` makes m rows."""
    if _size == 1:
        return draw(n)
    return draw(n * _size)[_rank * n : (_rank + 1) * n]


def noise(n: int, *shape: int, like: Tensor) -> Tensor:
    r"""Standard normal noise of shape `(n, *shape)`, on the device and in the dtype of `like`, equal across rank counts.

    Example:
        >>> noise(3, 2, like=torch.zeros(())).shape
        torch.Size([3, 2])
    """
    return own_rows(lambda m: torch.randn(m, *shape, device=like.device, dtype=like.dtype), n)


def uniform(n: int, *shape: int, like: Tensor) -> Tensor:
    """As `noise`, uniform on [0, 1)."""
    return own_rows(lambda m: torch.rand(m, *shape, device=like.device, dtype=like.dtype), n)


def gather(x: Tensor) -> Tensor:
    """The rows of all ranks, in rank order: `(B, ...)` -> `(W * B, ...)`; gradients flow back to the rank that they belong to.

    Each rank computes the same global statistic, and its backward sums the W equal gradients; the trainer's mean over ranks
    divides by W. A gather without gradients gives the right loss and a wrong gradient.
    """
    return x if _size == 1 else _Gather.apply(x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.rows = x.shape[0]
        parts = [torch.empty_like(x) for _ in range(_size)]
        torch.distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        grad = grad.contiguous()
        torch.distributed.all_reduce(grad)
        return grad[_rank * ctx.rows : (_rank + 1) * ctx.rows]
