"""Build parts: from a registered name, a table, or an instance.

`build` looks the name up, adds the sizes that only the owner knows (`dim`, `shape`), checks the
arguments against the signature of the class or factory, calls it, and records how the result was
built. An error names the setting by its path, such as `model.prior.components`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import replace
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

from genzoo.errors import SettingError, show
from genzoo.memory import TooLargeError, allocations
from genzoo.registry.kinds import SINGULAR
from genzoo.registry.lookup import registry
from genzoo.registry.records import (
    UNKNOWN,
    InitRecord,
    Recorded,
    record_init,
    recorded,
    with_defaults,
)
from genzoo.registry.signatures import Signature, signature_of, split
from genzoo.registry.validation import check, is_plain, to_tuples

if TYPE_CHECKING:
    from genzoo.contract import (
        Critic,
        Dataset,
        Decoder,
        Divergence,
        Encoder,
        FeatureNetwork,
        Logger,
        Metric,
        Model,
        Part,
        Penalty,
        Prior,
        Translator,
    )

__all__ = ["build"]

_error_path: ContextVar[str] = ContextVar("error_path", default="")
"""The path of the part that is being built, such as `model.prior`; empty outside `build`."""
_NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


@overload
def build(spec: Part, kind: Literal["models"] = "models", /, **options: Any) -> Model: ...


@overload
def build(spec: Part, kind: Literal["priors"], /, **options: Any) -> Prior: ...


@overload
def build(spec: Part, kind: Literal["divergences"], /, **options: Any) -> Divergence | Penalty: ...


@overload
def build(spec: Part, kind: Literal["encoders"], /, **options: Any) -> Encoder: ...


@overload
def build(spec: Part, kind: Literal["decoders"], /, **options: Any) -> Decoder: ...


@overload
def build(spec: Part, kind: Literal["critics"], /, **options: Any) -> Critic: ...


@overload
def build(spec: Part, kind: Literal["translators"], /, **options: Any) -> Translator: ...


@overload
def build(
    spec: Dataset | str | Mapping[str, Any], kind: Literal["datasets"], /, **options: Any
) -> Dataset: ...


@overload
def build(
    spec: Metric | str | Mapping[str, Any], kind: Literal["metrics"], /, **options: Any
) -> Metric: ...


@overload
def build(spec: Part, kind: Literal["networks"], /, **options: Any) -> FeatureNetwork: ...


@overload
def build(
    spec: Logger | str | Mapping[str, Any], kind: Literal["loggers"], /, **options: Any
) -> Logger: ...


@overload
def build(spec: Any, kind: str, /, **options: Any) -> Any: ...


def build(
    spec: Any,
    kind: str = "models",
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = _NO_SETTINGS,
    **context: Any,
) -> Any:
    """Build a part from its name or its table, or return an instance as it is.

    Arguments:
        spec: a registered name (`"mog"`), a table (`{"name": "mog", "components": 20}`), or an
            instance.
        kind: the registry to look in, `"models"` by default.
        slot: the name of the slot in its owner, for error messages; the kind's singular by default.
        defaults: used where the constructor accepts them and the table leaves them out.
        **context: sizes that the owner passes down (`dim=8`, `shape=(1, 28, 28)`).

    Raises:
        SettingError: a name or setting is unknown, a value has another type, a size contradicts the
            owner's, or the part does not fit into memory.
        PluginError: the name belongs to a plugin that cannot be used.

    Example:
        >>> build({"name": "mog", "components": 20}, "priors", dim=2).dim
        2
    """
    names = registry(kind)
    owner_path = _error_path.get()
    error_path = ".".join(filter(None, (owner_path, slot or SINGULAR[kind])))
    if not isinstance(spec, str | Mapping):
        _check_instance(spec, context, error_path)
        record = recorded(spec) or InitRecord(kind, "", UNKNOWN)
        record_init(spec, replace(record, kind=record.kind or kind, context=frozenset(context)))
        return spec
    settings: dict[str, Any] = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise SettingError(
            f'{error_path} = {show(spec)}: a table needs a name, as in {{name = "..."}}.'
        )
    token = _error_path.set(error_path)
    try:
        target = names.get(name)
        label = f"{error_path} {name!r}"
        signature = signature_of(target)
        if "name" in signature.parameters:
            raise SettingError(
                f"{SINGULAR[kind]} {name!r} has an argument called 'name'. In a table, 'name' is "
                "the registered name; call the argument something else."
            )
        for key in context.keys() & settings.keys():
            _check_equal(f"{error_path}.{key}", settings[key], context[key])
        for key in defaults.keys() & signature.parameters.keys():
            settings.setdefault(key, defaults[key])
        arguments = check(target, {**settings, **context}, label, error_path)
        filled = with_defaults(signature, arguments)
        record = InitRecord(kind, name, filled, frozenset(context))
        if owner_path:
            return _construct(target, signature, arguments, record)
        try:
            with allocations():
                return _construct(target, signature, arguments, record)
        except TooLargeError as error:
            raise SettingError(_too_large(error, label, error_path, arguments)) from error
    finally:
        _error_path.reset(token)


def _check_equal(error_path: str, setting: Any, needed: Any) -> None:
    """Check that a setting is the size that its owner needs.

    Raises:
        SettingError: it is another one.
    """
    if to_tuples(setting) != to_tuples(needed):
        raise SettingError(
            f"{error_path} = {show(setting)}, but its owner needs {needed!r}; leave it out."
        )


def _construct(
    target: Callable[..., Any],
    signature: Signature,
    arguments: Mapping[str, Any],
    record: InitRecord,
) -> Any:
    """Call a class or factory with checked arguments and record how the result was built."""
    args: tuple[Any, ...] = ()
    if signature.positional_only:
        args, arguments = split(signature, arguments)
    if not (isinstance(target, type) and issubclass(target, Recorded)):
        part = target(*args, **arguments)
        record_init(part, record)
        return part
    # the record comes first, so that the constructor does not check the arguments again
    part = target.__new__(target, *args, **arguments)
    record_init(part, record)
    if isinstance(part, target):
        target.__init__(part, *args, **arguments)
    return part


def _too_large(
    error: TooLargeError, label: str, error_path: str, arguments: Mapping[str, Any]
) -> str:
    """Return an error message that names the largest sizes among the arguments."""
    sizes = dict(_sizes(arguments, error_path))
    largest = max(sizes.values(), default=0)
    named = [f"{key} = {size}" for key, size in sizes.items() if size**2 >= largest]
    advice = ", ".join(named) or "its sizes"
    return f"{label} does not fit into memory: it needs {error}. Lower {advice}."


def _sizes(value: Any, error_path: str) -> Iterator[tuple[str, int]]:
    """Yield the path of every whole number in settings; of several in a list, the largest."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _sizes(item, f"{error_path}.{key}")
    elif isinstance(value, list | tuple) and value and all(isinstance(item, int) for item in value):
        yield error_path, max(value)
    elif isinstance(value, int):
        yield error_path, int(value)


def _check_instance(part: Any, context: Mapping[str, Any], error_path: str) -> None:
    """Check that a value is an instance with the sizes that its owner needs.

    Raises:
        SettingError: it is not an instance, or has another size.
    """
    expected = "expected a name, a table, or an instance"
    if is_plain(part) or isinstance(part, bytes | set | PurePath):
        raise SettingError(f"{error_path} = {show(part)}: {expected}.")
    if inspect.isclass(part):
        name = part.__name__
        raise SettingError(f"{error_path} = {name}: {expected}, as in {name}(...).")
    for key, needed in context.items():
        size = getattr(part, key, None)
        if size is not None and to_tuples(size) != to_tuples(needed):
            raise SettingError(
                f"{error_path}: this {type(part).__name__} has {key} = {size!r}, "
                f"but its owner needs {needed!r}."
            )
