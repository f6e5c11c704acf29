"""Import the public names of a package on first use, so that `import genzoo` stays fast."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(package: str, modules: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return a module-level `__getattr__` for a package.

    Arguments:
        package: the package's `__name__`.
        modules: module -> the names that the package takes from it.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(module_of[name]), name)
        # Python asks __getattr__ only once for each name
        setattr(sys.modules[package], name, value)
        return value

    return load
