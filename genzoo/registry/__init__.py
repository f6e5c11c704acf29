"""The registries, plugins, and `build`, which turns a name or a table into an object.

Importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names

if TYPE_CHECKING:
    from genzoo.registry.lookup import Registry
else:
    __getattr__ = lazy_names(__name__, {"genzoo.registry.lookup": ("Registry",)})

__all__ = ["Registry"]
