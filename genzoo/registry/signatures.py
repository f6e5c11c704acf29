"""The arguments of a class or factory, whatever form its constructor has; imports nothing heavy.

The first parameter of a constructor is the instance, whatever it is called. Constructors that pass
`**kwargs` on have the arguments of the class above too.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the arguments of a class or factory by name, in order."""
    if isinstance(target, functools.partial):
        return _of_partial(target)
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


def own_parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the arguments that the target itself names, without those of the classes above."""
    return inspect.signature(makers(target)[0]).parameters


def makers(target: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return what a call runs: the factory, or the constructors of a class and of those above it.

    Constructors are bound to the class, so that their signatures do not have the instance.
    """
    if not inspect.isclass(target):
        return [target]
    name = "__init__"
    if target.__init__ is object.__init__ and target.__new__ is not object.__new__:
        name = "__new__"
    functions = [vars(cls)[name] for cls in target.__mro__ if name in vars(cls)]
    return [types.MethodType(getattr(f, "__func__", f), target) for f in functions]


def call(target: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a class or factory with arguments by name, also where it takes some by position only."""
    known = parameters(target)
    only = [name for name, p in known.items() if p.kind is p.POSITIONAL_ONLY]
    last = max((i for i, name in enumerate(only) if name in arguments), default=-1)
    positional = [arguments.get(name, known[name].default) for name in only[: last + 1]]
    return target(*positional, **{k: v for k, v in arguments.items() if k not in only})


def hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of arguments, as far as annotations can be evaluated."""
    if isinstance(target, functools.partial):
        return hints(target.func)
    found: dict[str, Any] = {}
    for maker in reversed(makers(target)):  # an argument has the type that its own class states
        found = {
            k: hint for k, hint in found.items() if k not in inspect.signature(maker).parameters
        }
        found |= _types(inspect.unwrap(maker))
    return {
        k: hint.type if isinstance(hint, dataclasses.InitVar) else hint for k, hint in found.items()
    }


def bind(target: type, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
    """Match the arguments of a call with the constructor of a class, without the instance.

    Raises:
        TypeError: they do not match.
    """
    return inspect.signature(makers(target)[0]).bind(*args, **kwargs)


def _types(function: Any) -> dict[str, Any]:
    if inspect.isclass(function):
        return hints(function)
    function = function if inspect.isroutine(function) else type(function).__call__
    # an annotation that cannot be evaluated is no reason to refuse a plugin
    with suppress(NameError, TypeError):
        return typing.get_type_hints(function, include_extras=True)
    return {}


def _of_partial(target: functools.partial[Any]) -> dict[str, inspect.Parameter]:
    inner = dict(list(parameters(target.func).items())[len(target.args) :])
    return {
        name: p.replace(default=target.keywords.get(name, p.default)) for name, p in inner.items()
    }
