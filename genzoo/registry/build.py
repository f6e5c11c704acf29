"""Name, table or instance -> part; sizes flow down from the owner; errors name the place.

`build` is the only way in. It looks the name up, checks the settings against the signature of what it found, adds the context
that only the owner knows (`dim`, `shape`), calls it, and notes on the result how it was made, so that `config` can say it again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

from genzoo.errors import SettingError, UnknownSettingError, did_you_mean, shorten, show
from genzoo.memory import TooLargeError, allocations
from genzoo.registry.kinds import KINDS
from genzoo.registry.lookup import registry
from genzoo.registry.signatures import call, hints, own_parameters, parameters

if TYPE_CHECKING:
    from genzoo.contract import (
        Critic,
        Dataset,
        Decoder,
        Divergence,
        Encoder,
        Metric,
        Model,
        Part,
        Penalty,
        Prior,
        Translator,
    )

_place: ContextVar[tuple[str, ...]] = ContextVar("place", default=())
_DEEPEST = 100
"""Tables and lists within each other; deeper ones end Python's recursion somewhere."""
_RECORD = "_genzoo_init"
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_UNKNOWN: Mapping[str, Any] = MappingProxyType({})
"""The settings of an instance whose constructor kept none: it is no `Configurable`."""


@dataclass(frozen=True)
class InitRecord:
    """How a part was made: enough to make it again."""

    kind: str
    name: str
    settings: Mapping[str, Any]
    """Every argument with its value, defaults included."""
    context: frozenset[str] = frozenset()
    """Which of them the owner handed down."""


@overload
def build(
    spec: Part,
    kind: Literal["models"] = "models",
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = ...,
    **context: Any,
) -> Model: ...


@overload
def build(
    spec: Part,
    kind: Literal["priors"],
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = ...,
    **context: Any,
) -> Prior: ...


@overload
def build(
    spec: Part,
    kind: Literal["divergences"],
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = ...,
    **context: Any,
) -> Divergence | Penalty: ...


@overload
def build(
    spec: Part,
    kind: Literal["encoders"],
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = ...,
    **context: Any,
) -> Encoder: ...


@overload
def build(
    spec: Part,
    kind: Literal["decoders"],
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = ...,
    **context: Any,
) -> Decoder: ...


@overload
def build(
    spec: Part,
    kind: Literal["critics"],
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = ...,
    **context: Any,
) -> Critic: ...


@overload
def build(
    spec: Part,
    kind: Literal["translators"],
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = ...,
    **context: Any,
) -> Translator: ...


@overload
def build(
    spec: Dataset | str | Mapping[str, Any],
    kind: Literal["datasets"],
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = ...,
    **context: Any,
) -> Dataset: ...


@overload
def build(
    spec: Metric | str | Mapping[str, Any],
    kind: Literal["metrics"],
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = ...,
    **context: Any,
) -> Metric: ...


@overload
def build(
    spec: Any,
    kind: str,
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = ...,
    **context: Any,
) -> Any: ...


def build(
    spec: Any,
    kind: str = "models",
    /,
    *,
    slot: str | None = None,
    defaults: Mapping[str, Any] = _NOTHING,
    **context: Any,
) -> Any:
    """A part from its name, its table or itself.

    Arguments:
        spec: a registered name (`"mog"`), a table (`{"name": "mog", "components": 20}`) or an instance, returned as it is.
        kind: the registry to look in, `"models"` by default.
        slot: what the slot is called in its owner, for error messages; the kind's singular by default.
        defaults: used where the constructor accepts them and the table leaves them out.
        **context: sizes that the owner hands down (`dim=8`, `shape=(1, 28, 28)`).

    Raises:
        SettingError: an unknown name or setting, a value of another type, a size that contradicts the owner's, or a part that
            does not fit into memory.

    Example:
        >>> build({"name": "mog", "components": 20}, "priors", dim=2).dim
        2
    """
    place = (*_place.get(), slot or registry(kind).kind[:-1])
    if not isinstance(spec, str | Mapping):
        _check_instance(spec, context, ".".join(place))
        mark = _record(spec) or InitRecord(kind, "", _UNKNOWN)
        record_init(spec, replace(mark, kind=mark.kind or kind, context=frozenset(context)))
        return spec
    settings: dict[str, Any] = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise SettingError(
            f'{".".join(place)} = {show(spec)}: a table needs a name, as in {{name = "..."}}'
        )
    with _inside(place):
        target = registry(kind).get(name)
        if "name" in parameters(target):
            raise SettingError(
                f"{kind[:-1]} {name!r} has an argument called 'name', which in a table is the "
                "registered name; call the argument something else."
            )
        label = f"{'.'.join(place)} {name!r}"
        for key, value in context.items():
            if key in settings and not _same(settings[key], value):
                raise SettingError(
                    f"{'.'.join(place)}.{key} = {show(settings[key])} where its owner needs {value!r}; leave it out"
                )
        settings = {
            **{key: value for key, value in defaults.items() if key in parameters(target)},
            **settings,
        }
        arguments = check(target, {**settings, **context}, label, ".".join(place))
        part = (
            call(target, arguments)
            if len(place) > 1
            else _allocated(target, arguments, label, settings)
        )
    record_init(part, InitRecord(kind, name, with_defaults(target, arguments), frozenset(context)))
    return part


def _allocated(
    target: Callable[..., Any],
    arguments: Mapping[str, Any],
    label: str,
    settings: Mapping[str, Any],
) -> Any:
    """Call a constructor.

    Raises:
        SettingError: what it makes does not fit into memory; the largest settings are named.
    """
    try:
        with allocations():
            return call(target, arguments)
    except TooLargeError as error:
        sizes = dict(_sizes({**arguments, **settings}, label.partition(" ")[0]))
        largest = max(sizes.values(), default=0)
        named = ", ".join(f"{key} = {size}" for key, size in sizes.items() if size**2 >= largest)
        raise SettingError(
            f"{label} does not fit into memory: it needs {error}. Lower {named or 'its sizes'}."
        ) from error


def _sizes(value: Any, place: str) -> Iterator[tuple[str, int]]:
    """Yield where whole numbers stand in settings, and the largest at each place."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _sizes(below, f"{place}.{key}")
    elif isinstance(value, list | tuple) and value and all(isinstance(item, int) for item in value):
        yield place, max(value)
    elif isinstance(value, int):
        yield place, int(value)


def _named(value: Any, slot: inspect.Parameter | None) -> Any:
    """A slot's table that gives settings only changes the slot's default, where that is a name or a table."""
    default = slot.default if slot is not None else None
    if isinstance(default, str):
        default = {"name": default}
    if (
        not isinstance(value, Mapping)
        or not isinstance(default, Mapping)
        or "name" in value
        or "name" not in default
    ):
        return value
    return {**default, **value}


def record_init(part: Any, made: InitRecord) -> None:
    """Write on a part how it was made; what takes no attributes goes without, and is refused when a run is saved."""
    try:
        object.__setattr__(part, _RECORD, made)
    except AttributeError:
        return


def init_record(part: Any) -> InitRecord:
    """How a part was made.

    Raises:
        SettingError: it is an instance of something that is not registered, or that keeps no settings.
    """
    mark = _record(part)
    if mark is not None and mark.name:
        return mark
    thing = type(part)
    label = f"{thing.__module__}.{thing.__qualname__}"
    kind = mark.kind if mark is not None else ""
    names = {k: registry(k).name_of(thing) for k in ([kind] if kind else KINDS)}
    registered = next((k for k, name in names.items() if name is not None), None)
    if registered is None:
        among = "" if kind else f" with its kind ({', '.join(KINDS)})"
        raise SettingError(
            f"{label} is not registered, so a run that holds one cannot be saved or rebuilt. "
            f"Register it{among}, as in "
            f'@genzoo.{kind or "encoders"}.register("my-name"), or train without a run folder.'
        )
    if mark is None or mark.settings is _UNKNOWN:
        name = names[registered]
        raise SettingError(
            f"{label} keeps no record of its settings, so a run that holds one cannot be rebuilt. "
            f"Give its name, {name!r}, or a table with that name instead of the instance, or derive "
            f"the class from one in genzoo.contract, such as genzoo.contract.Encoder."
        )
    return replace(mark, kind=registered, name=names[registered] or "")


def settings_of(part: Any) -> Mapping[str, Any]:
    """The arguments that a part was made with, defaults included; empty where nobody noted them."""
    mark = _record(part)
    return mark.settings if mark is not None else {}


def _record(part: Any) -> InitRecord | None:
    return vars(part).get(_RECORD) if hasattr(part, "__dict__") else None


def config(part: Any, *, root: bool = True) -> dict[str, Any]:
    """The table that builds a part again: its name and every setting, defaults filled, slots expanded.

    Sizes that an owner hands down are left out below the root.
    """
    how = init_record(part)
    table: dict[str, Any] = {"name": how.name}
    for key, value in how.settings.items():
        if not root and key in how.context:
            continue
        held = _record(getattr(part, key, None))
        if (
            isinstance(value, str | Mapping)
            and held is not None
            and held.name == _name(value, held.name)
        ):
            table[key] = config(getattr(part, key), root=False)
        else:
            table[key] = _table(value)
    check_nones(how, table)
    return table


def _name(value: str | Mapping[str, Any], default: str) -> Any:
    return value if isinstance(value, str) else value.get("name", default)


def _table(value: Any) -> Any:
    """A setting as a table can hold it: plain values as they are, instances by their own tables, also within lists."""
    if _plain(value):
        return value
    if isinstance(value, list | tuple):
        return tuple(_table(item) for item in value)
    return config(value, root=False)


def check_nones(how: InitRecord, table: Mapping[str, Any]) -> None:
    """TOML has no None, so one is left out, which is right only where it is the default."""
    known = parameters(registry(how.kind).get(how.name))
    for key, value in table.items():
        if value is None and known[key].default is not None:
            raise SettingError(
                f"{how.kind[:-1]} {how.name!r} has {key} = None, which a recipe cannot say: None is not its default."
            )


def with_defaults(target: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given settings and the target's own defaults, in order; what it passes on unasked is its own affair."""
    known = parameters(target)
    own = own_parameters(target)
    values = {
        key: given.get(key, known[key].default) for key in known if key in given or key in own
    }
    # a default table may be a read-only view, which cannot be copied
    plain = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()
    }
    return {key: value for key, value in plain.items() if value is not inspect.Parameter.empty}


def check(
    target: Callable[..., Any], settings: Mapping[str, Any], label: str, place: str
) -> dict[str, Any]:
    """Settings checked against a signature: names, types, nothing missing.

    Arguments:
        target: a class or factory.
        settings: what it is to be called with.
        label: the target in words, as in `model 'vae'`.
        place: where the settings stand, as in `model.prior`.
    """
    known = parameters(target)
    for key, value in settings.items():
        check_plain(value, f"{place}.{shorten(str(key))}")
    settings = {key: _named(value, known.get(key)) for key, value in settings.items()}
    for key, value in settings.items():
        if key not in known:
            message = f"{label} has no setting {shorten(str(key))!r}."
            raise UnknownSettingError(message, key, value, did_you_mean(str(key), known))
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in settings:
            raise SettingError(f"{label} needs a setting {key!r}.")
    types = hints(target)
    return {
        key: _formed(
            validate(value, types[key], f"{place}.{key}") if key in types else _tuples(value),
            known[key].default,
        )
        for key, value in settings.items()
    }


def _formed(value: Any, default: Any) -> Any:
    """Return a value with lists and tuples where the default has them, since TOML has lists only."""
    if isinstance(value, Mapping) and isinstance(default, Mapping):
        return {key: _formed(item, default.get(key)) for key, item in value.items()}
    if not isinstance(value, list | tuple) or not isinstance(default, list | tuple):
        return value
    examples = default if len(default) == len(value) else [*default[:1]] * len(value)
    items = map(_formed, value, examples) if examples else value
    return list(items) if isinstance(default, list) else tuple(items)


def validate(value: Any, hint: Any, place: str) -> Any:
    """A value checked against a type, without coercion but for TOML's lists (to tuples) and whole numbers (to floats).

    Floats are finite, unless the type says otherwise (`Annotated[float, pydantic.AllowInfNan(True)]`).
    """
    from pydantic import ValidationError

    try:
        adapter = _adapter(hint)
    except TypeError:  # it has a list or the like in it, which nothing can be found again by
        adapter = _adapter.__wrapped__(hint)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        found = error.errors()
        if isinstance(value, list):
            try:
                return adapter.validate_python(_tuples(value))
            except ValidationError as second:  # say what is wrong inside the list, if that is known
                found = max(
                    second.errors(),
                    found,
                    key=lambda details: max(len(detail["loc"]) for detail in details),
                )
        expected = " or ".join(dict.fromkeys(_words(detail["msg"]) for detail in found))
        raise SettingError(f"{place} = {show(value)}: expected {expected}") from None


def check_plain(value: Any, place: str) -> None:
    """Refuse whole numbers beyond 64 bits, and tables and lists that are nested deeper than any setting is.

    Raises:
        SettingError: there is one; it says where.
    """
    waiting: list[tuple[Any, str, Any, int]] = [(value, place, value, 0)]
    while waiting:
        item, where, whole, depth = waiting.pop()
        if isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise SettingError(f"{where} = {show(whole)}: expected an integer of at most 64 bits")
        if not isinstance(item, Mapping | list | tuple):
            continue
        if depth == _DEEPEST:
            raise SettingError(f"{place} is nested deeper than {_DEEPEST} levels; no setting is")
        if isinstance(item, Mapping):
            waiting += [(below, f"{where}.{key}", below, depth + 1) for key, below in item.items()]
        else:
            waiting += [(below, where, whole, depth + 1) for below in item]


def _words(message: str) -> str:
    for old, new in (
        ("Input should be ", ""),
        ("a valid integer", "an integer"),
        ("a valid ", "a "),
        ("an instance of", "a"),
        ("dictionary", "table"),
        ("Tuple should", "a tuple that should"),
        (" after validation, not 0", ""),
        ("Field required", "more items"),
    ):
        message = message.replace(old, new)
    return message.split(", unable")[0]


@functools.cache
def _adapter(hint: Any) -> Any:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(
            hint, config=ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
        )
    except PydanticUserError:  # a type with a configuration of its own
        return TypeAdapter(hint)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_plain(item) for item in value)
    return value is None or isinstance(value, str | bool | int | float)


def _same(left: Any, right: Any) -> bool:
    return bool(_tuples(left) == _tuples(right))


def _check_instance(part: Any, context: Mapping[str, Any], place: str) -> None:
    if _plain(part) or isinstance(part, bytes | set | PurePath):
        raise SettingError(f"{place} = {show(part)}: expected a name, a table or an instance")
    if inspect.isclass(part):
        raise SettingError(
            f"{place} = {part.__name__}: expected a name, a table or an instance, as in {part.__name__}(...)"
        )
    for key, value in context.items():
        own = getattr(part, key, None)
        if own is not None and not _same(own, value):
            raise SettingError(
                f"{place}: the {type(part).__name__} that was handed in has {key} = {own!r}, its owner needs {value!r}"
            )


@contextmanager
def _inside(place: tuple[str, ...]) -> Iterator[None]:
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)
