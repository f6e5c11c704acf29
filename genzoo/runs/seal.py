"""The seal of a run folder: the hashes of its files, which are checked whenever it is opened.

A sealed folder is finished: pretrained weights, or a downloaded or unpacked run. Commands do not
write to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from genzoo.errors import RunError, shorten
from genzoo.files import write_text

__all__ = ["SEAL", "check_seal", "is_sealed", "seal", "sha256"]

SEAL = "sha256.json"
"""The file with the hashes: the path of each file of the folder -> its SHA-256."""
_MAX_BYTES = 2**20
_REQUIRED = ("model.safetensors", "recipe.toml")
"""The files without which a folder is not a run, so every seal lists them."""
_WAY_OUT = "the folder was changed or is incomplete; install or download it again"


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def seal(folder: Path) -> dict[str, str]:
    """Write the hashes of all files of a folder into its `sha256.json`, and return them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {file.relative_to(folder).as_posix(): file for file in files}
    digests = {name: sha256(file) for name, file in names.items() if name != SEAL}
    text = json.dumps(digests, indent=2) + "\n"
    write_text(folder / SEAL, text)
    return digests


def is_sealed(folder: Path) -> bool:
    """Return whether a folder has a seal."""
    return (folder / SEAL).exists()


def check_seal(folder: Path) -> dict[str, str]:
    """Check every file that the seal of a folder lists, and return its hashes.

    Raises:
        RunError: the seal cannot be read, or a file is missing or has another hash.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> for name in ("model.safetensors", "recipe.toml", "card.md"):
        ...     _ = (folder / name).write_text("A text.")
        >>> _ = seal(folder)
        >>> _ = (folder / "card.md").write_text("Another card.")
        >>> check_seal(folder)
        Traceback (most recent call last):
        genzoo.errors.RunError: .../card.md has the SHA-256 ..., but sha256.json says ...
    """
    digests = _read(folder / SEAL)
    for name, expected in digests.items():
        file = folder / name
        if not file.is_file():
            raise RunError(f"{file} is missing, and {SEAL} lists it: {_WAY_OUT}.")
        actual = sha256(file)
        if actual != expected:
            raise RunError(
                f"{file} has the SHA-256 {actual[:12]}..., but {SEAL} says "
                f"{expected[:12]}...: {_WAY_OUT}."
            )
    return digests


def _read(file: Path) -> dict[str, str]:
    """Return the content of a seal.

    Raises:
        RunError: it cannot be read, lists no weights or no recipe, or lists a path outside the
            folder.
    """
    try:
        with file.open("rb") as opened:
            table: Any = json.loads(opened.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file} cannot be read ({error}): {_WAY_OUT}.") from None
    if not isinstance(table, Mapping) or not all(isinstance(x, str) for x in table.values()):
        raise RunError(f"{file} does not map files to hashes: {_WAY_OUT}.")
    for name in table:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise RunError(f"{file} lists {shorten(name)!r}, which is outside the folder.")
    for name in _REQUIRED:
        if name not in table:
            raise RunError(f"{file} does not list {name}: {_WAY_OUT}.")
    return dict(table)
