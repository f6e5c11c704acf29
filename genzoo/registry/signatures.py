"""Read the arguments of a class or factory, for every form of constructor.

The first parameter of a constructor is the instance, under any name. A constructor that passes
`**kwargs` on also has the arguments of the class above it. Results are cached for classes
and functions. No heavy package is imported.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

__all__ = ["Signature", "bind", "hints", "makers", "parameters", "signature_of", "split"]

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Signature:
    """The arguments of a class or factory."""

    parameters: Mapping[str, inspect.Parameter]
    """Every argument by name, in order, including those of the classes above."""
    types: Mapping[str, Any]
    """The types of the arguments whose annotations can be evaluated."""
    direct: inspect.Signature
    """The signature of the constructor or factory itself."""
    positional_only: tuple[str, ...]
    """The arguments that must be passed by position."""


_signatures: weakref.WeakKeyDictionary[Any, Signature] = weakref.WeakKeyDictionary()
"""The signatures of classes and functions, for as long as these exist."""


def signature_of(target: Callable[..., Any]) -> Signature:
    """Return the arguments of a class or factory."""
    # other callables, such as partials, may be unhashable or change
    if not isinstance(target, type | types.FunctionType):
        return _read(target)
    if target not in _signatures:
        _signatures[target] = _read(target)
    return _signatures[target]


def _read(target: Callable[..., Any]) -> Signature:
    known = _parameters(target)
    positional_only = (name for name, p in known.items() if p.kind is p.POSITIONAL_ONLY)
    return Signature(
        parameters=types.MappingProxyType(known),
        types=types.MappingProxyType(_types(target)),
        direct=inspect.signature(makers(target)[0]),
        positional_only=tuple(positional_only),
    )


def parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the arguments of a class or factory by name, in order."""
    return signature_of(target).parameters


def hints(target: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the types of the arguments whose annotations can be evaluated."""
    return signature_of(target).types


def _parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    if isinstance(target, functools.partial):
        return _partial_parameters(target)
    known: dict[str, inspect.Parameter] = {}
    for signature in map(inspect.signature, makers(target)):
        for name, parameter in signature.parameters.items():
            if parameter.kind not in _VARIADIC:
                known.setdefault(name, parameter)
        if all(p.kind is not p.VAR_KEYWORD for p in signature.parameters.values()):
            break
    for field in dataclasses.fields(target) if dataclasses.is_dataclass(target) else ():
        if field.default_factory is not dataclasses.MISSING and field.name in known:
            known[field.name] = known[field.name].replace(default=field.default_factory())
    return known


def _partial_parameters(target: functools.partial[Any]) -> dict[str, inspect.Parameter]:
    remaining = list(parameters(target.func).items())[len(target.args) :]
    return {
        name: parameter.replace(default=target.keywords.get(name, parameter.default))
        for name, parameter in remaining
    }


def makers(target: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return the functions that a call runs.

    For a factory this is the factory; for a class, its constructor and those of the classes above.
    Constructors are bound to the class, so their signatures do not contain the instance.
    """
    if not inspect.isclass(target):
        return [target]
    name = "__init__"
    if target.__init__ is object.__init__ and target.__new__ is not object.__new__:
        name = "__new__"
    functions = [vars(cls)[name] for cls in target.__mro__ if name in vars(cls)]
    return [types.MethodType(getattr(f, "__func__", f), target) for f in functions]


def _types(target: Callable[..., Any]) -> dict[str, Any]:
    if isinstance(target, functools.partial):
        return _types(target.func)
    types_by_name: dict[str, Any] = {}
    # from the top of the class hierarchy down, so that the annotations of the class itself win
    for maker in reversed(makers(target)):
        for name in inspect.signature(maker).parameters:
            types_by_name.pop(name, None)
        types_by_name |= _annotations(inspect.unwrap(maker))
    return {
        name: hint.type if isinstance(hint, dataclasses.InitVar) else hint
        for name, hint in types_by_name.items()
    }


def _annotations(function: Any) -> dict[str, Any]:
    if inspect.isclass(function):
        return _types(function)
    function = function if inspect.isroutine(function) else type(function).__call__
    # an annotation that cannot be evaluated is no reason to refuse a plugin
    with suppress(Exception):
        return typing.get_type_hints(function, include_extras=True)
    return {}


def split(
    signature: Signature, arguments: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Split named arguments into those to pass by position and those to pass by name."""
    names = signature.positional_only
    last = max((i for i, name in enumerate(names) if name in arguments), default=-1)
    defaults = {name: signature.parameters[name].default for name in names}
    positional = tuple(arguments.get(name, defaults[name]) for name in names[: last + 1])
    return positional, {key: value for key, value in arguments.items() if key not in names}


def bind(target: type, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
    """Match the arguments of a call with the constructor of a class, without the instance.

    Raises:
        TypeError: the arguments do not match.
    """
    return signature_of(target).direct.bind(*args, **kwargs)
