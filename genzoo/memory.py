"""Measure memory: how much a device has free, and how much a computation needs; and reuse it."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.errors import GenzooError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "TooLargeError", "allocations", "bytes_for_backward", "format_bytes", "free_memory",
    "is_failure", "keep_freed_memory",
]  # fmt: skip

_MEMINFO = Path("/proc/meminfo")
_AVAILABLE = re.compile(r"^MemAvailable:\s*(\d+)", re.MULTILINE)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""
_FACTORIES = (
    "arange", "empty", "eye", "full", "linspace", "ones", "rand", "randint", "randn", "randperm",
    "zeros",
)  # fmt: skip
"""The functions of torch that allocate a tensor of a requested size."""
_FAILURES = re.compile(
    "allocate memory|out of memory|bad_alloc|overflow|too big|maximum allowed dimension",
    re.IGNORECASE,
)
"""Messages of torch and numpy for sizes that do not fit into memory, other than `MemoryError`."""


def free_memory(device: torch.device) -> int | None:
    """Return the number of free bytes on a device, or None if the system does not report it.

    Example:
        >>> import torch
        >>> free = free_memory(torch.device("cpu"))
        >>> free is None or free > 0
        True
    """
    import torch

    measure = getattr(torch.get_device_module(device), "mem_get_info", None)
    if measure is not None:
        return int(measure(device)[0])
    if device.type != "cpu" or not _MEMINFO.exists():
        return None
    kibibytes = _AVAILABLE.search(_MEMINFO.read_text())
    return int(kibibytes[1]) * 1024 if kibibytes else None


def keep_freed_memory() -> None:
    """Let this process reuse memory that it has freed, instead of returning it to the system.

    Each training step frees its tensors, and allocates tensors of the same sizes again. By
    default, glibc returns large blocks at once, and the system fills new ones with zeros: a
    quarter of the CPU time of a convolutional VAE on a CPU. Blocks of more than 32 MiB are still
    returned. With another C library than glibc, this function has no effect.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_MMAP_THRESHOLD, 32 << 20)
            mallopt(_TRIM_THRESHOLD, 1 << 30)


def bytes_for_backward(loss: Callable[[], Tensor]) -> int:
    """Count the bytes that autograd stores for the backward pass of a loss.

    Nothing is computed: torch's fake tensors have shapes and dtypes only, including those that
    autocast chooses. Weights that the backward pass reads unchanged do not count.

    Arguments:
        loss: creates its inputs and returns a tensor with a gradient; it may not look at values.

    Example:
        >>> import torch
        >>> weight = torch.ones(3, 4, requires_grad=True)
        >>> # 5 x 4 inputs and 5 x 3 exponentials, 4 bytes each
        >>> bytes_for_backward(lambda: (torch.empty(5, 4) @ weight.T).exp())
        140
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    storages: dict[int, torch.UntypedStorage] = {}
    weights: set[int] = set()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage  # a reference, so that no other storage gets its address
        if isinstance(tensor, torch.nn.Parameter) or (tensor.is_leaf and tensor.requires_grad):
            weights.add(storage._cdata)
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    # the cache holds casts of weights: real ones from before this function, fake ones from within
    torch.clear_autocast_cache()
    try:
        with torch.enable_grad(), hooks, FakeTensorMode(allow_non_fake_inputs=True):
            loss()
    finally:
        torch.clear_autocast_cache()
    return sum(storage.nbytes() for key, storage in storages.items() if key not in weights)


def format_bytes(count: float) -> str:
    """Return a number of bytes as text with a unit.

    Example:
        >>> format_bytes(3 * 2**30)
        '3.0 GiB'
    """
    if count >= 2**40:
        return f"{count / 2**40:,.1f} TiB"
    if count >= 2**30:
        return f"{count / 2**30:,.1f} GiB"
    return f"{count / 2**20:,.0f} MiB"


class TooLargeError(MemoryError):
    """An allocation exceeds the free memory. The message completes the sentence "it needs ..."."""


@functools.cache
def _allocation_counter() -> Any:
    """Return the class that counts allocations. It is defined late because it needs torch."""
    import torch
    from torch.overrides import TorchFunctionMode

    factories = frozenset(getattr(torch, name) for name in _FACTORIES)

    class AllocationCounter(TorchFunctionMode):
        """Sum the bytes that torch's factories are asked for, and refuse more than `limit`."""

        def __init__(self, limit: int | None) -> None:
            super().__init__()
            self.limit, self.requested = limit, 0

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if self.limit is not None and func in factories and "out" not in kwargs:
                meta = {**kwargs, "device": "meta"}
                meta.pop("generator", None)
                meta.pop("pin_memory", None)
                self.requested += func(*args, **meta).nbytes
                if self.requested > self.limit:
                    requested, free = format_bytes(self.requested), format_bytes(self.limit)
                    raise TooLargeError(f"more than {requested}, and {free} are free")
            return func(*args, **kwargs)

    return AllocationCounter


@contextmanager
def allocations() -> Iterator[None]:
    """Refuse tensors that need more memory than is free, before they are allocated.

    Linux promises more memory than exists and kills the process that uses it, so a successful
    allocation proves nothing. The sizes that torch's factories (`torch.empty`, `torch.zeros`, ...)
    are asked for within this context are added up.

    Raises:
        TooLargeError: the sum exceeds the free memory, or torch or numpy report that it does.

    Example:
        >>> with allocations():
        ...     torch.empty(10**15)
        Traceback (most recent call last):
        genzoo.memory.TooLargeError: more than 3,638.0 TiB, ...
    """
    import torch

    device = torch.get_default_device()
    limit = None if device.type == "meta" else free_memory(device)
    try:
        with _allocation_counter()(limit):
            yield
    except (TooLargeError, GenzooError):
        raise
    except (MemoryError, OverflowError, RuntimeError, ValueError, TypeError) as error:
        if is_failure(error):
            raise TooLargeError("more memory than the machine has") from error
        raise


def is_failure(error: Exception) -> bool:
    """Return whether torch or numpy raised an error for lack of memory."""
    if isinstance(error, MemoryError | OverflowError):
        return True
    return _FAILURES.search(str(error)) is not None
