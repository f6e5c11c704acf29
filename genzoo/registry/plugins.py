"""Plugins: what installed packages claim, which claims may be used, and Python files that register names.

Everything here but `load_file` reads metadata only. A claim that may not be used says why in its `blocked_because`: the package needs
another version of the contract, the environment variable `GENZOO_PLUGINS` forbids it, or its metadata are malformed.

`GENZOO_PLUGINS` is read at each call: unset or empty, every installed plugin may be used; `off`, none; else those that it names,
separated by commas.
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

CONTRACT_VERSION = (1, 0)
"""The version of `genzoo.contract`: the first number changes when a plugin must change, the second when it gains something."""
POLICY = "GENZOO_PLUGINS"
"""The environment variable that says which plugins may be used."""
_STATED = "genzoo_contract"
_NAMELESS = "an unnamed package"
_IDENTIFIER = r"[^\W\d]\w*"
_VALUE = re.compile(
    rf"(?P<module>{_IDENTIFIER}(\.{_IDENTIFIER})*)\s*:\s*(?P<attribute>{_IDENTIFIER}(\.{_IDENTIFIER})*)\s*(\[(?P<extras>.*)\])?"
)
_WORD = re.compile(r"[^\W_][\w.+-]*")
_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, eq=False)
class File:
    """A Python file that was executed for the names that it registers."""

    given: str
    """As it was named; messages call it so."""
    path: Path
    module: str
    digest: str
    """SHA-256 of what was executed."""
    names: list[str] = field(default_factory=list)
    """What it registers."""


@dataclass(frozen=True)
class Registration:
    """One claim to a name: who makes it, where the code is, and why it may not be loaded, if so."""

    kind: str
    name: str
    value: str
    """`module:attribute`."""
    distribution: str
    version: str
    load: Callable[[], Any]
    blocked_because: str = ""
    """Why it may not be loaded, as what follows "which"; empty where it may."""
    origin: Literal["genzoo", "package", "file", "here"] = "package"
    """Whether it is built in, an installed package's, a file's (see `load_file`), or registered in this process."""
    package: metadata.Distribution | None = field(default=None, compare=False, repr=False)
    file: File | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.value})".replace("  ", " ")

    @property
    def full_name(self) -> str:
        """The name that means this claim and no other."""
        return f"{self.distribution}:{self.name}"

    def imported(self) -> Any:
        """What it stands for if that is in memory already, else None; imports nothing."""
        if self.origin in ("file", "here"):
            return self.load()
        parts = _VALUE.fullmatch(self.value)
        return parts and getattr(sys.modules.get(parts["module"]), parts["attribute"], None)

    @property
    def requirement(self) -> str:
        """What must be there for a run that uses this; empty for what is genzoo's own."""
        what = f"{self.kind} {self.name!r}"
        if self.file is not None:
            return f"{what} from the file {self.file.given} (sha256 {self.file.digest[:16]}; --plugin {self.file.given})"
        if self.origin == "here":
            return f"{what} registered in {self.value.partition(':')[0]} (import what defines it first)"
        return (
            f"{what} from {self.distribution} {self.version}".rstrip()
            if self.origin == "package"
            else ""
        )


@dataclass(frozen=True)
class _Package:
    name: str
    version: str
    points: list[tuple[str, str, str]]
    """Group, name and value of each entry point."""
    found: metadata.Distribution


def registrations(kind: str) -> list[Registration]:
    """What installed packages claim among the names of a kind, refused claims included; imports nothing."""
    found = []
    for package in _packages():
        refusal = _blocked_because(package)
        values: dict[str, list[str]] = {}
        for group, name, value in package.points:
            if group == f"genzoo_{kind}" and value not in values.setdefault(name, []):
                values[name].append(value)
        for name, (value, *others) in values.items():
            why = refusal
            if not why and others:
                why = (
                    f"claims the name twice ({', '.join((value, *others))}): its author must choose"
                )
            elif not why and (wrong := invalid_name_reason(name)):
                why = f"has {wrong}"
            elif not why and not _VALUE.fullmatch(value):
                why = "has a malformed entry point: expected module:attribute"
            load = functools.partial(load_value, value)
            found.append(
                Registration(
                    kind,
                    name,
                    value,
                    package.name,
                    package.version,
                    load,
                    why,
                    package=package.found,
                )
            )
    return found


def invalid_name_reason(name: str) -> str:
    """What is wrong with a name, as what follows "it has"; empty where nothing is."""
    if ":" in name:
        return "a colon in the name, which stands between a package and a name"
    if not _WORD.fullmatch(
        name
    ):  # such as a path, which would stand in the way of the run folder there
        return "a name with other than letters, digits, '-', '_', '+' and '.', or that does not begin with a letter or digit"
    return ""


def load_value(value: str) -> Any:
    """What `module:attribute` stands for."""
    parts = _VALUE.fullmatch(value)
    assert parts is not None, value
    module: Any = importlib.import_module(parts["module"])
    return functools.reduce(getattr, parts["attribute"].split("."), module)


def extras(value: str) -> list[str]:
    """The extras that an entry point asks for, as in `module:attribute [plots]`."""
    parts = _VALUE.fullmatch(value)
    return [
        extra.strip() for extra in ((parts and parts["extras"]) or "").split(",") if extra.strip()
    ]


def normalized_name(distribution: str) -> str:
    """A distribution's name as package indexes compare it (PEP 503): `Genzoo.Foo` and `genzoo_foo` are one."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def import_path() -> list[str]:
    """Where plugins may be installed: the import path but for relative entries, which stand for whatever folder one is in.

    So nothing in a run folder becomes a plugin because somebody works there.
    """
    return [entry for entry in sys.path if Path(entry).is_absolute()]


def _packages() -> Iterator[_Package]:
    """The installed packages that have to do with genzoo; of two with one name the first on the path, as for an import."""
    seen = {"genzoo"}  # its own names are built in
    for found in metadata.distributions(path=import_path()):
        if "genzoo_" not in _text(found, "entry_points.txt"):
            continue
        name = metadata_field(found, "Name")
        if _NAME.fullmatch(name):
            if normalized_name(name) in seen:
                continue
            seen.add(normalized_name(name))
            found = next(iter(metadata.distributions(name=name, path=import_path())), found)
        else:
            name = _NAMELESS
        yield _Package(
            name, metadata_field(found, "Version"), _points(_text(found, "entry_points.txt")), found
        )


def _points(text: str) -> list[tuple[str, str, str]]:
    """The entry points of a package; lines that are none are passed over, where `importlib.metadata` gives up on everything."""
    found, group = [], ""
    for line in map(str.strip, text.splitlines()):
        name, equals, value = (printable(part.strip()) for part in line.partition("="))
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif equals and name and not line.startswith(("#", ";")):
            found.append((group, name, value))
    return found


def _text(found: metadata.Distribution, file: str) -> str:
    try:
        return found.read_text(file) or ""
    except (
        Exception
    ):  # bytes that are no text, a folder that may not be read: nothing is claimed there
        return ""


def metadata_field(found: metadata.Distribution, key: str) -> str:
    """What a package's metadata state under a key; empty where they do not, or cannot be read."""
    try:
        return printable(str(found.metadata.get(key) or ""))  # type: ignore[attr-defined]
    except Exception:
        return ""


def _blocked_because(package: _Package) -> str:
    if package.name == _NAMELESS:
        return "states no valid name in its metadata: reinstall it"
    return _forbidden(package) or _mismatch(package)


def _forbidden(package: _Package) -> str:
    setting = os.environ.get(POLICY, "").strip()
    if setting.lower() == "off":
        return f"is forbidden by {POLICY}=off: set {POLICY}={package.name} to allow it alone"
    if not setting or normalized_name(package.name) in (
        normalized_name(name.strip()) for name in setting.split(",")
    ):
        return ""
    return f"is not named in {POLICY}: add {package.name} there to allow it"


def _mismatch(package: _Package) -> str:
    """A package may state several versions of the contract, any of which will do; one that states none is taken as it is."""
    stated = [name for group, name, _ in package.points if group == _STATED]
    for text in stated:
        if not re.fullmatch(r"[0-9]{1,9}\.[0-9]{1,9}", text):
            return f"states a malformed version of genzoo's contract, {text!r}: expected MAJOR.MINOR, as in 1.0"
    versions = [tuple(map(int, text.split("."))) for text in stated]
    if not versions or any(
        major == CONTRACT_VERSION[0] and minor <= CONTRACT_VERSION[1] for major, minor in versions
    ):
        return ""
    newest = max(versions)
    ours, theirs = (f"{major}.{minor}" for major, minor in (CONTRACT_VERSION, newest))
    who = "genzoo" if newest > CONTRACT_VERSION else package.name
    return f"needs contract {theirs} of genzoo, and this one has {ours}: upgrade {who}"


_files: dict[Path, File] = {}
_loading: ContextVar[File | None] = ContextVar("loading", default=None)


def loading() -> File | None:
    """The file that is being executed by `load_file`, if one is."""
    return _loading.get()


def is_loaded(file: File) -> bool:
    """Whether the names of a file stand: it was executed to its end, or is being so, and not again since."""
    return _files.get(file.path) is file


def load_file(file: str | Path) -> ModuleType:
    """Execute a Python file for the names that it registers, as `--plugin` does; loading it again replaces them.

    Only the file is loaded: its folder does not come on the import path.

    Arguments:
        file: a Python file with things like `@genzoo.models.register("mine")`.

    Returns:
        The module that it became.

    Raises:
        PluginError: it cannot be read, fails (with the line), or registers nothing.

    Example:
        >>> import genzoo
        >>> file = getfixture("tmp_path") / "ring.py"
        >>> _ = file.write_text('''
        ... import genzoo
        ...
        ... @genzoo.datasets.register("ring")
        ... def ring(rows: int = 100):
        ...     ...
        ... ''')
        >>> load_file(file).ring.__name__, "ring" in genzoo.available("datasets")
        ('ring', True)
        >>> genzoo.datasets.unregister("ring")
    """
    where = local_path(file, "plugin", PluginError).resolve()
    if where.suffix != ".py":
        raise PluginError(f"{file}: expected a Python file, with a name that ends in .py")
    if where.exists() and not where.is_file():  # reading a pipe might never end
        raise PluginError(f"{file} is not a file")
    try:
        code = where.read_bytes()
    except OSError as error:
        raise PluginError(f"{file}: {error.strerror or error}") from None
    name = re.sub(r"\W", "_", f"{where.stem}_{hashlib.sha256(str(where).encode()).hexdigest()[:8]}")
    this = File(str(file), where, name, hashlib.sha256(code).hexdigest())
    spec = importlib.util.spec_from_file_location(name, where)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    _files[where], sys.modules[name] = this, module
    token = _loading.set(this)
    try:
        # compiled here, since the loader would leave a cache beside the file, and might run an old one
        exec(compile(code, str(where), "exec", dont_inherit=True), vars(module))
    except BaseException as error:  # a file may do anything, `sys.exit` included
        del _files[where], sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(f"{file}{_line(error, where)}: {one_line(error)}") from error
    finally:
        _loading.reset(token)
    if not this.names:
        del _files[where], sys.modules[name]
        raise PluginError(
            f'{file} registers nothing: put @genzoo.models.register("a-name"), or of another kind, above a class'
        )
    return module


def _line(error: BaseException, file: Path) -> str:
    """Where in a file an error happened, as far as that is known."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f", line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file)
    ]
    return f", line {lines[-1]}" if lines else ""


def one_line(error: BaseException) -> str:
    """What went wrong, on one line; an `ImportError` says enough without its type."""
    try:
        words = printable(" ".join(str(error).split()))
    except Exception:  # an error may be of anybody's making
        words = ""
    if isinstance(error, ImportError) and words:
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
