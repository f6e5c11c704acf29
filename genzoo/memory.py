"""How much memory a device has left, and how much a loss keeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MEMINFO = Path("/proc/meminfo")


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where nobody says.

    Example:
        >>> import torch
        >>> left = free_memory(torch.device("cpu"))
        >>> left is None or left > 0
        True
    """
    import torch

    measure = getattr(torch.get_device_module(device), "mem_get_info", None)
    if measure is not None:
        return int(measure(device)[0])
    if device.type != "cpu" or not _MEMINFO.exists():
        return None
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def kept(loss: Callable[[], Tensor]) -> int:
    """Count the bytes that autograd keeps of a loss for its backward pass.

    Nothing is computed: torch's fake tensors have shapes and dtypes only, those of autocast too where
    it is on. Weights that the pass reads as they are do not count.

    Arguments:
        loss: makes its inputs and returns a tensor with a gradient; it may not look at values.

    Example:
        >>> import torch
        >>> weight = torch.ones(3, 4, requires_grad=True)
        >>> kept(lambda: (torch.empty(5, 4) @ weight.T).exp())  # 5 x 4 inputs, 5 x 3 exponentials
        140
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    storages: dict[int, torch.UntypedStorage] = {}
    weights: set[int] = set()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage  # held, so that its address stays its own
        if isinstance(tensor, torch.nn.Parameter) or (tensor.is_leaf and tensor.requires_grad):
            weights.add(storage._cdata)
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    torch.clear_autocast_cache()  # which keeps the weights that it casts: real ones from before, fake ones from here
    try:
        with torch.enable_grad(), hooks, FakeTensorMode(allow_non_fake_inputs=True):
            loss()
    finally:
        torch.clear_autocast_cache()
    return sum(storage.nbytes() for key, storage in storages.items() if key not in weights)


def format_bytes(count: float) -> str:
    """Bytes in words.

    Example:
        >>> format_bytes(3 * 2**30)
        '3.0 GiB'
    """
    if count >= 2**40:
        return f"{count / 2**40:,.1f} TiB"
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


class TooLargeError(MemoryError):
    """More memory was asked for than is free; the message says how much, as what follows "it needs"."""


_FAILURES = re.compile(
    "allocate memory|out of memory|bad_alloc|overflow|too big|maximum allowed dimension",
    re.IGNORECASE,
)
"""What torch and numpy say of sizes that no memory holds, in errors that are not of type `MemoryError`."""


@contextmanager
def allocations() -> Iterator[None]:
    """Within: tensors that would take more memory than is free are refused before they are allocated.

    Linux grants more memory than there is and kills who uses it, so an allocation that succeeds proves nothing. Sizes are those
    that torch's factories (`torch.empty`, `torch.zeros`, ...) are asked for, added up.

    Raises:
        TooLargeError: more is asked for than is free, or torch or numpy say so.

    Example:
        >>> with allocations():
        ...     torch.empty(10**15)
        Traceback (most recent call last):
        genzoo.memory.TooLargeError: more than 3,638.0 TiB, ...
    """
    import torch
    from torch.overrides import TorchFunctionMode

    factories = {
        getattr(torch, name)
        for name in (
            "arange",
            "empty",
            "eye",
            "full",
            "linspace",
            "ones",
            "rand",
            "randint",
            "randn",
            "randperm",
            "zeros",
        )
    }
    device = torch.get_default_device()
    left = None if device.type == "meta" else free_memory(device)
    asked = 0

    class Counted(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal asked
            kwargs = kwargs or {}
            if left is not None and func in factories and "out" not in kwargs:
                plain = {
                    key: value
                    for key, value in kwargs.items()
                    if key not in ("generator", "pin_memory")
                }
                asked += func(*args, **{**plain, "device": "meta"}).nbytes
                if asked > left:
                    raise TooLargeError(
                        f"more than {format_bytes(asked)}, and {format_bytes(left)} are free"
                    )
            return func(*args, **kwargs)

    try:
        with Counted():
            yield
    except TooLargeError:
        raise
    except (MemoryError, OverflowError, RuntimeError, ValueError, TypeError) as error:
        if is_failure(error):
            raise TooLargeError("more memory than there is") from error
        raise


def is_failure(error: Exception) -> bool:
    """Return whether torch or numpy raised an error because memory was lacking."""
    return (
        isinstance(error, MemoryError | OverflowError) or _FAILURES.search(str(error)) is not None
    )
