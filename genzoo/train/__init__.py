"""The trainer: it plays the game of any model's players and keeps the run in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names

if TYPE_CHECKING:
    from genzoo.train.seeds import fit_seeds
    from genzoo.train.settings import Settings
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.train.seeds": ("fit_seeds",),
            "genzoo.train.settings": ("Settings",),
        },
    )

__all__ = ["Settings", "fit_seeds"]
