"""The priors: distributions over latent codes.

`register` adds one, `available` lists the names, and `get` imports one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names
from genzoo.registry.lookup import Registry, registries

if TYPE_CHECKING:
    from genzoo.contract import Prior
    from genzoo.priors.mixture import MixtureOfGaussians
    from genzoo.priors.simple import Normal, Sphere, Uniform
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.priors.mixture": ("MixtureOfGaussians",),
            "genzoo.priors.simple": ("Normal", "Sphere", "Uniform"),
        },
    )

_registry: Registry[Prior] = registries["priors"]
register = _registry.register
available = _registry.available
get = _registry.get

__all__ = ["MixtureOfGaussians", "Normal", "Sphere", "Uniform", "available", "get", "register"]
