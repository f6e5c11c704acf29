"""The metrics: measurements of a trained model.

`register` adds one, `available` lists the names, and `get` imports one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names
from genzoo.registry.lookup import Registry, registries

if TYPE_CHECKING:
    from genzoo.contract import Metric
    from genzoo.metrics.codes import Codes
    from genzoo.metrics.evidence import Evidence
    from genzoo.metrics.features import FeatureStatistics, default_network, extract_features
    from genzoo.metrics.frechet import Frechet, frechet_distance
    from genzoo.metrics.likelihood import Likelihood
    from genzoo.metrics.modes import Modes
    from genzoo.metrics.networks.classifiers import DigitsCNN, FashionCNN
    from genzoo.metrics.networks.fixed import Pixels, RandomConv
    from genzoo.metrics.reconstruction import Reconstruction
    from genzoo.metrics.report import Evaluation
    from genzoo.metrics.texture import Texture, high_frequency_power
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.metrics.codes": ("Codes",),
            "genzoo.metrics.evidence": ("Evidence",),
            "genzoo.metrics.features": (
                "FeatureStatistics",
                "default_network",
                "extract_features",
            ),
            "genzoo.metrics.frechet": ("Frechet", "frechet_distance"),
            "genzoo.metrics.likelihood": ("Likelihood",),
            "genzoo.metrics.modes": ("Modes",),
            "genzoo.metrics.networks.classifiers": ("DigitsCNN", "FashionCNN"),
            "genzoo.metrics.networks.fixed": ("Pixels", "RandomConv"),
            "genzoo.metrics.reconstruction": ("Reconstruction",),
            "genzoo.metrics.report": ("Evaluation",),
            "genzoo.metrics.texture": ("Texture", "high_frequency_power"),
        },
    )

_registry: Registry[Metric] = registries["metrics"]
register = _registry.register
available = _registry.available
get = _registry.get

__all__ = [
    "Codes",
    "DigitsCNN",
    "Evaluation",
    "Evidence",
    "FashionCNN",
    "FeatureStatistics",
    "Frechet",
    "Likelihood",
    "Modes",
    "Pixels",
    "RandomConv",
    "Reconstruction",
    "Texture",
    "available",
    "default_network",
    "extract_features",
    "frechet_distance",
    "get",
    "high_frequency_power",
    "register",
]
