"""Checks of the arguments of models' and priors' methods.

`Model` and `Prior` wrap the methods that they know by name, so every subclass gets these checks.
Shapes and layouts are checked before a call, which takes about a microsecond. Devices and dtypes
are checked only after the call has failed. Nothing is checked while a method is compiled or
exported, or inside the transforms of `torch.func`, because the shapes there differ from the
caller's.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genzoo import memory
from genzoo.errors import DataError, GenzooError, SettingError, show

__all__ = ["check_methods", "fits", "layout_of", "unfit", "whole"]

_LARGE = 2**28
"""The number of elements from which a sample's memory is checked beforehand."""


def check_methods(cls: type, arguments: Mapping[str, str]) -> None:
    """Wrap the methods that a class defines, so that they reject wrong arguments.

    Arguments:
        cls: a class of models or priors.
        arguments: method -> the type of its first argument. `"n"` is a number of samples.
            `"tensor"` is a tensor of any shape. Any other value names the attribute with the shape
            of a row, such as `"shape"`, or with its length, such as `"dim"`.
    """
    for name, argument in arguments.items():
        method = vars(cls).get(name)
        if inspect.isfunction(method):
            setattr(cls, name, _checked(method, name, argument))


def _checked(method: Callable[..., Any], name: str, argument: str) -> Callable[..., Any]:
    """Return a method that checks its first argument."""
    first = next(iter([*inspect.signature(method).parameters][1:]), "x")
    call = _call_with_count if argument == "n" else functools.partial(_call_with_rows, argument)

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or not (args or first in kwargs):
            return method(self, *args, **kwargs)
        return call(self, functools.partial(method, self), name, first, args, kwargs)

    return checked


def _call_with_count(
    self: Any,
    method: Callable[..., Any],
    name: str,
    first: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call a method that returns `n` rows.

    Raises:
        SettingError: `n` is not an integer of at least 0, or the rows do not fit into memory.
    """
    n = args[0] if args else kwargs[first]
    if not isinstance(n, torch.SymInt):
        n = whole(n, f"{name}({show(n)})", 0)
        elements = n * math.prod(getattr(self, "shape", (getattr(self, "dim", 1),)))
        if elements > _LARGE:
            fits(elements, _like(self), f"{name}({n})")
    try:
        return method(n, *args[1:], **kwargs) if args else method(**{**kwargs, first: n})
    except (RuntimeError, MemoryError) as error:
        if memory.is_failure(error):
            raise SettingError(
                f"{name}({n}) does not fit into memory; take fewer at a time."
            ) from error
        raise


def _call_with_rows(
    argument: str,
    self: Any,
    method: Callable[..., Any],
    name: str,
    first: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call a method that reads rows.

    Raises:
        DataError: the rows are not a dense tensor, or their shape, device, or dtype is wrong.
    """
    x = args[0] if args else kwargs[first]
    if not isinstance(x, Mapping) and (problem := unfit(self, x, argument, first)):
        raise DataError(f"{name}: {problem}")
    try:
        return method(*args, **kwargs)
    except GenzooError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        if isinstance(x, Tensor) and (problem := _foreign(self, x, first)):
            raise DataError(f"{name}: {problem}") from error
        raise


def fits(elements: int, like: Tensor, what: str) -> None:
    """Raise an error if memory is too small.

    Arguments:
        elements: the number of elements to allocate.
        like: a tensor with their device and dtype.
        what: the allocation, for the message.

    Raises:
        SettingError: the free memory is too small.
    """
    left, needed = memory.free_memory(like.device), elements * like.element_size()
    if left is not None and needed > left:
        raise SettingError(
            f"{what} needs {memory.format_bytes(needed)}, and {memory.format_bytes(left)} are "
            "free; take fewer at a time."
        )


def whole(n: Any, what: str, least: int) -> int:
    """Return an integer of Python or NumPy as an `int`.

    Arguments:
        n: the value to check.
        what: its name, for the message.
        least: the smallest integer that is allowed.

    Raises:
        SettingError: `n` is not an integer, or too small or too large.
    """
    try:
        value = operator.index(n)
    except TypeError:
        value = None
    if value is None or isinstance(n, bool | Tensor) or not least <= value < 2**63:
        raise SettingError(f"{what}: expected a whole number from {least} on.")
    return value


def layout_of(x: Tensor) -> str | None:
    """Return the layout of a tensor that is not dense, such as `"sparse_coo"`, else None."""
    if x.is_nested:
        return "nested"
    if x.is_quantized:
        return "quantized"
    if x.layout is not torch.strided:
        return str(x.layout).removeprefix("torch.")
    return None


def unfit(self: Any, x: Any, argument: str, first: str) -> str:
    """Return the reason why a model cannot read a tensor, or an empty string.

    Arguments:
        self: the model or prior.
        x: its argument.
        argument: the type of the argument, as in `check_methods`.
        first: the name of the argument, for the message.
    """
    if not isinstance(x, Tensor):
        convertible = hasattr(x, "__array__") or isinstance(x, list | tuple)
        hint = f"; give torch.as_tensor({first})" if convertible else ""
        return f"{first} is a {type(x).__name__}: expected a tensor{hint}."
    layout = layout_of(x)
    if layout is not None:
        hints = {
            "nested": f"torch.nested.to_padded_tensor({first}, 0.0)",
            "quantized": f"{first}.dequantize()",
        }
        hint = hints.get(layout, f"{first}.to_dense()")
        return f"{first} is a {layout} tensor: expected a dense one; give {hint}."
    row = None if argument == "tensor" else getattr(self, argument, None)
    if row is None or torch._C._functorch.maybe_current_level() is not None:
        return ""
    shape = (row,) if isinstance(row, int) else tuple(row)
    if x.shape[1:] == shape and x.dim() == 1 + len(shape):
        return ""
    hint = f"; for one example, give {first}[None]" if x.shape == shape else ""
    return (
        f"{first} has shape {tuple(x.shape)}, but {type(self).__name__} takes "
        f"{('batch', *shape)}{hint}."
    )


def _foreign(self: Any, x: Tensor, first: str) -> str:
    """Return how the device or dtype of a tensor differs from the model's, or an empty string."""
    like, name = _like(self), type(self).__name__
    if x.device != like.device:
        return (
            f"{first} is on {x.device}, but this {name} is on {like.device}; "
            f"give {first}.to({str(like.device)!r})."
        )
    if x.dtype == like.dtype or torch.is_autocast_enabled(x.device.type):
        return ""
    hint = f"{first}.to({like.dtype})" + (" / 255" if x.dtype == torch.uint8 else "")
    return f"{first} is {x.dtype}, but this {name} is {like.dtype}; give {hint}."


def _like(part: nn.Module) -> Tensor:
    """Return a tensor with the device and floating-point dtype of a part."""
    tensors = (*part.parameters(), *part.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), torch.zeros(()))
