"""Execute Python files for the names that they register, as `--plugin` does."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import traceback
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType

from genzoo.errors import PluginError, describe
from genzoo.files import local_path
from genzoo.registry.registration import File

__all__ = ["is_loaded", "load_file", "loaded_files", "loading"]

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


def loaded_files() -> list[Path]:
    """Return the files whose names are registered, in the order of their execution."""
    return [*_files]


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
        raise PluginError(f"{file}{_line(error, path)}: {describe(error)}") from error
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
