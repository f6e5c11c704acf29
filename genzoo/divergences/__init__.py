"""The divergences between distributions, and the penalties on critics.

`register` adds one, `available` lists the names, and `get` imports one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names
from genzoo.registry.lookup import Registry, registries

if TYPE_CHECKING:
    from genzoo.contract import Divergence, Penalty
    from genzoo.divergences.distances import (
        energy_distance,
        histograms,
        jensen_shannon,
        kullback_leibler,
        kullback_leibler_knn,
        on_grid,
        total_variation,
    )
    from genzoo.divergences.dual import wasserstein_dual
    from genzoo.divergences.kl import KL
    from genzoo.divergences.mmd import MMD
    from genzoo.divergences.penalties import (
        DRAGAN,
        R1,
        GradientPenalty,
        gradient_norms,
        gradient_penalty,
    )
    from genzoo.divergences.sinkhorn import Sinkhorn
    from genzoo.divergences.transport import Wasserstein
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.divergences.distances": (
                "energy_distance",
                "histograms",
                "jensen_shannon",
                "kullback_leibler",
                "kullback_leibler_knn",
                "on_grid",
                "total_variation",
            ),
            "genzoo.divergences.dual": ("wasserstein_dual",),
            "genzoo.divergences.kl": ("KL",),
            "genzoo.divergences.mmd": ("MMD",),
            "genzoo.divergences.penalties": (
                "DRAGAN",
                "GradientPenalty",
                "R1",
                "gradient_norms",
                "gradient_penalty",
            ),
            "genzoo.divergences.sinkhorn": ("Sinkhorn",),
            "genzoo.divergences.transport": ("Wasserstein",),
        },
    )

_registry: Registry[Divergence | Penalty] = registries["divergences"]
register = _registry.register
available = _registry.available
get = _registry.get

__all__ = [
    "DRAGAN",
    "KL",
    "MMD",
    "R1",
    "GradientPenalty",
    "Sinkhorn",
    "Wasserstein",
    "available",
    "energy_distance",
    "get",
    "gradient_norms",
    "gradient_penalty",
    "histograms",
    "jensen_shannon",
    "kullback_leibler",
    "kullback_leibler_knn",
    "on_grid",
    "register",
    "total_variation",
    "wasserstein_dual",
]
