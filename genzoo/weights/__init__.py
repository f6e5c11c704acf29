"""Pretrained weights: models that are trained already, by name.

`genzoo.load("vae.digits")` returns the model. `available` lists the names, `get` returns an
`Entry`, and `register` adds one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names
from genzoo.registry.lookup import Registry, registries

if TYPE_CHECKING:
    from genzoo.weights.entry import Entry
    from genzoo.weights.storing import store
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.weights.entry": ("Entry",),
            "genzoo.weights.storing": ("store",),
        },
    )

_registry: Registry[Entry] = registries["weights"]
register = _registry.register
available = _registry.available
get = _registry.get

__all__ = ["Entry", "available", "get", "register", "store"]
