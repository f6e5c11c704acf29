"""Check what the methods of models and priors are called with, once for all of them, and refuse in words.

`Model` and `Prior` wrap the methods that they know by name. Shapes and layouts are looked at before a call, which takes about a
microsecond; devices and dtypes only after it failed. Compilers, `torch.export` and the transforms of `torch.func`, which see
other shapes than a caller does, are left alone.
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

_LARGE = 2**28
"""Numbers in a sample from which on free memory is asked for."""


def check_methods(cls: type, takes: Mapping[str, str]) -> None:
    """Wrap the methods that a class defines, so that they refuse what they cannot take.

    Arguments:
        cls: a class of models or priors.
        takes: method -> what its first argument is: `"n"`, how many; else the attribute that holds the shape of a row, as
            `"shape"`, or its length, as `"dim"`; or `"tensor"`, of which no shape is known.
    """
    for name, kind in takes.items():
        method = vars(cls).get(name)
        if inspect.isfunction(method):
            setattr(cls, name, _checked(method, name, kind))
        elif (
            isinstance(method, property) and method.fget is not None
        ):  # a method that only some instances have
            setattr(
                cls, name, property(_checked_result(method.fget, name, kind), doc=method.__doc__)
            )


def _checked(method: Callable[..., Any], name: str, kind: str) -> Callable[..., Any]:
    """Return a method that checks its first argument."""
    first = next(iter([*inspect.signature(method).parameters][1:]), "x")
    call = _counting if kind == "n" else functools.partial(_reading, kind)

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or not (args or first in kwargs):
            return method(self, *args, **kwargs)
        return call(self, functools.partial(method, self), name, first, args, kwargs)

    return checked


def _checked_result(get: Callable[[Any], Any], name: str, kind: str) -> Callable[[Any], Any]:
    """Return a property's getter whose result, a function, checks its first argument."""

    @functools.wraps(get)
    def getter(self: Any) -> Any:
        method = get(self)

        def checked(x: Any) -> Any:
            return (
                method(x)
                if torch.compiler.is_compiling()
                else _reading(kind, self, method, name, "x", (x,), {})
            )

        return checked

    return getter


def _counting(
    self: Any,
    method: Callable[..., Any],
    name: str,
    first: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call a method that makes `n` rows.

    Raises:
        SettingError: n is no whole number from 0 on, or so many do not fit into memory.
    """
    n = args[0] if args else kwargs[first]
    if not isinstance(n, torch.SymInt):
        n = whole(n, f"{name}({show(n)})", 0)
        numbers = n * math.prod(getattr(self, "shape", (getattr(self, "dim", 1),)))
        if numbers > _LARGE:
            fits(numbers, _like(self), f"{name}({n})")
    try:
        return method(n, *args[1:], **kwargs) if args else method(**{**kwargs, first: n})
    except (RuntimeError, MemoryError) as error:
        if memory.is_failure(error):
            raise SettingError(
                f"{name}({n}) does not fit into memory; take fewer at a time."
            ) from error
        raise


def _reading(
    kind: str,
    self: Any,
    method: Callable[..., Any],
    name: str,
    first: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call a method that reads rows.

    Raises:
        DataError: they are no dense tensor, or of another shape, device or dtype than the model takes.
    """
    x = args[0] if args else kwargs[first]
    if not isinstance(x, Mapping) and (wrong := unfit(self, x, kind, first)):
        raise DataError(f"{name}: {wrong}")
    try:
        return method(*args, **kwargs)
    except GenzooError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        if isinstance(x, Tensor) and (wrong := _foreign(self, x, first)):
            raise DataError(f"{name}: {wrong}") from error
        raise


def fits(numbers: int, like: Tensor, what: str) -> None:
    """Make sure that there is memory for so many numbers.

    Raises:
        SettingError: there is not.
    """
    left, needed = memory.free_memory(like.device), numbers * like.element_size()
    if left is not None and needed > left:
        raise SettingError(
            f"{what} needs {memory.format_bytes(needed)}, and {memory.format_bytes(left)} are free; take fewer at a time."
        )


def whole(n: Any, what: str, least: int) -> int:
    """Return a whole number, of Python or of numpy.

    Raises:
        SettingError: it is none, or too small or large.
    """
    try:
        value = operator.index(n)
    except TypeError:
        value = None
    if value is None or isinstance(n, bool | Tensor) or not least <= value < 2**63:
        raise SettingError(f"{what}: expected a whole number from {least} on.")
    return value


def unfit(self: Any, x: Any, kind: str, first: str) -> str:
    """Return what is wrong with a tensor at first sight, empty where nothing is."""
    if not isinstance(x, Tensor):
        way = (
            f"; give torch.as_tensor({first})"
            if hasattr(x, "__array__") or isinstance(x, list | tuple)
            else ""
        )
        return f"{first} is a {type(x).__name__}: expected a tensor{way}."
    if x.layout is not torch.strided or x.is_nested or x.is_quantized:
        which = (
            "nested"
            if x.is_nested
            else "quantized"
            if x.is_quantized
            else str(x.layout).removeprefix("torch.")
        )
        ways = {
            "nested": f"torch.nested.to_padded_tensor({first}, 0.0)",
            "quantized": f"{first}.dequantize()",
        }
        return f"{first} is a {which} tensor: expected a dense one; give {ways.get(which, f'{first}.to_dense()')}."
    row = None if kind == "tensor" else getattr(self, kind, None)
    if row is None or torch._C._functorch.maybe_current_level() is not None:
        return ""
    shape = (row,) if isinstance(row, int) else tuple(row)
    if x.shape[1:] == shape and x.dim() == 1 + len(shape):
        return ""
    hint = f"; for one example, give {first}[None]" if x.shape == shape else ""
    return f"{first} has shape {tuple(x.shape)}, where {type(self).__name__} takes {('batch', *shape)}{hint}."


def _foreign(self: Any, x: Tensor, first: str) -> str:
    """Return how a tensor differs from those that the model holds, empty where it does not."""
    like, thing = _like(self), type(self).__name__
    if x.device != like.device:
        return f"{first} is on {x.device}, where this {thing} is on {like.device}; give {first}.to({str(like.device)!r})."
    if x.dtype == like.dtype or torch.is_autocast_enabled(x.device.type):
        return ""
    way = f"{first}.to({like.dtype})" + (" / 255" if x.dtype == torch.uint8 else "")
    return f"{first} is {x.dtype}, where this {thing} is {like.dtype}; give {way}."


def _like(part: nn.Module) -> Tensor:
    """Return a tensor with the device and the floating dtype of a part."""
    tensors = (*part.parameters(), *part.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), torch.zeros(()))
