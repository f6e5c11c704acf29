"""Compare a model with one built again from its settings: the differences that a run folder would lose."""

from __future__ import annotations

import dis
import inspect
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache, cached_property, partial
from numbers import Number
from types import CodeType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from genzoo.registry.records import settings_of

ABSENT = type("Absent", (), {"__repr__": lambda _: "absent"})()
"""Stands for an attribute or a submodule that one of the two models lacks."""

_INTERNAL = frozenset({*vars(nn.Module()), "_compiled_call_impl", "_genzoo_init", "_genzoo_origin"})
_MACHINE = (torch.device, torch.dtype, torch.Generator)
"""Attributes that follow the device and the precision, and say nothing about the model."""
_CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__"})
_DEPTH = 6
"""Levels of attributes within attributes that are compared."""


@dataclass(frozen=True)
class Difference:
    """One difference between a model and the same model built again.

    Arguments:
        where: the dotted path of the attribute, submodule or tensor.
        here: what the model has.
        there: what the rebuilt model has.
        kind: `"attribute"`, `"module"`, `"buffer"` or `"tensor"`.
    """

    where: str
    here: Any
    there: Any
    kind: str = "attribute"

    def __str__(self) -> str:
        return f"{self.where} is {show(self.here)} in the model and {show(self.there)} when it is built again"


def differences(model: nn.Module, twin: nn.Module) -> list[Difference]:
    """List where two models differ, other than in trained values.

    Compare the types of all submodules, the names, shapes and dtypes of parameters and buffers, the values of the buffers
    that weights do not hold, shared parameters, and attributes. Skip what use alone changes: modes, hooks, attributes that
    the class itself assigns outside its constructor (counters, caches), and containers that begin empty.

    Arguments:
        model: the model in hand.
        twin: the same model, built again.
    """
    here, there = (dict(one.named_modules(remove_duplicate=False)) for one in (model, twin))
    found: list[Difference] = []
    written: dict[str, frozenset[str]] = {}
    for path in dict.fromkeys((*there, *here)):
        if _below(path, found):
            continue
        left, right = here.get(path, ABSENT), there.get(path, ABSENT)
        if ABSENT in (left, right) or _type_name(left) != _type_name(right):
            found.append(Difference(path or type(model).__name__, left, right, "module"))
            continue
        parent = written.get(path.rpartition(".")[0], frozenset()) if path else frozenset()
        written[path] = parent | _written(type(left))  # type: ignore[arg-type]
        found += _attributes(path, left, right, written[path])
    return [*found, *_tensors(model, twin, found)]


def _below(path: str, found: Sequence[Difference]) -> bool:
    """Whether a path lies in a submodule that is already known to differ."""
    return any(
        path == d.where or path.startswith(f"{d.where}.") for d in found if d.kind == "module"
    )


def _attributes(
    path: str, left: nn.Module, right: nn.Module, written: Set[str]
) -> Iterator[Difference]:
    mine, theirs = vars(left), vars(right)
    arguments = settings_of(left)
    for name in dict.fromkeys((*theirs, *mine)):
        if name in _INTERNAL or (name in written and name not in arguments):
            continue
        here, there = mine.get(name, ABSENT), theirs.get(name, ABSENT)
        if (
            there is ABSENT
        ):  # added later: it matters where it hides what the class has, or where the class looks for it
            there = _of_class(type(left), name)
            looked_for: Set[str] = _read(type(left))  # type: ignore[arg-type]
            if isinstance(there, cached_property) or (there is ABSENT and name not in looked_for):
                continue
        if not _begins_empty(there) and not _derived(right, name, there) and not same(here, there):
            yield Difference(f"{path}.{name}".lstrip("."), here, there)


def _of_class(cls: type, name: str) -> Any:
    """The attribute of a class by which its instances find a name."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), ABSENT)


def _begins_empty(value: Any) -> bool:
    """Whether a value is an empty container, which use fills."""
    return isinstance(value, dict | list | set | deque) and not value


def _derived(module: nn.Module, name: str, value: Any) -> bool:
    """Whether a tensor is computed from parameters, as by torch's hooks for weight and spectral norm."""
    if not isinstance(value, Tensor):
        return False
    sources = {f"{name}_{suffix}" for suffix in ("g", "v", "orig")}
    return value.grad_fn is not None or not sources.isdisjoint(
        {*module._parameters, *module._buffers}
    )


def _tensors(
    model: nn.Module, twin: nn.Module, known: Sequence[Difference]
) -> Iterator[Difference]:
    here, there = _named(model), _named(twin)
    for name in dict.fromkeys((*there, *here)):
        if _below(name, known):
            continue
        left, right = here.get(name), there.get(name)
        if left is None or right is None:
            yield Difference(
                name,
                ABSENT if left is None else left[0],
                ABSENT if right is None else right[0],
                "tensor",
            )
        elif left[1:] != right[1:]:
            yield Difference(name, _in_words(left), _in_words(right), "tensor")
        elif left[1] == "a buffer outside the weights" and not same(left[0], right[0]):
            yield Difference(name, left[0], right[0], "buffer")
        elif left[1] != "a buffer outside the weights" and _layout(left[0]) != _layout(right[0]):
            yield Difference(name, _in_words(left, True), _in_words(right, True), "tensor")


def _in_words(entry: tuple[Tensor, str, str], dtype: bool = False) -> str:
    tensor, role, first = entry
    shared = f", shared with {first}" if first else ""
    shape, kind = _layout(tensor)
    return f"{role} of shape {shape}{f' and {kind}' if dtype else ''}{shared}"


def _layout(tensor: Tensor) -> tuple[Any, torch.dtype]:
    return ("unknown" if is_lazy(tensor) else tuple(tensor.shape)), tensor.dtype


def _named(model: nn.Module) -> dict[str, tuple[Tensor, str, str]]:
    """Each parameter and buffer by name, with its role, and the name under which it occurs before if it is shared."""
    found: dict[str, tuple[Tensor, str, str]] = {}
    first: dict[int, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        outside = module._non_persistent_buffers_set
        roles = [(name, p, "a parameter") for name, p in module._parameters.items()]
        for name, buffer in module._buffers.items():
            roles.append(
                (name, buffer, "a buffer outside the weights" if name in outside else "a buffer")
            )
        for name, tensor, role in roles:
            if tensor is None:
                continue
            full = f"{path}.{name}".lstrip(".")
            before = first.setdefault(id(tensor), full)
            found[full] = (tensor, role, "" if before == full else before)
    return found


def same(left: Any, right: Any, depth: int = _DEPTH) -> bool:
    """Whether two attributes are equal, as far as can be seen: what cannot be looked into is equal if its type is.

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
        skipped = _written(type(left))  # type: ignore[arg-type]
        mine, theirs = vars(left), vars(right)
        return all(
            same(mine.get(key, ABSENT), theirs[key], depth - 1)
            for key in theirs
            if key not in skipped
        )
    return equality is object.__eq__ or bool(left == right)


def number(value: Any) -> Any:
    """A number for a numpy scalar or a tensor of no axes, anything else as it is."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor) and value.dim() == 0 and not value.is_meta and not is_lazy(value):
        return value.item()
    return value


def _close(left: Tensor, right: Tensor) -> bool:
    """Whether tensors are equal up to rounding, also where the left one once went through half precision."""
    if isinstance(left, nn.Parameter) and isinstance(
        right, nn.Parameter
    ):  # trained, and compared by name
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
    left, right = (one.__func__ if isinstance(one, MethodType) else one for one in (left, right))
    if isinstance(left, partial) and isinstance(right, partial):
        parts = [(one.func, one.args, one.keywords) for one in (left, right)]
        return same(parts[0], parts[1], depth - 1)
    code = getattr(left, "__code__", None), getattr(right, "__code__", None)
    if None in code:
        return left is right or (_name(left) == _name(right) and type(left) is type(right))
    inner = [(_cells(one), one.__defaults__, one.__kwdefaults__) for one in (left, right)]
    return code[0] == code[1] and same(inner[0], inner[1], depth - 1)


def _cells(function: Any) -> list[Any]:
    return [value for cell in function.__closure__ or () for value in _content(cell)]


def _content(cell: Any) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # not bound yet
        return []


def _name(thing: Any) -> str:
    qualified = getattr(thing, "__qualname__", type(thing).__qualname__)
    return f"{getattr(thing, '__module__', '')}.{qualified}"


def _type_name(thing: Any) -> str:
    return _name(type(thing))


@cache
def _written(cls: type) -> frozenset[str]:
    """The attributes that methods of a class assign after construction: state, such as a counter or a cache."""
    methods = dict(_methods(cls))
    building, waiting = set(), list(_CONSTRUCTORS)
    while waiting:  # the constructor, and the methods that it calls
        name = waiting.pop()
        if name not in building:
            building.add(name)
            nested = [inner for code in methods.get(name, ()) for inner in _nested(code)]
            waiting += [used for code in nested for used in code.co_names if used in methods]
    later = [code for name, codes in methods.items() if name not in building for code in codes]
    nested = [inner for code in later for inner in _nested(code)]
    return frozenset().union(*(_attribute_names(code, "STORE_ATTR") for code in nested))


@cache
def _read(cls: type) -> frozenset[str]:
    """The attributes and texts in the methods of a class: the names that it may look for on itself."""
    codes = [inner for _, found in _methods(cls) for code in found for inner in _nested(code)]
    texts = {text for code in codes for text in code.co_consts if isinstance(text, str)}
    return frozenset(
        texts.union(*(_attribute_names(code, "LOAD_ATTR", "LOAD_METHOD") for code in codes))
    )


def _methods(cls: type) -> Iterator[tuple[str, list[CodeType]]]:
    """The code of each method of a class and of those above it, up to torch's; of a property all but its setter."""
    found: dict[str, list[CodeType]] = {}
    for base in cls.__mro__:
        if base in (nn.Module, object):
            break
        for name, value in vars(base).items():
            functions: list[Callable[..., Any] | None] = [value]
            if isinstance(value, property):
                functions = [value.fget, value.fdel]
            elif isinstance(value, cached_property):
                functions = [value.func]
            elif isinstance(value, staticmethod | classmethod):
                functions = [value.__func__]
            codes = [getattr(inspect.unwrap(f), "__code__", None) for f in functions if callable(f)]
            found.setdefault(name, []).extend(code for code in codes if code is not None)
    yield from found.items()


def _nested(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _attribute_names(code: CodeType, *operations: str) -> set[str]:
    return {i.argval for i in dis.get_instructions(code) if i.opname in operations}


def show(value: Any) -> str:
    """A value in a few words, for a message."""
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
