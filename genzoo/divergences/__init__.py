"""The divergences and penalties; `register` gives a name to one of your own."""

from typing import Any

from genzoo.registry import registries

register = registries["divergences"].register


def __getattr__(name: str) -> Any:
    """The gradient penalty, for losses of other packages; torch is imported when it is asked for."""
    if name == "gradient_penalty":
        from genzoo.divergences.penalties import gradient_penalty

        return gradient_penalty
    raise AttributeError(f"module 'genzoo.divergences' has no attribute {name!r}")
