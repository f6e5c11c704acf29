"""Compare a model with one rebuilt from its settings, to find changes that the settings lack."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from genzoo.registry.records import settings_of
from genzoo.runs.class_code import assigned_later, names_read
from genzoo.runs.same_value import ABSENT, same, type_name

__all__ = ["Difference", "differences", "show"]


_INTERNAL = frozenset({*vars(nn.Module()), "_compiled_call_impl", "_genzoo_init", "_genzoo_origin"})
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
        if ABSENT in (left, right) or type_name(left) != type_name(right):
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
