"""genzoo: classic generative models that share their parts, one trainer, and a registry that anyone can extend.

>>> import genzoo
>>> model = genzoo.load("vae", shape=(1, 8, 8))
>>> model.sample(4).shape
torch.Size([4, 1, 8, 8])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from genzoo.build import build  # light, and before anything else: a function that has its module's name
from genzoo.registry import available

if TYPE_CHECKING:
    from genzoo.codes import arithmetic as arithmetic
    from genzoo.codes import interpolate as interpolate
    from genzoo.contract import Dataset as Dataset
    from genzoo.contract import Model as Model
    from genzoo.contract import Player as Player
    from genzoo.errors import GenzooError as GenzooError
    from genzoo.train.loop import fit as fit
    from genzoo.train.run import load as load
    from genzoo.train.saving import save as save

_HOME = {
    "fit": "train.loop",
    "load": "train.run",
    "save": "train.saving",
    "interpolate": "codes",
    "arithmetic": "codes",
    "Model": "contract",
    "Player": "contract",
    "Dataset": "contract",
    "GenzooError": "errors",
}
_REGISTRIES = ("encoders", "decoders", "critics", "translators", "datasets")
_PACKAGES = ("models", "priors", "divergences", "metrics", "codes")

__all__ = [
    "Dataset", "GenzooError", "Model", "Player", "__version__", "arithmetic", "available", "build", "fit", "interpolate", "load",
    "save",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `import genzoo` alone costs next to nothing."""
    if name in _HOME:
        value = getattr(importlib.import_module(f"genzoo.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in _REGISTRIES:
        return importlib.import_module("genzoo.registry").registries[name]
    if name in _PACKAGES:
        return importlib.import_module(f"genzoo.{name}")
    raise AttributeError(f"module 'genzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_REGISTRIES, *_PACKAGES})
