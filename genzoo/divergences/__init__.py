"""The divergences between distributions, and the penalties on critics. `register` adds one of your own, `available` lists the names, `get` imports one."""

from typing import Any

from genzoo.registry.lookup import registries

register = registries["divergences"].register
available = registries["divergences"].available
get = registries["divergences"].get


def __getattr__(name: str) -> Any:
    """The gradient penalty, for losses of other packages; torch is imported when it is asked for."""
    if name == "gradient_penalty":
        from genzoo.divergences.penalties import gradient_penalty

        return gradient_penalty
    raise AttributeError(f"module 'genzoo.divergences' has no attribute {name!r}")
