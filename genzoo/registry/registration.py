"""The registration of a name: its owner, the location of its code, and why it is blocked."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata as metadata
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["File", "Registration", "extras", "invalid_name_reason", "is_location", "load_value"]

_IDENTIFIER = r"[^\W\d]\w*"
_DOTTED = rf"{_IDENTIFIER}(\.{_IDENTIFIER})*"
_VALUE = re.compile(
    rf"(?P<module>{_DOTTED})\s*:\s*(?P<attribute>{_DOTTED})\s*(\[(?P<extras>.*)\])?"
)
_NAME = re.compile(r"[^\W_][\w.+-]*")


@dataclass(frozen=True, eq=False)
class File:
    """A Python file that was executed for the names that it registers."""

    label: str
    """The path as the user wrote it, for messages."""
    path: Path
    module: str
    digest: str
    """The SHA-256 hash of the executed code."""
    names: list[str] = field(default_factory=list)
    """The names that the file registers."""


@dataclass(frozen=True)
class Registration:
    """One registration of a name: its owner, the location of its code, and why it is blocked."""

    kind: str
    name: str
    value: str
    """The location of the code, `module:attribute`."""
    distribution: str
    """The package that registers the name."""
    version: str
    load: Callable[[], Any]
    blocked_because: str = ""
    """The reason, such as "is forbidden ...", to follow "which"; empty if usable."""
    origin: Literal["genzoo", "package", "file", "here"] = "package"
    """Built in, from an installed package, from a file (`load_file`), or from this process."""
    package: metadata.Distribution | None = field(default=None, compare=False, repr=False)
    file: File | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.value})".replace("  ", " ")

    @property
    def full_name(self) -> str:
        """The name that is never ambiguous, `package:name`."""
        return f"{self.distribution}:{self.name}"

    def imported(self) -> Any:
        """Return the class or factory if its module is imported already, else None."""
        if self.origin in ("file", "here"):
            return self.load()
        parts = _VALUE.fullmatch(self.value)
        return parts and getattr(sys.modules.get(parts["module"]), parts["attribute"], None)

    @property
    def requirement(self) -> str:
        """The requirement of a run that uses this; empty for a built-in."""
        label = f"{self.kind} {self.name!r}"
        if self.file is not None:
            path, digest = self.file.label, self.file.digest[:16]
            return f"{label} from the file {path} (sha256 {digest}; --plugin {path})"
        if self.origin == "here":
            module = self.value.partition(":")[0]
            return f"{label} registered in {module} (import the module that defines it first)"
        if self.origin == "package":
            return f"{label} from {self.distribution} {self.version}".rstrip()
        return ""


def invalid_name_reason(name: str) -> str:
    """Return why a name is invalid, as the end of "it has ..."; empty if the name is valid."""
    if ":" in name:
        return "a colon in the name, which is reserved for package:name"
    # a path as a name would hide the run folder of that path
    if not _NAME.fullmatch(name):
        return (
            "a name with other than letters, digits, '-', '_', '+' and '.', or that does not begin "
            "with a letter or digit"
        )
    return ""


def is_location(value: str) -> bool:
    """Return whether the value of an entry point has the form `module:attribute`."""
    return _VALUE.fullmatch(value) is not None


def load_value(value: str) -> Any:
    """Import the object at `module:attribute`."""
    parts = _VALUE.fullmatch(value)
    assert parts is not None, value
    module: Any = importlib.import_module(parts["module"])
    return functools.reduce(getattr, parts["attribute"].split("."), module)


def extras(value: str) -> list[str]:
    """Return the extras of an entry point, such as `plots` in `module:attribute [plots]`."""
    parts = _VALUE.fullmatch(value)
    text = (parts and parts["extras"]) or ""
    return [extra.strip() for extra in text.split(",") if extra.strip()]
