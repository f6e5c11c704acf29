"""Check settings against the signature of a class or factory: names, types, and completeness.

Types come from annotations and are checked by pydantic, without coercion. Only two differences are
allowed, because TOML has neither: a list becomes a tuple, and a whole number becomes a float.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from genzoo.errors import SettingError, UnknownSettingError, did_you_mean, shorten, show
from genzoo.registry.signatures import signature_of

__all__ = ["check", "check_plain", "is_plain", "to_tuples", "validate"]

_MAX_DEPTH = 100
"""The deepest nesting of tables and lists; Python's recursion fails somewhat below it."""
_SIMPLE = frozenset({str, float, bool, type(None)})
_SCALARS = _SIMPLE | {int}
_PLAIN = _SCALARS | {dict}
_PLAINER_WORDS = (
    ("Input should be ", ""),
    ("a valid integer", "an integer"),
    ("a valid ", "a "),
    ("an instance of", "a"),
    ("dictionary", "table"),
    ("Tuple should", "a tuple that should"),
    (" after validation, not 0", ""),
    ("Field required", "more items"),
)
"""Phrases of pydantic's messages and their replacements."""


def check(
    target: Callable[..., Any], settings: Mapping[str, Any], label: str, error_path: str
) -> dict[str, Any]:
    """Check settings against a signature and return the arguments for the call.

    Arguments:
        target: a class or factory.
        settings: the arguments to call it with, by name.
        label: the target in error messages, such as `model 'vae'`.
        error_path: the settings in error messages, such as `model.prior`.

    Raises:
        UnknownSettingError: the target does not have a setting of that name.
        SettingError: a value has another type, or a setting without a default is missing.
    """
    signature = signature_of(target)
    known = signature.parameters
    for key, value in settings.items():
        if key not in known:
            message = f"{label} has no setting {shorten(str(key))!r}."
            raise UnknownSettingError(message, key, value, did_you_mean(str(key), known))
        if type(value) not in _SIMPLE:
            check_plain(value, f"{error_path}.{key}")
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in settings:
            raise SettingError(f"{label} needs a setting {key!r}.")
    arguments = {}
    for key, value in settings.items():
        default = known[key].default
        of_scalars = isinstance(value, list | tuple) and _SCALARS.issuperset(map(type, value))
        if type(value) not in _PLAIN and not of_scalars:
            value = _python(value)
        if isinstance(value, Mapping):
            value = _complete(value, default)
        if key in signature.types:
            value = validate(value, signature.types[key], f"{error_path}.{key}")
        else:
            value = to_tuples(value)
        if isinstance(value, Mapping | list | tuple):
            value = _match_sequences(value, default)
        arguments[key] = value
    return arguments


def _python(value: Any) -> Any:
    """Return a value with NumPy's numbers, also in lists and tuples, as Python's."""
    if type(value) in (list, tuple):
        return type(value)(map(_python, value))
    is_number = getattr(value, "shape", None) == () and type(value).__module__ == "numpy"
    return value.item() if is_number else value


def _complete(table: Mapping[str, Any], default: Any) -> Mapping[str, Any]:
    """Complete a table without a name from a default that names a part."""
    if isinstance(default, str):
        default = {"name": default}
    if "name" in table or not isinstance(default, Mapping) or "name" not in default:
        return table
    return {**default, **table}


def _match_sequences(value: Any, default: Any) -> Any:
    """Return a value with lists and tuples in the same places as in the default."""
    if isinstance(value, Mapping) and isinstance(default, Mapping):
        return {key: _match_sequences(item, default.get(key)) for key, item in value.items()}
    if not isinstance(value, list | tuple) or not isinstance(default, list | tuple):
        return value
    items: Iterable[Any] = value
    if default and not _SCALARS.issuperset(map(type, value)):
        examples = default if len(default) == len(value) else [default[0]] * len(value)
        items = map(_match_sequences, value, examples)
    return list(items) if isinstance(default, list) else tuple(items)


def validate(value: Any, hint: Any, error_path: str) -> Any:
    """Check a value against a type.

    Nothing is coerced, except TOML's lists to tuples and whole numbers to floats. Floats are finite
    unless the type allows others, as `Annotated[float, pydantic.AllowInfNan(True)]` does.

    Raises:
        SettingError: the value has another type.
    """
    from pydantic import ValidationError

    try:
        adapter = _adapter(hint)
    except TypeError:  # an unhashable type, such as an `Annotated` with a list in it
        adapter = _adapter.__wrapped__(hint)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        problems = error.errors()
    if isinstance(value, list):
        try:
            return adapter.validate_python(to_tuples(value))
        except ValidationError as error:
            # report the problem inside the list if one of the two attempts got that far
            problems = max(error.errors(), problems, key=_depth)
    expected = " or ".join(dict.fromkeys(_expectation(problem["msg"]) for problem in problems))
    raise SettingError(
        f"{error_path} = {show(value)}: expected {expected}{_in_a_list(value, adapter)}."
    )


def _in_a_list(value: Any, adapter: Any) -> str:
    """Return a value in a list as advice, if the list would be valid."""
    from pydantic import ValidationError

    try:
        adapter.validate_python((value,))
    except ValidationError:
        return ""
    return f", such as [{show(value)}]"


def _depth(problems: list[Any]) -> int:
    return max(len(problem["loc"]) for problem in problems)


def _expectation(message: str) -> str:
    """Return pydantic's message as the end of "expected ..."."""
    for phrase, replacement in _PLAINER_WORDS:
        message = message.replace(phrase, replacement)
    return message.split(", unable")[0]


@functools.cache
def _adapter(hint: Any) -> Any:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(
            hint, config=ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
        )
    except PydanticUserError:  # the type brings its own configuration
        return TypeAdapter(hint)


def check_plain(value: Any, error_path: str) -> None:
    """Refuse whole numbers beyond 64 bits, and tables and lists that are nested too deeply.

    Raises:
        SettingError: the value contains one; the message names it.
    """
    # each entry: an item, its error path, the whole value at that path, and the depth
    pending: list[tuple[Any, str, Any, int]] = [(value, error_path, value, 0)]
    while pending:
        item, path, whole, depth = pending.pop()
        if isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise SettingError(f"{path} = {show(whole)}: expected an integer of at most 64 bits.")
        if not isinstance(item, Mapping | list | tuple):
            continue
        if depth == _MAX_DEPTH:
            raise SettingError(
                f"{error_path} is nested deeper than {_MAX_DEPTH} levels; flatten it."
            )
        if isinstance(item, Mapping):
            for key, below in item.items():
                pending.append((below, f"{path}.{key}", below, depth + 1))
        else:
            for below in item:
                pending.append((below, path, whole, depth + 1))


def to_tuples(value: Any) -> Any:
    """Return a value with every list, also within lists and tuples, turned into a tuple."""
    return tuple(map(to_tuples, value)) if isinstance(value, list | tuple) else value


def is_plain(value: Any) -> bool:
    """Return whether a value consists of TOML's types and None only."""
    if isinstance(value, Mapping):
        return all(map(is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | bool | int | float)
