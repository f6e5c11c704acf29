"""Run folders: recipes, checkpoints, weights, and the record of how a model was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names

if TYPE_CHECKING:
    from genzoo.runs.folder import RunFolder
    from genzoo.runs.result import Run
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.runs.folder": ("RunFolder",),
            "genzoo.runs.result": ("Run",),
        },
    )

__all__ = ["Run", "RunFolder"]
