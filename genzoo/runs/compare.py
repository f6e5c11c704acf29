"""Compare a model with one rebuilt from its settings, to find what a run folder would lose."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, partial
from numbers import Number
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from genzoo.registry.records import settings_of
from genzoo.runs.class_code import assigned_later, names_read

__all__ = ["ABSENT", "Difference", "differences", "number", "same", "show"]

ABSENT = type("Absent", (), {"__repr__": lambda _: "absent"})()
"""A placeholder for an attribute or submodule that one of the two models lacks."""

_INTERNAL = frozenset({*vars(nn.Module()), "_compiled_call_impl", "_genzoo_init", "_genzoo_origin"})
_MACHINE = (torch.device, torch.dtype, torch.Generator)
"""Types of attributes that depend on the device and the precision, not on the model."""
_MAX_DEPTH = 6
"""The number of levels of nested attributes that are compared."""
_NON_PERSISTENT = "a buffer outside the weights"
"""The role of a buffer that `state_dict` leaves out."""


@dataclass(frozen=True)
class Difference:
    """A difference between a model and the model that was rebuilt from its settings.

    Arguments:
        path: the dotted path of the attribute, submodule, or tensor.
        actual: the value in the model.
        rebuilt: the value in the rebuilt model.
        category: `"attribute"`, `"module"`, `"buffer"`, or `"tensor"`.
    """

    path: str
    actual: Any
    rebuilt: Any
    category: str = "attribute"

    def __str__(self) -> str:
        return (
            f"{self.path} is {show(self.actual)} in the model and {show(self.rebuilt)} when it is "
            "built again"
        )


def differences(model: nn.Module, twin: nn.Module) -> list[Difference]:
    """List the differences between two models, except in trained values.

    Compare the types of all submodules, the names, shapes, and dtypes of parameters and buffers,
    the values of non-persistent buffers, shared parameters, and attributes. Skip everything that
    changes with use: modes, hooks, containers that start empty, and attributes that the class
    assigns outside its constructor, such as counters and caches.

    Arguments:
        model: the original model.
        twin: the model rebuilt from the settings of the original.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    twin_modules = dict(twin.named_modules(remove_duplicate=False))
    result: list[Difference] = []
    state_names: dict[str, frozenset[str]] = {}
    for path in dict.fromkeys((*twin_modules, *modules)):
        if _is_below(path, result):
            continue
        left, right = modules.get(path, ABSENT), twin_modules.get(path, ABSENT)
        if ABSENT in (left, right) or _type_name(left) != _type_name(right):
            result.append(Difference(path or type(model).__name__, left, right, "module"))
            continue
        parent = state_names.get(path.rpartition(".")[0], frozenset()) if path else frozenset()
        state_names[path] = parent | assigned_later(type(left))  # type: ignore[arg-type]
        result += _attributes(path, left, right, state_names[path])
    return [*result, *_tensors(model, twin, result)]


def _is_below(path: str, known: Sequence[Difference]) -> bool:
    """Return whether a path lies in a submodule that is already known to differ."""
    modules = [difference.path for difference in known if difference.category == "module"]
    return any(path == module or path.startswith(f"{module}.") for module in modules)


def _attributes(
    path: str, left: nn.Module, right: nn.Module, state_names: Set[str]
) -> Iterator[Difference]:
    attributes, twin_attributes = vars(left), vars(right)
    arguments = settings_of(left)
    for name in dict.fromkeys((*twin_attributes, *attributes)):
        if name in _INTERNAL or (name in state_names and name not in arguments):
            continue
        actual, rebuilt = attributes.get(name, ABSENT), twin_attributes.get(name, ABSENT)
        if rebuilt is ABSENT:
            # an attribute added after construction matters only if it hides one of the class, or
            # if a method of the class reads it
            rebuilt = _class_attribute(type(left), name)
            names: Set[str] = names_read(type(left))  # type: ignore[arg-type]
            is_unread = rebuilt is ABSENT and name not in names
            if isinstance(rebuilt, cached_property) or is_unread:
                continue
        if _is_empty_container(rebuilt) or _is_derived(right, name, rebuilt):
            continue
        if not same(actual, rebuilt):
            yield Difference(f"{path}.{name}".lstrip("."), actual, rebuilt)


def _class_attribute(cls: type, name: str) -> Any:
    """Return the class attribute to which a name resolves on an instance, or `ABSENT`."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), ABSENT)


def _is_empty_container(value: Any) -> bool:
    """Return whether a value is an empty container, which use of the model fills."""
    return isinstance(value, dict | list | set | deque) and not value


def _is_derived(module: nn.Module, name: str, value: Any) -> bool:
    """Return whether a tensor is computed from parameters, as by torch's hooks for weight norm."""
    if not isinstance(value, Tensor):
        return False
    sources = {f"{name}_{suffix}" for suffix in ("g", "v", "orig")}
    tensors = {*module._parameters, *module._buffers}
    return value.grad_fn is not None or not sources.isdisjoint(tensors)


def _tensors(
    model: nn.Module, twin: nn.Module, known: Sequence[Difference]
) -> Iterator[Difference]:
    tensors, twin_tensors = _named_tensors(model), _named_tensors(twin)
    for name in dict.fromkeys((*twin_tensors, *tensors)):
        if _is_below(name, known):
            continue
        left, right = tensors.get(name), twin_tensors.get(name)
        if left is None or right is None:
            actual = ABSENT if left is None else left[0]
            rebuilt = ABSENT if right is None else right[0]
            yield Difference(name, actual, rebuilt, "tensor")
        elif left[1:] != right[1:]:
            yield Difference(name, _describe(left), _describe(right), "tensor")
        elif left[1] == _NON_PERSISTENT:
            if not same(left[0], right[0]):
                yield Difference(name, left[0], right[0], "buffer")
        elif _layout(left[0]) != _layout(right[0]):
            actual, rebuilt = _describe(left, with_dtype=True), _describe(right, with_dtype=True)
            yield Difference(name, actual, rebuilt, "tensor")


def _describe(entry: tuple[Tensor, str, str], *, with_dtype: bool = False) -> str:
    tensor, role, first_name = entry
    shape, dtype = _layout(tensor)
    text = f"{role} of shape {shape}"
    if with_dtype:
        text += f" and {dtype}"
    if first_name:
        text += f", shared with {first_name}"
    return text


def _layout(tensor: Tensor) -> tuple[Any, torch.dtype]:
    return ("unknown" if is_lazy(tensor) else tuple(tensor.shape)), tensor.dtype


def _named_tensors(model: nn.Module) -> dict[str, tuple[Tensor, str, str]]:
    """Return the parameters and buffers by name.

    Each entry holds the tensor, its role, and, for a shared tensor that occurred before, the name
    under which it occurred first.
    """
    entries: dict[str, tuple[Tensor, str, str]] = {}
    first_names: dict[int, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        non_persistent = module._non_persistent_buffers_set
        tensors = [(name, p, "a parameter") for name, p in module._parameters.items()]
        for name, buffer in module._buffers.items():
            role = _NON_PERSISTENT if name in non_persistent else "a buffer"
            tensors.append((name, buffer, role))
        for name, tensor, role in tensors:
            if tensor is None:
                continue
            full_name = f"{path}.{name}".lstrip(".")
            first_name = first_names.setdefault(id(tensor), full_name)
            entries[full_name] = (tensor, role, "" if first_name == full_name else first_name)
    return entries


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
        return _name(left) == _name(right)
    if _type_name(left) != _type_name(right):
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


def number(value: Any) -> Any:
    """Convert a NumPy scalar or a tensor without axes to a number; return other values as is."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor) and value.dim() == 0 and not value.is_meta and not is_lazy(value):
        return value.item()
    return value


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
        return left is right or (_name(left) == _name(right) and type(left) is type(right))
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


def _name(value: Any) -> str:
    qualified = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{getattr(value, '__module__', '')}.{qualified}"


def _type_name(value: Any) -> str:
    return _name(type(value))


def show(value: Any) -> str:
    """Return a short description of a value for a message."""
    if isinstance(value, nn.Module):
        return f"{'an' if type(value).__name__[0] in 'AEIOU' else 'a'} {type(value).__name__}"
    if isinstance(value, Tensor) and value.numel() > 4:
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Tensor):
        return f"the tensor {value.tolist()}"
    if inspect.isroutine(value):
        return f"the function {getattr(value, '__qualname__', value)}"
    text = value if isinstance(value, str) and " " in value else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
