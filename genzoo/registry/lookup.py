"""Look up registered names: list them, find their owners, and load their objects.

Listing reads metadata only, a broken plugin breaks only its own name, and a name clash names both
owners. The built-in names go through the same loader as the entry points of other packages, which
`genzoo.registry.plugins` reads.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar, overload

from genzoo.__about__ import __version__
from genzoo.errors import PluginError, SettingError, describe, did_you_mean, shorten
from genzoo.registry import plugin_files, plugins
from genzoo.registry.kinds import BUILT_IN, KINDS, SINGULAR
from genzoo.registry.plugins import normalized_name
from genzoo.registry.registration import Registration, invalid_name_reason, load_value

__all__ = ["Registry", "available", "kinds_of", "registries", "registry"]

Thing = TypeVar("Thing")
"""The contract's class for a kind, such as `genzoo.contract.Prior`."""
Definition = TypeVar("Definition", bound=Callable[..., Any])
"""A class or factory, which `register` returns unchanged."""


class Registry(Generic[Thing]):
    """The registered names of one kind.

    Arguments:
        kind: the kind, such as `"models"`.

    Example:
        >>> priors = Registry("priors")
        >>> "mog" in priors, priors.available("s*"), priors.get("mog").__name__
        (True, ['sphere'], 'MixtureOfGaussians')
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._registered: dict[str, Registration] = {}
        self._loaded_built_ins: dict[str, Callable[..., Thing]] = {}

    def available(self, pattern: str = "*") -> list[str]:
        """Return the sorted names that match a glob and can be used. No plugin is imported."""
        usable = [
            name
            for name, claims in self.registrations().items()
            if not all(claim.blocked_because for claim in claims)
        ]
        return sorted(fnmatch.filter(usable, pattern))

    def get(self, name: str) -> Callable[..., Thing]:
        """Return the class or factory with a registered name. Only its module is imported.

        Raises:
            SettingError: the name is not registered, or several plugins register it.
            PluginError: the plugin that registers the name is blocked or fails to import.
        """
        if name in self._loaded_built_ins:
            return self._loaded_built_ins[name]
        target = _load(self.registration(name))
        if name in BUILT_IN[self.kind]:
            self._loaded_built_ins[name] = target
        return target

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if name in BUILT_IN[self.kind]:
            return True
        # a path cannot be a name, so no metadata needs to be read
        if invalid_name_reason(name.rpartition(":")[2]):
            return False
        return any(not claim.blocked_because for claim in self.registrations_of(name))

    def get_all(self) -> dict[str, Callable[..., Thing]]:
        """Return every class and factory by name, without those that fail to import."""
        targets = {}
        for name in self.available():
            try:
                targets[name] = self.get(name)
            except (PluginError, SettingError):
                continue
        return targets

    @overload
    def register(self, name: str) -> Callable[[Definition], Definition]: ...

    @overload
    def register(self, name: str, target: Definition) -> Definition: ...

    def register(self, name: str, target: Any = None) -> Any:
        """Register a class or factory under a name in this process, as a decorator or in a call.

        Registering the same definition again, as a notebook cell that runs twice does, replaces it.

        Arguments:
            name: letters, digits, '-', '_', '+', and '.'.
            target: the class or factory; without it, the result is a decorator.

        Raises:
            SettingError: the name is invalid or belongs to something else.

        Example:
            >>> import genzoo
            >>> @genzoo.priors.register("my-normal")
            ... class MyNormal(genzoo.priors.Normal): ...
            >>> "my-normal" in genzoo.priors.available()
            True
            >>> registries["priors"].unregister("my-normal")
        """
        if not isinstance(name, str):
            raise SettingError(
                f"{self.kind}: {name!r} is not a name; pass one, as in "
                f'@genzoo.{self.kind}.register("mine").'
            )
        if target is None:
            return functools.partial(self._register, name)
        return self._register(name, target)

    def _register(self, name: str, target: Any) -> Any:
        if reason := invalid_name_reason(name):
            raise SettingError(f"{self.kind} {name!r} has {reason}; register it under another.")
        if not callable(target):
            raise SettingError(
                f"{self.kind} {name!r} is {shorten(repr(target))}, which is not a class or "
                "factory; register what builds the object."
            )
        value = f"{target.__module__}:{getattr(target, '__qualname__', name)}"
        file = plugin_files.loading()
        origin: Literal["here", "file"] = "here" if file is None else "file"
        owner = "here" if file is None else file.label
        for claim in self.registrations().get(name, ()):
            if claim.blocked_because:
                continue
            if claim.value == value and claim.origin in ("genzoo", "package"):
                return target  # the package's entry point already registers it
            if (claim.distribution, claim.value) != (owner, value):
                raise SettingError(
                    f"{self.kind} {name!r} is taken by {claim}, so {value} needs another name."
                )
        self._registered[name] = Registration(
            kind=self.kind,
            name=name,
            value=value,
            distribution=owner,
            version="",
            load=lambda: target,
            origin=origin,
            file=file,
        )
        if file is not None:
            file.names.append(name)
        return target

    def unregister(self, name: str) -> None:
        """Remove a name that `register` added."""
        self._registered.pop(name, None)

    def registrations(self) -> dict[str, list[Registration]]:
        """Return every registration by name, in order of precedence. Nothing is imported.

        The order is: built-in, registered in this process, entry points. Blocked registrations,
        such as those that `GENZOO_PLUGINS` forbids, are included and state the reason in
        `blocked_because`.
        """
        claims = {name: [self._built_in(name)] for name in BUILT_IN[self.kind]}
        in_process = [
            claim
            for claim in self._registered.values()
            if claim.file is None or plugin_files.is_loaded(claim.file)
        ]
        for claim in (*in_process, *plugins.registrations(self.kind)):
            claims.setdefault(claim.name, []).append(claim)
        return claims

    def registrations_of(self, name: str) -> list[Registration]:
        """Return the registrations of a name, in order of precedence.

        A name of the form `package:name` asks for the registration of that package.
        """
        claims = self.registrations()
        owner, _, short = name.rpartition(":")
        of_owner = [
            claim
            for claim in claims.get(short, ())
            if owner and normalized_name(claim.distribution) == normalized_name(owner)
        ]
        return of_owner or claims.get(name, [])

    def registration(self, name: str) -> Registration:
        """Return the registration that a name refers to; `package:name` selects one of several.

        Raises:
            SettingError: the name is not registered, or several plugins register it.
            PluginError: the plugin that registers the name is blocked.
        """
        if name in BUILT_IN[self.kind]:  # the common case reads no metadata
            return self._built_in(name)
        claims = self.registrations_of(name)
        if not claims:
            hint = did_you_mean(name, self.available())
            raise SettingError(f"No {SINGULAR[self.kind]} named {shorten(name)!r}.{hint}")
        usable = [claim for claim in claims if not claim.blocked_because]
        if not usable:
            blocked = claims[0]
            raise PluginError(
                f"{self.kind} {name!r} comes from {blocked}, which {blocked.blocked_because}"
            )
        if len(usable) > 1 and usable[0].origin == "package":
            owners = " and ".join(map(str, usable))
            names = " or ".join(repr(claim.full_name) for claim in usable)
            raise SettingError(f"{self.kind} {name!r} is registered by {owners}. Write {names}.")
        return usable[0]

    def _built_in(self, name: str) -> Registration:
        value = BUILT_IN[self.kind][name]
        return Registration(
            kind=self.kind,
            name=name,
            value=value,
            distribution="genzoo",
            version=__version__,
            load=functools.partial(load_value, value),
            origin="genzoo",
        )

    def name_of(self, target: Any) -> str | None:
        """Return the name under which a class or factory is registered. Nothing is imported.

        Return `package:name` if the bare name is ambiguous, and None if there is no registration.
        """
        # an entry of pretrained weights is an object and has no name of its own
        value = f"{target.__module__}:{getattr(target, '__qualname__', '')}"
        built_in = next((name for name, path in BUILT_IN[self.kind].items() if path == value), None)
        if built_in is not None:  # the common case reads no metadata
            return built_in
        for name, claims in self.registrations().items():
            usable = [claim for claim in claims if not claim.blocked_because]
            for index, claim in enumerate(usable):
                if claim.value != value and claim.imported() is not target:
                    continue
                unambiguous = len(usable) == 1 or claim.origin != "package"
                return name if index == 0 and unambiguous else claim.full_name
        return None


def _load(claim: Registration) -> Any:
    """Load the object of a registration. Built-in names and plugins share this function.

    Raises:
        PluginError: the import fails, or its result is not a class or function.
    """
    try:
        target = claim.load()
        if isinstance(target, ModuleType):
            raise TypeError("it names a module, not a class or function in it (module:attribute)")
        if not callable(target):
            raise TypeError(f"it names a {type(target).__name__}, not a class or function")
        return target
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin can do anything at import, including `sys.exit`
        reason = describe(error)
        raise PluginError(
            f"{claim.kind} {claim.name!r} comes from {claim}, which failed to import: {reason}"
        ) from error


registries: dict[str, Registry[Any]] = {kind: Registry(kind) for kind in KINDS}
"""The registry of each kind."""


def registry(kind: str) -> Registry[Any]:
    """Return the registry of one kind.

    Raises:
        SettingError: no such kind exists.
    """
    if not isinstance(kind, str) or kind not in registries:
        raise SettingError(f"No kind of thing named {kind!r}.{did_you_mean(str(kind), KINDS)}")
    return registries[kind]


def kinds_of(name: str) -> list[str]:
    """Return the kinds in which a name is registered, including blocked registrations."""
    return [kind for kind in KINDS if registries[kind].registrations_of(name)]


def available(kind: str = "models", pattern: str = "*") -> list[str]:
    """Return the registered names of a kind that match a glob, without importing plugins.

    Arguments:
        kind: the kind, such as `"models"` or `"priors"`.
        pattern: a glob, in which `*` stands for any text.

    Raises:
        SettingError: the kind is unknown, or the pattern is not a text.

    Example:
        >>> available("models", "wae-*")
        ['wae-gan', 'wae-mmd']
    """
    if not isinstance(pattern, str):
        raise SettingError(f'pattern = {pattern!r}: expected a glob, as in "wae-*".')
    return registry(kind).available(pattern)
