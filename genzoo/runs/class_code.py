"""Read from the code of a class which attributes its methods assign and read."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from types import CodeType
from typing import Any

from torch import nn

__all__ = ["assigned_later", "names_read"]

_CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__"})


@cache
def assigned_later(cls: type) -> frozenset[str]:
    """Return the attributes that methods assign after construction: counters, caches, and so on."""
    methods = dict(_methods(cls))
    # the constructors, and every method that they call
    construction, waiting = set(), list(_CONSTRUCTORS)
    while waiting:
        name = waiting.pop()
        if name not in construction:
            construction.add(name)
            nested = [inner for code in methods.get(name, ()) for inner in _nested(code)]
            waiting += [called for code in nested for called in code.co_names if called in methods]
    later = [code for name, codes in methods.items() if name not in construction for code in codes]
    nested = [inner for code in later for inner in _nested(code)]
    return frozenset().union(*(_attribute_names(code, "STORE_ATTR") for code in nested))


@cache
def names_read(cls: type) -> frozenset[str]:
    """Return the names in the methods of a class (attributes and strings) that it may look up."""
    codes = [inner for _, method in _methods(cls) for code in method for inner in _nested(code)]
    strings = {value for code in codes for value in code.co_consts if isinstance(value, str)}
    return frozenset(
        strings.union(*(_attribute_names(code, "LOAD_ATTR", "LOAD_METHOD") for code in codes))
    )


def _methods(cls: type) -> Iterator[tuple[str, list[CodeType]]]:
    """Yield the code of each method of a class and its bases, up to `nn.Module`.

    Property setters are left out.
    """
    methods: dict[str, list[CodeType]] = {}
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
            methods.setdefault(name, []).extend(code for code in codes if code is not None)
    yield from methods.items()


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function and of the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _attribute_names(code: CodeType, *operations: str) -> set[str]:
    return {i.argval for i in dis.get_instructions(code) if i.opname in operations}
