"""The format number of run folders, checkpoints, and weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.__about__ import __version__
from genzoo.errors import RunError, shorten

__all__ = ["FORMAT", "check_format", "check_version"]

FORMAT = 3
"""The format that this version writes and reads. It rises when settings, files, or names change."""


def check_format(folder: Path, run: Any) -> None:
    """Check that this version of genzoo can open a run folder.

    Arguments:
        folder: the run folder, for the message.
        run: the `[run]` table of its recipe, whatever it holds.

    Raises:
        RunError: the run has an older format, or no format number, or a newer one.
    """
    table = run if isinstance(run, Mapping) else {}
    version = table.get("genzoo")
    writer = ""
    if isinstance(version, str) and version.isprintable():
        writer = f" ({shorten(version)}, as its recipe says)"
    check_version(f"run {folder}", table.get("format"), writer)


def check_version(name: str, version: Any, writer: str = "") -> None:
    """Check that a format number is the one that this version of genzoo reads.

    Arguments:
        name: the thing that has the format, for the message.
        version: its format number, or None.
        writer: the version of genzoo that wrote it, in parentheses, or "".

    Raises:
        RunError: the format is older or newer.
    """
    is_number = type(version) is int
    if is_number and version == FORMAT:
        return
    problem = f"has format {version}" if is_number else "has no format number"
    problem += f", but genzoo {__version__} reads format {FORMAT}"
    if is_number and version > FORMAT:
        raise RunError(f"{name} {problem}; upgrade genzoo.")
    raise RunError(
        f"{name} {problem}; train it again with this version, or open it with the version that "
        f"wrote it{writer}."
    )
