"""genzoo: classic generative models that share their parts, one trainer, and a registry that anyone can extend.

>>> import genzoo
>>> model = genzoo.load("vae", shape=(1, 8, 8))
>>> model.sample(4).shape
torch.Size([4, 1, 8, 8])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genzoo import divergences, metrics, models, priors
from genzoo.__about__ import __version__
from genzoo.registry.build import build
from genzoo.registry.lookup import available, registries

if TYPE_CHECKING:
    from genzoo import contract, data, distributed, testing
    from genzoo.contract import Dataset, Model, Player
    from genzoo.errors import GenzooError
    from genzoo.loading import load
    from genzoo.metrics.evaluate import evaluate
    from genzoo.models.latents import interpolate, latent_arithmetic
    from genzoo.runs.saving import save
    from genzoo.train.loop import fit

encoders = registries["encoders"]
decoders = registries["decoders"]
critics = registries["critics"]
translators = registries["translators"]
datasets = registries["datasets"]

__all__ = [
    "Dataset",
    "GenzooError",
    "Model",
    "Player",
    "__version__",
    "available",
    "build",
    "contract",
    "critics",
    "data",
    "datasets",
    "decoders",
    "distributed",
    "divergences",
    "encoders",
    "evaluate",
    "fit",
    "interpolate",
    "latent_arithmetic",
    "load",
    "metrics",
    "models",
    "priors",
    "save",
    "testing",
    "translators",
]

if not TYPE_CHECKING:
    _MODULE_OF = {
        "Dataset": "contract",
        "GenzooError": "errors",
        "Model": "contract",
        "Player": "contract",
        "evaluate": "metrics.evaluate",
        "fit": "train.loop",
        "interpolate": "models.latents",
        "latent_arithmetic": "models.latents",
        "load": "loading",
        "save": "runs.saving",
    }
    _LAZY_PACKAGES = ("contract", "data", "distributed", "testing")

    def __getattr__(name: str) -> Any:
        """Import a function or package on first use, so that `import genzoo` alone stays fast."""
        if name in _MODULE_OF:
            value = getattr(importlib.import_module(f"genzoo.{_MODULE_OF[name]}"), name)
            globals()[name] = value
            return value
        if name in _LAZY_PACKAGES:
            return importlib.import_module(f"genzoo.{name}")
        raise AttributeError(f"module 'genzoo' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted(__all__)
