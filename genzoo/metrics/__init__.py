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
    from genzoo.metrics.evaluate import Evaluation
    from genzoo.metrics.features import FeatureStatistics, extract_features, feature_network
    from genzoo.metrics.frechet import Frechet, frechet_distance
    from genzoo.metrics.likelihood import Likelihood
    from genzoo.metrics.modes import Modes
    from genzoo.metrics.reconstruction import Reconstruction
    from genzoo.metrics.texture import Texture, high_frequency_power
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.metrics.codes": ("Codes",),
            "genzoo.metrics.evaluate": ("Evaluation",),
            "genzoo.metrics.features": ("FeatureStatistics", "extract_features", "feature_network"),
            "genzoo.metrics.frechet": ("Frechet", "frechet_distance"),
            "genzoo.metrics.likelihood": ("Likelihood",),
            "genzoo.metrics.modes": ("Modes",),
            "genzoo.metrics.reconstruction": ("Reconstruction",),
            "genzoo.metrics.texture": ("Texture", "high_frequency_power"),
        },
    )

_registry: Registry[Metric] = registries["metrics"]
register = _registry.register
available = _registry.available
get = _registry.get

__all__ = [
    "Codes",
    "Evaluation",
    "FeatureStatistics",
    "Frechet",
    "Likelihood",
    "Modes",
    "Reconstruction",
    "Texture",
    "available",
    "extract_features",
    "feature_network",
    "frechet_distance",
    "get",
    "high_frequency_power",
    "register",
]
