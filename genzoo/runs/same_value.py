"""Compare two attributes of models."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from numbers import Number
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from genzoo.runs.class_code import assigned_later

__all__ = ["ABSENT", "number", "same", "type_name"]

ABSENT = type("Absent", (), {"__repr__": lambda _: "absent"})()
"""A placeholder for an attribute or submodule that one of the two models lacks."""
_MACHINE = (torch.device, torch.dtype, torch.Generator)
"""Types of attributes that depend on the device and the precision, not on the model."""
_MAX_DEPTH = 6
"""The number of levels of nested attributes that are compared."""


def same(left: Any, right: Any, depth: int = _MAX_DEPTH) -> bool:
    """Return whether two attributes are equal.

    Objects whose content cannot be inspected count as equal if their types are equal.

    Example:
        >>> same((1, 2.0), [1, torch.tensor(2)]), same({"lr": 0.1}, {"lr": 0.2})
        (True, False)
    """
    left, right = number(left), number(right)
    if left is right or depth == 0:
        return True
    if isinstance(left, Tensor | np.ndarray) and isinstance(right, Tensor | np.ndarray):
        return _close(torch.as_tensor(left), torch.as_tensor(right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(
            same(left[key], right[key], depth - 1) for key in left
        )
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(
            same(a, b, depth - 1) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, Number) and isinstance(right, Number):
        return bool(left == right) or (left != left and right != right)
    if _is_function(left) and _is_function(right):
        return _same_function(left, right, depth)
    if inspect.isclass(left) and inspect.isclass(right):
        return _qualified_name(left) == _qualified_name(right)
    return _same_object(left, right, depth)


def number(value: Any) -> Any:
    """Convert a NumPy scalar or a tensor without axes to a number; return other values as is."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor) and value.dim() == 0 and not value.is_meta and not is_lazy(value):
        return value.item()
    return value


def type_name(value: Any) -> str:
    """Return the module and the qualified name of the type of a value."""
    return _qualified_name(type(value))


def _same_object(left: Any, right: Any, depth: int) -> bool:
    if type_name(left) != type_name(right):
        return False
    if isinstance(left, (nn.Module, *_MACHINE)):
        return True
    equality: Any = type(left).__eq__
    if hasattr(left, "__dict__") and equality is object.__eq__:
        skipped = assigned_later(type(left))  # type: ignore[arg-type]
        attributes, twin_attributes = vars(left), vars(right)
        return all(
            same(attributes.get(key, ABSENT), twin_attributes[key], depth - 1)
            for key in twin_attributes
            if key not in skipped
        )
    return equality is object.__eq__ or bool(left == right)


def _close(left: Tensor, right: Tensor) -> bool:
    """Return whether tensors are equal up to rounding.

    The left tensor may have been converted to half precision and back.
    """
    # parameters are trained, so only their names and shapes are compared, elsewhere
    if isinstance(left, nn.Parameter) and isinstance(right, nn.Parameter):
        return True
    if left.shape != right.shape:
        return False
    if left.is_meta or right.is_meta:
        return True
    left, right = left.detach().cpu(), right.detach().cpu()
    if not left.is_floating_point() or not right.is_floating_point():
        return torch.equal(left, right.to(left.dtype))
    exact = left.double()
    rounded = [right, right.to(torch.bfloat16), right.to(torch.float16)]
    return any(
        torch.allclose(exact, r.to(left.dtype).double(), rtol=1e-5, atol=1e-8, equal_nan=True)
        for r in rounded
    )


def _is_function(value: Any) -> bool:
    return inspect.isroutine(value) or isinstance(value, partial)


def _same_function(left: Any, right: Any, depth: int) -> bool:
    left, right = (f.__func__ if isinstance(f, MethodType) else f for f in (left, right))
    if isinstance(left, partial) and isinstance(right, partial):
        parts = [(f.func, f.args, f.keywords) for f in (left, right)]
        return same(parts[0], parts[1], depth - 1)
    code, twin_code = getattr(left, "__code__", None), getattr(right, "__code__", None)
    if code is None or twin_code is None:
        return left is right or (
            _qualified_name(left) == _qualified_name(right) and type(left) is type(right)
        )
    values = [(_closure_values(f), f.__defaults__, f.__kwdefaults__) for f in (left, right)]
    return code == twin_code and same(values[0], values[1], depth - 1)


def _closure_values(function: Any) -> list[Any]:
    return [value for cell in function.__closure__ or () for value in _cell_values(cell)]


def _cell_values(cell: Any) -> list[Any]:
    try:
        return [cell.cell_contents]
    # the variable is not bound yet
    except ValueError:
        return []


def _qualified_name(value: Any) -> str:
    qualified = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{getattr(value, '__module__', '')}.{qualified}"
