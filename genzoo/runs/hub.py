"""Runs on the Hugging Face Hub: their addresses, and their download into its cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from genzoo.errors import RunError, SettingError, describe, show
from genzoo.runs.seal import SEAL, is_sealed

__all__ = ["PREFIX", "Address", "download", "hub"]

PREFIX = "hf://"
FILES = (
    "model.safetensors", "recipe.toml", "card.md", SEAL, "samples.png", "report/evaluation.json",
)  # fmt: skip
"""The files that are downloaded. Whatever else a repository holds is never on this machine."""
_NAME = r"[A-Za-z0-9][\w.-]*"
_ADDRESS = re.compile(
    rf"(?:hf://)?(?P<repository>{_NAME}/{_NAME})(?:@(?P<revision>[\w./-]+))?", re.ASCII
)


@dataclass(frozen=True)
class Address:
    """A repository on the hub, and the revision that pins its content."""

    repository: str
    """The name of the repository, `user/name`."""
    revision: str | None = None
    """A commit, tag, or branch. A commit never changes."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address in a text such as `"hf://user/name@revision"`.

        Raises:
            SettingError: the text is not an address.

        Example:
            >>> Address.parse("hf://ana/vae.digits@0a1b2c")
            Address(repository='ana/vae.digits', revision='0a1b2c')
        """
        match = _ADDRESS.fullmatch(text)
        if match is None or ".." in text:
            raise SettingError(
                f"{show(text)} is not an address on the Hugging Face Hub; write "
                "hf://user/name or hf://user/name@revision."
            )
        return cls(match["repository"], match["revision"])

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision else "")


def hub() -> ModuleType:
    """Return the package `huggingface_hub`.

    Raises:
        SettingError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise SettingError(
            f"the Hugging Face Hub needs huggingface_hub ({error}): pip install 'genzoo[hub]'."
        ) from error
    return huggingface_hub


def download(address: str) -> Path:
    """Download a run from the hub, unless the cache has it, and return its folder.

    Only the known files are downloaded, and none is executed. Without a connection, or with
    `HF_HUB_OFFLINE=1`, the run comes from the cache.

    Arguments:
        address: `hf://user/name` or `hf://user/name@revision`.

    Raises:
        SettingError: the address is malformed, or huggingface_hub is not installed.
        RunError: there is no such repository or revision, it is not reachable and not cached, or it
            holds no run of genzoo.
    """
    where = Address.parse(address)
    package = hub()
    try:
        folder = package.snapshot_download(
            where.repository, revision=where.revision, allow_patterns=list(FILES)
        )
    # errors of the hub, the network, and the disk have no common type
    except Exception as error:
        raise RunError(
            f"{where} cannot be downloaded: {describe(error)[:300]} Check the address, the "
            "connection, and your access (hf auth login)."
        ) from error
    if not is_sealed(Path(folder)):
        raise RunError(f"{where} holds no run of genzoo: it has no {SEAL}, which genzoo push adds.")
    return Path(folder)
