"""Find the plugins of installed packages, and load Python files that register names.

Everything in this module except `load_file` and `load_value` reads metadata only. A registration
that cannot be used states the reason in its `blocked_because`: the package needs another version of
the contract, the environment variable `GENZOO_PLUGINS` forbids it, or its metadata are malformed.

`GENZOO_PLUGINS` is read at each call. If it is unset or empty, every installed plugin can be used.
If it is `off`, none can. Otherwise it lists the plugins that can, separated by commas.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata as metadata
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from genzoo.errors import PluginError, printable
from genzoo.files import local_path

__all__ = [
    "CONTRACT_VERSION", "POLICY", "File", "Registration", "extras", "import_path",
    "invalid_name_reason", "is_loaded", "load_file", "load_value", "loading", "metadata_field",
    "normalized_name", "one_line", "registrations",
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
_IDENTIFIER = r"[^\W\d]\w*"
_DOTTED = rf"{_IDENTIFIER}(\.{_IDENTIFIER})*"
_VALUE = re.compile(
    rf"(?P<module>{_DOTTED})\s*:\s*(?P<attribute>{_DOTTED})\s*(\[(?P<extras>.*)\])?"
)
_NAME = re.compile(r"[^\W_][\w.+-]*")
_PACKAGE_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE | re.ASCII)


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
    if not _VALUE.fullmatch(values[0]):
        return "has a malformed entry point: expected module:attribute"
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
    add a plugin when somebody works inside it.
    """
    return [entry for entry in sys.path if Path(entry).is_absolute()]


def _packages() -> Iterator[_Package]:
    """Yield the installed packages with entry points for genzoo.

    If two packages have the same name, the first one on the import path counts, as for imports.
    """
    seen = {"genzoo"}  # its own names are built in
    for distribution in metadata.distributions(path=import_path()):
        if "genzoo_" not in _read_text(distribution, "entry_points.txt"):
            continue
        name = metadata_field(distribution, "Name")
        if _PACKAGE_NAME.fullmatch(name):
            if normalized_name(name) in seen:
                continue
            seen.add(normalized_name(name))
            same_name = metadata.distributions(name=name, path=import_path())
            distribution = next(iter(same_name), distribution)
        else:
            name = _UNNAMED
        yield _Package(
            name=name,
            version=metadata_field(distribution, "Version"),
            entry_points=_entry_points(_read_text(distribution, "entry_points.txt")),
            distribution=distribution,
        )


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

    A package may support several versions, one of which must match. A package without a version is
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


_files: dict[Path, File] = {}
_loading: ContextVar[File | None] = ContextVar("loading", default=None)


def loading() -> File | None:
    """Return the file that `load_file` is executing, or None."""
    return _loading.get()


def is_loaded(file: File) -> bool:
    """Return whether the names of a file are valid.

    They are not if the file failed, or if a later execution of the same path replaced it.
    """
    return _files.get(file.path) is file


def load_file(file: str | Path) -> ModuleType:
    """Execute a Python file for the names that it registers, as `--plugin` does.

    Loading the file again replaces its names. Its folder is not added to the import path.

    Arguments:
        file: a Python file with decorators such as `@genzoo.models.register("mine")`.

    Returns:
        The module of the file.

    Raises:
        PluginError: the file cannot be read, fails (the message names the line), or registers
            nothing.

    Example:
        >>> import genzoo
        >>> file = getfixture("tmp_path") / "ring.py"
        >>> _ = file.write_text('''
        ... import genzoo
        ... @genzoo.datasets.register("ring")
        ... def ring(rows: int = 100):
        ...     ...
        ... ''')
        >>> load_file(file).ring.__name__, "ring" in genzoo.available("datasets")
        ('ring', True)
        >>> genzoo.datasets.unregister("ring")
    """
    path = local_path(file, "plugin", PluginError).resolve()
    if path.suffix != ".py":
        raise PluginError(f"{file}: expected a Python file, with a name that ends in .py.")
    if path.exists() and not path.is_file():  # reading a pipe might never end
        raise PluginError(f"{file} is not a file.")
    try:
        code = path.read_bytes()
    except OSError as error:
        raise PluginError(f"{file}: {error.strerror or error}") from None
    path_digest = hashlib.sha256(str(path).encode()).hexdigest()
    name = re.sub(r"\W", "_", f"{path.stem}_{path_digest[:8]}")
    record = File(label=str(file), path=path, module=name, digest=hashlib.sha256(code).hexdigest())
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    _files[path], sys.modules[name] = record, module
    token = _loading.set(record)
    try:
        # not the module's loader, which writes a cache next to the file and might run an old one
        exec(compile(code, str(path), "exec", dont_inherit=True), vars(module))
    except BaseException as error:  # a file can do anything, including `sys.exit`
        del _files[path], sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(f"{file}{_line(error, path)}: {one_line(error)}") from error
    finally:
        _loading.reset(token)
    if not record.names:
        del _files[path], sys.modules[name]
        raise PluginError(
            f'{file} registers nothing: put a decorator such as @genzoo.models.register("a-name") '
            "above a class."
        )
    return module


def _line(error: BaseException, file: Path) -> str:
    """Return the line of a file in which an error happened, as `, line 3`; empty if unknown."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return f", line {lines[-1]}" if lines else ""


def one_line(error: BaseException) -> str:
    """Return an error on one line: its type and message; of an `ImportError`, only the message."""
    try:
        message = printable(" ".join(str(error).split()))
    except Exception:  # a plugin's error class can fail, too
        message = ""
    if isinstance(error, ImportError) and message:
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
