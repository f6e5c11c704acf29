"""genzoo: classic generative models that share their parts, one trainer, and a registry to extend.

>>> import genzoo
>>> model = genzoo.load("vae", shape=(1, 8, 8))
>>> model.sample(4).shape
torch.Size([4, 1, 8, 8])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genzoo import divergences, errors, metrics, models, priors, weights
from genzoo.__about__ import __version__
from genzoo.errors import (
    DataError,
    GenzooError,
    MissingDataError,
    PluginError,
    RunError,
    SettingError,
    TrainingError,
)
from genzoo.registry.build import build
from genzoo.registry.lazy import lazy_names
from genzoo.registry.lookup import Registry, available, registries

if TYPE_CHECKING:
    from genzoo import blocks, contract, data, distributed, plots, runs, sklearn, testing, train
    from genzoo.contract import (
        Critic,
        Dataset,
        Decoder,
        Encoder,
        FeatureNetwork,
        Logger,
        Model,
        Player,
        Translator,
    )
    from genzoo.loading import load
    from genzoo.metrics.compare import compare
    from genzoo.metrics.evaluate import evaluate
    from genzoo.metrics.outliers.detect import outliers
    from genzoo.models.latents import interpolate, latent_arithmetic
    from genzoo.models.pyro_bridge import as_distribution
    from genzoo.runs.pack import pack
    from genzoo.runs.result import Run
    from genzoo.runs.saving import save
    from genzoo.testing import check
    from genzoo.train.loop import fit
    from genzoo.weights.export import export
    from genzoo.weights.hub import push

encoders: Registry[Encoder] = registries["encoders"]
decoders: Registry[Decoder] = registries["decoders"]
critics: Registry[Critic] = registries["critics"]
translators: Registry[Translator] = registries["translators"]
datasets: Registry[Dataset] = registries["datasets"]
networks: Registry[FeatureNetwork] = registries["networks"]
loggers: Registry[Logger] = registries["loggers"]

__all__ = [
    "DataError",
    "Dataset",
    "GenzooError",
    "MissingDataError",
    "Model",
    "Player",
    "PluginError",
    "Run",
    "RunError",
    "SettingError",
    "TrainingError",
    "__version__",
    "as_distribution",
    "available",
    "blocks",
    "build",
    "check",
    "compare",
    "contract",
    "critics",
    "data",
    "datasets",
    "decoders",
    "distributed",
    "divergences",
    "encoders",
    "errors",
    "evaluate",
    "export",
    "fit",
    "interpolate",
    "latent_arithmetic",
    "load",
    "loggers",
    "metrics",
    "models",
    "networks",
    "outliers",
    "pack",
    "plots",
    "priors",
    "push",
    "runs",
    "save",
    "sklearn",
    "testing",
    "train",
    "translators",
    "weights",
]

# Type checkers must not see __getattr__: with it, every misspelled name would pass as Any.
if not TYPE_CHECKING:
    _LAZY_PACKAGES = {
        "blocks",
        "contract",
        "data",
        "distributed",
        "plots",
        "runs",
        "sklearn",
        "testing",
        "train",
    }
    _lazy_name = lazy_names(
        __name__,
        {
            "genzoo.contract": ("Dataset", "Model", "Player"),
            "genzoo.loading": ("load",),
            "genzoo.metrics.compare": ("compare",),
            "genzoo.metrics.evaluate": ("evaluate",),
            "genzoo.metrics.outliers.detect": ("outliers",),
            "genzoo.models.latents": ("interpolate", "latent_arithmetic"),
            "genzoo.models.pyro_bridge": ("as_distribution",),
            "genzoo.runs.pack": ("pack",),
            "genzoo.runs.result": ("Run",),
            "genzoo.runs.saving": ("save",),
            "genzoo.testing": ("check",),
            "genzoo.train.loop": ("fit",),
            "genzoo.weights.export": ("export",),
            "genzoo.weights.hub": ("push",),
        },
    )

    def __getattr__(name: str) -> Any:
        """Import a function, class, or package on first use, so that `import genzoo` is fast."""
        if name in _LAZY_PACKAGES:
            return importlib.import_module(f"genzoo.{name}")
        return _lazy_name(name)

    def __dir__() -> list[str]:
        return sorted(__all__)
