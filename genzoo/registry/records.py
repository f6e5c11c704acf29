"""Record how parts were built, so that `config` can return the table that builds them again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self

from genzoo.errors import SettingError
from genzoo.registry.kinds import KINDS, SINGULAR
from genzoo.registry.lookup import registry
from genzoo.registry.signatures import Signature, bind, parameters, signature_of
from genzoo.registry.validation import check, is_plain

__all__ = [
    "InitRecord", "Recorded", "check_nones", "config", "init_record", "record_init", "settings_of",
    "with_defaults",
]  # fmt: skip

_ATTRIBUTE = "_genzoo_init"
UNKNOWN: Mapping[str, Any] = MappingProxyType({})
"""The settings of an instance whose constructor did not record them."""


@dataclass(frozen=True)
class InitRecord:
    """The registered name and the arguments of a part: enough to build it again."""

    kind: str
    name: str
    """The registered name; empty for a direct call of the class."""
    settings: Mapping[str, Any]
    """Every argument with its value, including defaults."""
    context: frozenset[str] = frozenset()
    """The arguments that the owner of the part passed down."""


class Recorded:
    """A base class that checks the arguments of its constructor and records them.

    `build` checks and records before it calls the constructor. In a direct call, the first
    constructor that runs does it. So arguments are checked once on either way.
    """

    kind_of_part: ClassVar[str] = ""
    """The registry that parts of this class belong to, such as `"encoders"`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ARG004
        # not in __init_subclass__: a dataclass gets its constructor after the class exists
        if getattr(cls.__init__, "records", None) is not cls.__init__:
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]
        return super().__new__(cls)


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that checks and records its arguments, unless that has been done."""

    @functools.wraps(init)
    def recording(self: Any, *args: Any, **kwargs: Any) -> None:
        from genzoo.distributed.random_state import alone

        if _ATTRIBUTE not in vars(self):
            args, kwargs = _check_call(self, args, kwargs)
        # weights come from the random state of the caller, not from that of a run in another thread
        with alone():
            init(self, *args, **kwargs)

    recording.records = recording  # type: ignore[attr-defined]
    return recording


def _check_call(
    part: Recorded, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Check and record the arguments of a direct call; return them with complete tables."""
    cls = type(part)
    try:
        bound = bind(cls, *args, **kwargs)
    except TypeError:  # the constructor itself will raise the same error
        return args, kwargs
    named = bound.signature.parameters
    # *args and **kwargs hold arguments of the classes above
    inherited = [name for name in parameters(cls) if name not in named]
    settings: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if named[name].kind is inspect.Parameter.VAR_KEYWORD:
            settings |= value
        elif named[name].kind is inspect.Parameter.VAR_POSITIONAL:
            settings |= dict(zip(inherited, value, strict=False))
        else:
            settings[name] = value
    settings = check(cls, settings, cls.__name__, cls.__name__)
    record_init(part, InitRecord(cls.kind_of_part, "", with_defaults(signature_of(cls), settings)))
    for name, value in bound.arguments.items():
        if named[name].kind is inspect.Parameter.VAR_KEYWORD:
            bound.arguments[name] = {key: settings[key] for key in value}
        elif named[name].kind is inspect.Parameter.VAR_POSITIONAL:
            passed = [settings[key] for key in inherited[: len(value)]]
            bound.arguments[name] = (*passed, *value[len(passed) :])
        else:
            bound.arguments[name] = settings[name]
    return bound.args, bound.kwargs


def record_init(part: Any, record: InitRecord) -> None:
    """Store on a part how it was built.

    A part that accepts no attributes stays without a record; saving a run refuses it.
    """
    try:
        object.__setattr__(part, _ATTRIBUTE, record)
    except AttributeError:
        return


def recorded(part: Any) -> InitRecord | None:
    """Return the record as it is stored on a part, or None."""
    return vars(part).get(_ATTRIBUTE) if hasattr(part, "__dict__") else None


def init_record(part: Any) -> InitRecord:
    """Return how a part was built, with its registered name.

    Raises:
        SettingError: the class of the part is not registered, or does not record its settings.
    """
    record = recorded(part)
    if record is not None and record.name:
        return record
    cls = type(part)
    label = f"{cls.__module__}.{cls.__qualname__}"
    kind = record.kind if record is not None else ""
    names = {k: registry(k).name_of(cls) for k in ([kind] if kind else KINDS)}
    registered = next((k for k, name in names.items() if name is not None), None)
    if registered is None:
        kinds = "" if kind else f" with its kind ({', '.join(KINDS)})"
        raise SettingError(
            f"{label} is not registered, so a run that holds one cannot be saved or rebuilt. "
            f'Register it{kinds}, as in @genzoo.{kind or "encoders"}.register("my-name"), '
            "or train without a run folder."
        )
    name = names[registered] or ""
    if record is None or record.settings is UNKNOWN:
        raise SettingError(
            f"{label} keeps no record of its settings, so a run that holds one cannot be rebuilt. "
            f"Pass its name, {name!r}, or a table with that name instead of the instance, or "
            "derive the class from one in genzoo.contract, such as genzoo.contract.Encoder."
        )
    return replace(record, kind=registered, name=name)


def settings_of(part: Any) -> Mapping[str, Any]:
    """Return the arguments that a part was built with, including defaults; empty if unknown."""
    record = recorded(part)
    return record.settings if record is not None else {}


def config(part: Any, *, root: bool = True) -> dict[str, Any]:
    """Return the table that builds a part again: its name and every setting, with slots expanded.

    Below the root, sizes that an owner passes down are left out.

    Raises:
        SettingError: the part, or one that it holds, is not registered or has no record.
    """
    record = init_record(part)
    table: dict[str, Any] = {"name": record.name}
    for key, value in record.settings.items():
        if not root and key in record.context:
            continue
        held = getattr(part, key, None)
        table[key] = config(held, root=False) if _is_built_from(held, value) else _as_table(value)
    check_nones(record, table)
    return table


def _is_built_from(part: Any, value: Any) -> bool:
    """Return whether a part was built from a setting that is a name or a table."""
    record = recorded(part)
    if record is None or not isinstance(value, str | Mapping):
        return False
    name = value if isinstance(value, str) else value.get("name", record.name)
    return record.name == name


def _as_table(value: Any) -> Any:
    """Return a setting with the instances in it, also within lists, replaced by their tables."""
    if is_plain(value):
        return value
    if isinstance(value, list | tuple):
        return tuple(map(_as_table, value))
    return config(value, root=False)


def check_nones(record: InitRecord, table: Mapping[str, Any]) -> None:
    """Check that None appears only where it is the default, since TOML cannot express it.

    Raises:
        SettingError: a setting is None and has another default.
    """
    known = parameters(registry(record.kind).get(record.name))
    for key, value in table.items():
        if value is None and known[key].default is not None:
            raise SettingError(
                f"{SINGULAR[record.kind]} {record.name!r} has {key} = None. A recipe can leave "
                f"{key} out, but that means its default, {known[key].default!r}."
            )


def with_defaults(signature: Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments together with the defaults of a signature, in its order.

    Arguments that a constructor passes on to the classes above appear only if `arguments` has them.
    """
    values = {}
    for key, parameter in signature.parameters.items():
        if key in arguments:
            value = arguments[key]
        elif key in signature.direct.parameters:
            value = parameter.default
        else:
            continue
        if value is inspect.Parameter.empty:
            continue
        # the constructor or its caller may change a table or list later
        if isinstance(value, Mapping):
            value = dict(value)
        elif isinstance(value, list):
            value = list(value)
        values[key] = value
    return values
