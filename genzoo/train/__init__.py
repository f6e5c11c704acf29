"""The trainer: it plays the game of any model's players and keeps the run in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names

if TYPE_CHECKING:
    from genzoo.train.loggers.jsonl import JSONL
    from genzoo.train.loggers.tensorboard import TensorBoard
    from genzoo.train.loggers.trackers import MLflow, Trackio, WandB
    from genzoo.train.seeds import fit_seeds
    from genzoo.train.settings import Settings
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.train.loggers.jsonl": ("JSONL",),
            "genzoo.train.loggers.tensorboard": ("TensorBoard",),
            "genzoo.train.loggers.trackers": ("MLflow", "Trackio", "WandB"),
            "genzoo.train.seeds": ("fit_seeds",),
            "genzoo.train.settings": ("Settings",),
        },
    )

__all__ = ["JSONL", "MLflow", "Settings", "TensorBoard", "Trackio", "WandB", "fit_seeds"]
