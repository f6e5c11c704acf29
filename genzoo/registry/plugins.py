"""Find the names that installed packages register.

Everything in this module reads metadata only, and nothing is imported. A registration that cannot
be used states the reason in its `blocked_because`: the package needs another version of the
contract, the environment variable `GENZOO_PLUGINS` forbids it, or its metadata are malformed.

`GENZOO_PLUGINS` is read at each call. If it is unset or empty, every installed plugin can be used.
If it is `off`, none can. Otherwise it lists the plugins that can, separated by commas.
"""

from __future__ import annotations

import functools
import importlib.metadata as metadata
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from genzoo.errors import printable
from genzoo.registry.registration import (
    Registration,
    invalid_name_reason,
    is_location,
    load_value,
)

__all__ = [
    "CONTRACT_VERSION", "POLICY", "import_path", "metadata_field", "normalized_name",
    "registrations",
]  # fmt: skip

CONTRACT_VERSION = (1, 0)
"""The version of `genzoo.contract`.

The first number rises when plugins must change, the second when they can do something new.
"""
POLICY = "GENZOO_PLUGINS"
"""The environment variable that selects the plugins that can be used."""
_CONTRACT_GROUP = "genzoo_contract"
"""The entry-point group whose names are the versions of the contract that a package supports."""
_UNNAMED = "an unnamed package"
_PACKAGE_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class _Package:
    """An installed package with entry points for genzoo."""

    name: str
    version: str
    entry_points: list[tuple[str, str, str]]
    """The group, name, and value of each entry point."""
    distribution: metadata.Distribution


def registrations(kind: str) -> list[Registration]:
    """Return the names of a kind that installed packages register. Nothing is imported.

    Blocked registrations are included.
    """
    result = []
    for package in _packages():
        package_reason = _blocked_because(package)
        values_by_name: dict[str, list[str]] = {}
        for group, name, value in package.entry_points:
            if group == f"genzoo_{kind}" and value not in values_by_name.setdefault(name, []):
                values_by_name[name].append(value)
        for name, values in values_by_name.items():
            registration = Registration(
                kind=kind,
                name=name,
                value=values[0],
                distribution=package.name,
                version=package.version,
                load=functools.partial(load_value, values[0]),
                blocked_because=package_reason or _entry_point_reason(name, values),
                package=package.distribution,
            )
            result.append(registration)
    return result


def _entry_point_reason(name: str, values: list[str]) -> str:
    """Return why the entry points of one name cannot be used, or an empty string."""
    if len(values) > 1:
        return f"registers the name twice ({', '.join(values)}): its author must choose"
    if reason := invalid_name_reason(name):
        return f"has {reason}"
    if not is_location(values[0]):
        return "has a malformed entry point: expected module:attribute"
    return ""


def normalized_name(distribution: str) -> str:
    """Return the name of a package as indexes compare it (PEP 503).

    Example:
        >>> normalized_name("Genzoo.Foo") == normalized_name("genzoo_foo")
        True
    """
    return re.sub(r"[-_.]+", "-", distribution).lower()


def import_path() -> list[str]:
    """Return the folders of the import path in which plugins may be installed.

    Relative folders are left out, because they depend on the working folder. So a run folder cannot
    add a plugin when a user works inside it.
    """
    return [entry for entry in sys.path if Path(entry).is_absolute()]


def _packages() -> tuple[_Package, ...]:
    """Return the installed packages with entry points for genzoo.

    They are read again when the import path or the time of a folder on it has changed, as in
    `importlib.metadata`.
    """
    return _read_packages(tuple((folder, _changed_at(folder)) for folder in import_path()))


def _changed_at(folder: str) -> int | None:
    try:
        return Path(folder).stat().st_mtime_ns
    except (OSError, ValueError):  # no such folder, or a name with a null character
        return None


@functools.lru_cache(maxsize=1)
def _read_packages(folders: tuple[tuple[str, int | None], ...]) -> tuple[_Package, ...]:
    """Read the packages in folders, each with the time of its last change.

    If two packages have the same name, the first one on the import path counts, as for imports.
    """
    path = [folder for folder, _ in folders]
    packages = []
    seen = {"genzoo"}  # its own names are built in
    for distribution in metadata.distributions(path=path):
        if "genzoo_" not in _read_text(distribution, "entry_points.txt"):
            continue
        name = metadata_field(distribution, "Name")
        if _PACKAGE_NAME.fullmatch(name):
            if normalized_name(name) in seen:
                continue
            seen.add(normalized_name(name))
            same_name = metadata.distributions(name=name, path=path)
            distribution = next(iter(same_name), distribution)
        else:
            name = _UNNAMED
        package = _Package(
            name=name,
            version=metadata_field(distribution, "Version"),
            entry_points=_entry_points(_read_text(distribution, "entry_points.txt")),
            distribution=distribution,
        )
        packages.append(package)
    return tuple(packages)


def _entry_points(text: str) -> list[tuple[str, str, str]]:
    """Return the entry points in the text of an `entry_points.txt`.

    Malformed lines are skipped. `importlib.metadata` would refuse the entry points of all packages.
    """
    entry_points, group = [], ""
    for line in map(str.strip, text.splitlines()):
        name, equals, value = (printable(part.strip()) for part in line.partition("="))
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif equals and name and not line.startswith(("#", ";")):
            entry_points.append((group, name, value))
    return entry_points


def _read_text(distribution: metadata.Distribution, file: str) -> str:
    try:
        return distribution.read_text(file) or ""
    except Exception:  # bytes that are not text, or a folder without read permission
        return ""


def metadata_field(distribution: metadata.Distribution, key: str) -> str:
    """Return a field of a package's metadata; empty if it is missing or cannot be read."""
    try:
        return printable(str(distribution.metadata.get(key) or ""))  # type: ignore[attr-defined]
    except Exception:
        return ""


def _blocked_because(package: _Package) -> str:
    if package.name == _UNNAMED:
        return "has no valid name in its metadata: reinstall it"
    return _policy_reason(package) or _contract_reason(package)


def _policy_reason(package: _Package) -> str:
    """Return why `GENZOO_PLUGINS` blocks a package, or an empty string."""
    setting = os.environ.get(POLICY, "").strip()
    if setting.lower() == "off":
        return f"is forbidden by {POLICY}=off: set {POLICY}={package.name} to allow it alone"
    allowed = {normalized_name(name.strip()) for name in setting.split(",")}
    if not setting or normalized_name(package.name) in allowed:
        return ""
    return f"is not named in {POLICY}: add {package.name} there to allow it"


def _contract_reason(package: _Package) -> str:
    """Return why the contract that a package needs is not this one, or an empty string.

    A package may support several versions; one of them must match. A package without a version is
    accepted.
    """
    supported = [name for group, name, _ in package.entry_points if group == _CONTRACT_GROUP]
    for text in supported:
        if not re.fullmatch(r"[0-9]{1,9}\.[0-9]{1,9}", text):
            return (
                f"states a malformed version of genzoo's contract, {text!r}: expected MAJOR.MINOR, "
                "as in 1.0"
            )
    versions = [tuple(map(int, text.split("."))) for text in supported]
    if not versions:
        return ""
    our_major, our_minor = CONTRACT_VERSION
    if any(major == our_major and minor <= our_minor for major, minor in versions):
        return ""
    newest = max(versions)
    ours, theirs = (f"{major}.{minor}" for major, minor in (CONTRACT_VERSION, newest))
    outdated = "genzoo" if newest > CONTRACT_VERSION else package.name
    return f"needs contract {theirs} of genzoo, but this genzoo has {ours}: upgrade {outdated}"
