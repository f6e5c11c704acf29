"""The named tables of genzoo: what exists, who owns it, and how to get it without importing anything else.

Built on `catalogue`, wrapped because of four measured holes in 2.0.10: one plugin that fails to import breaks listing and even
the error text of a typo; an entry point silently beats a built-in; a second registration silently overwrites; entry points are
read once, at import. Here, listing reads metadata only, a broken plugin breaks only itself, and a clash names both owners.
The built-ins are the first plugins: their entry points go through the same loader as a stranger's.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata as metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import catalogue

from genzoo.errors import PluginError, SettingError, did_you_mean

_BUILT_IN: dict[str, dict[str, str]] = {
    "models": {
        "vae": "genzoo.models.vae:VAE",
        "wae-mmd": "genzoo.models.wae:WAEMMD",
        "wae-gan": "genzoo.models.wae:WAEGAN",
        "gan": "genzoo.models.gan:GAN",
        "dcgan": "genzoo.models.gan:DCGAN",
        "lsgan": "genzoo.models.gan:LSGAN",
        "wgan": "genzoo.models.wgan:WGAN",
        "wgan-gp": "genzoo.models.wgan_gp:WGANGP",
        "nade": "genzoo.models.nade:NADE",
        "rnade": "genzoo.models.nade:RNADE",
        "eonade": "genzoo.models.eonade:EoNADE",
        "pixel-rnn": "genzoo.models.pixel_rnn:PixelRNN",
        "independent": "genzoo.models.pixels:Independent",
        "markov": "genzoo.models.pixels:Markov",
    },
    "priors": {
        "normal": "genzoo.priors.simple:Normal",
        "uniform": "genzoo.priors.simple:Uniform",
        "sphere": "genzoo.priors.simple:Sphere",
        "mog": "genzoo.priors.mixture:MixtureOfGaussians",
    },
    "divergences": {
        "kl": "genzoo.divergences.kl:KL",
        "mmd": "genzoo.divergences.mmd:MMD",
        "wasserstein": "genzoo.divergences.transport:Wasserstein",
        "gradient-penalty": "genzoo.divergences.penalties:GradientPenalty",
        "dragan": "genzoo.divergences.penalties:DRAGAN",
        "r1": "genzoo.divergences.penalties:R1",
    },
    "encoders": {
        "mlp": "genzoo.blocks.mlp:MLPEncoder",
        "conv": "genzoo.blocks.conv:ConvEncoder",
    },
    "decoders": {
        "mlp": "genzoo.blocks.mlp:MLPDecoder",
        "conv": "genzoo.blocks.conv:ConvDecoder",
    },
    "critics": {
        "mlp": "genzoo.blocks.mlp:MLPCritic",
        "conv": "genzoo.blocks.conv:ConvCritic",
    },
    "datasets": {
        "digits": "genzoo.data.digits:digits",
        "fashion-mnist": "genzoo.data.idx:fashion_mnist",
        "mnist": "genzoo.data.idx:mnist",
        "kmnist": "genzoo.data.idx:kmnist",
        "emnist": "genzoo.data.idx:emnist",
        "folder": "genzoo.data.folder:folder",
        "toy": "genzoo.data.toy:toy",
    },
    "metrics": {
        "likelihood": "genzoo.metrics.likelihood:Likelihood",
        "reconstruction": "genzoo.metrics.reconstruction:Reconstruction",
        "codes": "genzoo.metrics.codes:Codes",
        "frechet": "genzoo.metrics.frechet:Frechet",
        "modes": "genzoo.metrics.modes:Modes",
    },
}

KINDS = tuple(_BUILT_IN)


@dataclass(frozen=True)
class Source:
    """One claim to a name: who makes it, and where the code is."""

    kind: str
    name: str
    value: str
    """`module:attribute`."""
    distribution: str
    version: str
    load: Callable[[], Any]

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.value})".replace("  ", " ")


def _load(source: Source) -> Any:
    """The one lazy loader, for built-ins and strangers alike."""
    try:
        thing = source.load()
        if isinstance(thing, ModuleType):
            raise TypeError("it names a module, not a class or function in it (module:attribute)")
        return thing
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may do anything at import, `sys.exit` included
        reason = str(error) or type(error).__name__
        raise PluginError(f"{source.kind} {source.name!r} comes from {source}, which failed to import: {reason}") from error


class Registry(catalogue.Registry):
    """The names of one kind: `available`, `get`, `register`."""

    def __init__(self, kind: str) -> None:
        super().__init__(("genzoo", kind), entry_points=True)
        self.kind = kind
        self._registered: dict[str, Source] = {}

    def sources(self) -> dict[str, list[Source]]:
        """Every claim to every name, in order of precedence: built-in, registered here, entry points. Imports nothing."""
        from genzoo import __version__

        claims: dict[str, list[Source]] = {}
        for name, value in _BUILT_IN[self.kind].items():
            claims[name] = [self._source(metadata.EntryPoint(name, value, self.entry_point_namespace), "genzoo", __version__)]
        for name, source in self._registered.items():
            claims.setdefault(name, []).append(source)
        for point in metadata.entry_points(group=self.entry_point_namespace):
            owner, version = (point.dist.name, point.dist.version) if point.dist else ("an unnamed package", "")
            claims.setdefault(point.name, []).append(self._source(point, owner, version))
        return claims

    def _source(self, point: metadata.EntryPoint, owner: str, version: str) -> Source:
        return Source(self.kind, point.name, point.value, owner, version, point.load)

    def available(self, pattern: str = "*") -> list[str]:
        """The names that match a glob, sorted. Imports no plugin."""
        return sorted(fnmatch.filter(self.sources(), pattern))

    def find_source(self, name: str) -> Source:
        """Who owns a name. `package:name` asks for one owner's when several claim it.

        Raises:
            SettingError: nobody has the name, or several plugins do.
        """
        if name in _BUILT_IN[self.kind]:  # the common case reads no metadata
            point = metadata.EntryPoint(name, _BUILT_IN[self.kind][name], self.entry_point_namespace)
            return self._source(point, "genzoo", "")
        claims = self.sources()
        owner, _, short = name.rpartition(":")
        if owner:
            for source in claims.get(short, ()):
                if source.distribution == owner:
                    return source
        if name not in claims:
            raise SettingError(f"No {self.kind[:-1]} named {name!r}.{did_you_mean(name, claims)}")
        first, *others = claims[name]
        if others and first.distribution not in ("genzoo", "here"):
            owners = " and ".join(str(source) for source in (first, *others))
            ways = " or ".join(repr(f"{source.distribution}:{name}") for source in (first, *others))
            raise SettingError(f"{self.kind} {name!r} is claimed by {owners}. Say which: {ways}.")
        return first

    def get(self, name: str) -> Any:
        """What a name stands for; imports that one thing only."""
        return _load(self.find_source(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.sources()

    def get_all(self) -> dict[str, Any]:
        """Everything that imports, by name; what does not is left out (see `genzoo list`)."""
        found = {}
        for name in self.available():
            try:
                found[name] = self.get(name)
            except (PluginError, SettingError):
                continue
        return found

    def register(self, name: str, *, func: Any = None) -> Any:
        """Decorator: give a class or factory a name in this process.

        Raises:
            SettingError: the name is taken by somebody else. Registering the same definition again (a notebook cell run twice)
                replaces it.
        """

        def add(thing: Any) -> Any:
            value = f"{thing.__module__}:{getattr(thing, '__qualname__', name)}"
            new = Source(self.kind, name, value, "here", "", lambda: thing)
            for old in self.sources().get(name, ()):
                if (old.distribution, old.value) != ("here", value):
                    raise SettingError(f"{self.kind} {name!r} is taken by {old}, so {value} needs another name.")
            self._registered[name] = new
            return thing

        return add if func is None else add(func)

    def unregister(self, name: str) -> None:
        """Forget a name given by `register`."""
        self._registered.pop(name, None)

    def name_of(self, thing: Any) -> str | None:
        """The name under which a class or factory is registered, found without importing anything."""
        value = f"{thing.__module__}:{thing.__qualname__}"
        for name, claims in self.sources().items():
            module, _, attribute = claims[0].value.partition(":")
            if claims[0].value == value or getattr(sys.modules.get(module), attribute, None) is thing:
                return name
        return None


registries: dict[str, Registry] = {kind: Registry(kind) for kind in KINDS}


def registry(kind: str) -> Registry:
    """The table of one kind.

    Raises:
        SettingError: there is no such kind.
    """
    if kind not in registries:
        raise SettingError(f"No kind of thing named {kind!r}.{did_you_mean(kind, KINDS)}")
    return registries[kind]


def available(kind: str = "models", pattern: str = "*") -> list[str]:
    """The registered names of a kind, filtered by a glob; imports neither torch nor any plugin.

    Example:
        >>> available("models", "wae-*")
        ['wae-gan', 'wae-mmd']
    """
    return registry(kind).available(pattern)
