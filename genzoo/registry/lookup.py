"""Look registered things up by name: what exists, who owns it, and how to load it.

The lookup builds on `catalogue` and closes five gaps that were measured in version 2.0.10: one plugin
that fails to import breaks the listing and even the error text of a typo; an entry point silently
beats a built-in; a second registration silently replaces the first; entry points are read once, at
import; and one malformed line in any package's entry points stops that import. Here, listing reads
metadata only, a broken plugin breaks only itself, and a name clash names both owners. The built-ins
go through the same loader as third-party entry points, which `genzoo.registry.plugins` reads.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar, overload

from genzoo.__about__ import __version__
from genzoo.errors import PluginError, SettingError, did_you_mean, shorten
from genzoo.registry import plugins
from genzoo.registry.kinds import BUILT_IN, KINDS
from genzoo.registry.plugins import Registration, normalized_name

try:
    import catalogue
except (
    Exception
):  # somebody's malformed entry points, all of which it reads here and none of which are used
    from unittest import mock

    with mock.patch("importlib.metadata.entry_points", return_value=()):
        import catalogue


def _load(source: Registration) -> Any:
    """The one lazy loader, for built-ins and strangers alike."""
    try:
        thing = source.load()
        if isinstance(thing, ModuleType):
            raise TypeError("it names a module, not a class or function in it (module:attribute)")
        if not callable(thing):
            raise TypeError(f"it names a {type(thing).__name__}, not a class or function")
        return thing
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may do anything at import, `sys.exit` included
        why = plugins.one_line(error)
        raise PluginError(
            f"{source.kind} {source.name!r} comes from {source}, which failed to import: {why}"
        ) from error


Thing = TypeVar("Thing")
"""The contract's class for one kind, such as `genzoo.contract.Prior`."""

Definition = TypeVar("Definition", bound=Callable[..., Any])
"""A class or factory, which `register` returns unchanged."""


class Registry(catalogue.Registry, Generic[Thing]):
    """The names of one kind: `available`, `get`, `register`."""

    def __init__(self, kind: str) -> None:
        super().__init__(("genzoo", kind), entry_points=True)
        self.kind = kind
        self._registered: dict[str, Registration] = {}

    def registrations(self) -> dict[str, list[Registration]]:
        """Every claim to every name, in order of precedence: built-in, registered here, entry points. Imports nothing.

        Claims that may not be used, such as those that `GENZOO_PLUGINS` forbids, are among them, with their `blocked_because`.
        """
        found = {name: [self._built_in(name)] for name in BUILT_IN[self.kind]}
        here = [
            source
            for source in self._registered.values()
            if source.file is None or plugins.is_loaded(source.file)
        ]
        for source in (*here, *plugins.registrations(self.kind)):
            found.setdefault(source.name, []).append(source)
        return found

    def _built_in(self, name: str) -> Registration:

        value = BUILT_IN[self.kind][name]
        load = functools.partial(plugins.load_value, value)
        return Registration(self.kind, name, value, "genzoo", __version__, load, origin="genzoo")

    def registrations_of(self, name: str) -> list[Registration]:
        """Who claims a name, in order of precedence; for `package:name`, that package's claim."""
        sources = self.registrations()
        owner, _, short = name.rpartition(":")
        full = [
            source
            for source in sources.get(short, ())
            if owner and normalized_name(source.distribution) == normalized_name(owner)
        ]
        return full or sources.get(name, [])

    def available(self, pattern: str = "*") -> list[str]:
        """The names that match a glob and may be used, sorted. Imports no plugin."""
        usable = [
            name
            for name, claims in self.registrations().items()
            if not all(source.blocked_because for source in claims)
        ]
        return sorted(fnmatch.filter(usable, pattern))

    def registration(self, name: str) -> Registration:
        """Who owns a name. `package:name` asks for one owner's when several claim it.

        Raises:
            SettingError: nobody has the name, or several plugins do.
            PluginError: who has it may not be used.
        """
        if name in BUILT_IN[self.kind]:  # the common case reads no metadata
            return self._built_in(name)
        claims = self.registrations_of(name)
        if not claims:
            raise SettingError(
                f"No {self.kind[:-1]} named {shorten(name)!r}.{did_you_mean(name, self.available())}"
            )
        usable = [source for source in claims if not source.blocked_because]
        if not usable:
            raise PluginError(
                f"{self.kind} {name!r} comes from {claims[0]}, which {claims[0].blocked_because}"
            )
        first, *others = usable
        if others and first.origin == "package":
            owners = " and ".join(str(source) for source in (first, *others))
            ways = " or ".join(repr(source.full_name) for source in (first, *others))
            raise SettingError(f"{self.kind} {name!r} is claimed by {owners}. Say which: {ways}.")
        return first

    def get(self, name: str) -> Callable[..., Thing]:
        """What a name stands for; imports that one thing only."""
        return _load(self.registration(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in BUILT_IN[self.kind]
            or any(not source.blocked_because for source in self.registrations_of(name))
        )

    def get_all(self) -> dict[str, Callable[..., Thing]]:
        """Everything that imports, by name; what does not is left out (see `genzoo list`)."""
        found = {}
        for name in self.available():
            try:
                found[name] = self.get(name)
            except (PluginError, SettingError):
                continue
        return found

    @overload
    def register(self, name: str) -> Callable[[Definition], Definition]: ...

    @overload
    def register(self, name: str, *, func: Definition) -> Definition: ...

    def register(self, name: str, *, func: Any = None) -> Any:
        """Decorator: give a class or factory a name in this process.

        Raises:
            SettingError: the name is taken by somebody else, or holds a colon. Registering the same definition again (a notebook
                cell run twice) replaces it.
        """
        if not isinstance(name, str):
            raise SettingError(
                f'{self.kind}: {name!r} is no name; give one, as in @genzoo.{self.kind}.register("mine").'
            )

        def add(thing: Any) -> Any:
            if wrong := plugins.invalid_name_reason(name):
                raise SettingError(f"{self.kind} {name!r} has {wrong}; register it under another.")
            value = f"{thing.__module__}:{getattr(thing, '__qualname__', name)}"
            file = plugins.loading()
            owner: str = "here" if file is None else file.given
            origin: Literal["here", "file"] = "here" if file is None else "file"
            for old in self.registrations().get(name, ()):
                if (
                    not old.blocked_because
                    and old.origin in ("genzoo", "package")
                    and old.value == value
                ):
                    return thing  # a package's entry point names it already
                if not old.blocked_because and (old.distribution, old.value) != (owner, value):
                    raise SettingError(
                        f"{self.kind} {name!r} is taken by {old}, so {value} needs another name."
                    )
            self._registered[name] = Registration(
                self.kind, name, value, owner, "", lambda: thing, origin=origin, file=file
            )
            if file is not None:
                file.names.append(name)
            return thing

        return add if func is None else add(func)

    def unregister(self, name: str) -> None:
        """Forget a name given by `register`."""
        self._registered.pop(name, None)

    def name_of(self, thing: Any) -> str | None:
        """The name under which a class or factory is registered, found without importing anything.

        Where the plain name means another thing, or may, it is `package:name`.
        """
        value = f"{thing.__module__}:{thing.__qualname__}"
        for name, claims in self.registrations().items():
            usable = [source for source in claims if not source.blocked_because]
            for place, source in enumerate(usable):
                if source.value == value or source.imported() is thing:
                    alone = len(usable) == 1 or source.origin != "package"
                    return name if place == 0 and alone else source.full_name
        return None


registries: dict[str, Registry[Any]] = {kind: Registry(kind) for kind in KINDS}


def registry(kind: str) -> Registry[Any]:
    """The table of one kind.

    Raises:
        SettingError: there is no such kind.
    """
    if not isinstance(kind, str) or kind not in registries:
        raise SettingError(f"No kind of thing named {kind!r}.{did_you_mean(str(kind), KINDS)}")
    return registries[kind]


def kinds_of(name: str) -> list[str]:
    """The kinds in which somebody claims a name, claims that may not be used included."""
    return [kind for kind in KINDS if registries[kind].registrations_of(name)]


def available(kind: str = "models", pattern: str = "*") -> list[str]:
    """The registered names of a kind, filtered by a glob; imports neither torch nor any plugin.

    Example:
        >>> available("models", "wae-*")
        ['wae-gan', 'wae-mmd']
    """
    if not isinstance(pattern, str):
        raise SettingError(f'pattern = {pattern!r}: expected a glob, as in "wae-*".')
    return registry(kind).available(pattern)
