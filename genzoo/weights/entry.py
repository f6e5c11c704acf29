"""An entry of pretrained weights, and the function that writes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genzoo.errors import RunError
from genzoo.files import local_path

if TYPE_CHECKING:
    from genzoo.contract import Model

__all__ = ["Entry"]


class Entry:
    """Pretrained weights: a folder that `genzoo.load` and all commands read like a run folder.

    It holds the weights in half precision (`model.safetensors`), the recipe of the run that trained
    them (`recipe.toml`), a model card (`card.md`), and the hash of each file (`sha256.json`).

    An entry is its own factory, because registries hold classes and factories. To register one,
    pass the entry itself.

    Arguments:
        folder: the folder of the entry.

    Example:
        >>> import genzoo
        >>> entry = genzoo.weights.Entry("no/such/folder")
        >>> entry.load()
        Traceback (most recent call last):
        genzoo.errors.RunError: no/such/folder is not a folder of pretrained weights ...
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = local_path(folder, "folder of pretrained weights", RunError)

    def __call__(self) -> Entry:
        return self

    def __repr__(self) -> str:
        return f"Entry({str(self.folder)!r})"

    @property
    def card(self) -> str:
        """The model card, as Markdown."""
        self.check()
        return (self.folder / "card.md").read_text(encoding="utf-8")

    @property
    def sha256(self) -> str:
        """The SHA-256 of `model.safetensors`."""
        return self.check()["model.safetensors"]

    def check(self) -> dict[str, str]:
        """Check all files of the entry, and return their hashes by name.

        Raises:
            RunError: a file is missing or has another hash.
        """
        from genzoo.runs.seal import SEAL, check_seal, is_sealed

        if not is_sealed(self.folder):
            raise RunError(
                f"{self.folder} is not a folder of pretrained weights (it has no {SEAL}); write "
                "one with genzoo.weights.store."
            )
        digests = check_seal(self.folder)
        if "card.md" not in digests:
            raise RunError(f"{self.folder / SEAL} does not list card.md; store the run again.")
        return digests

    def load(self) -> Model:
        """Return the model, in eval mode. Every file is checked, and no code in it is executed.

        Raises:
            RunError: a file is missing or has another hash.
            SettingError: the model needs a name that is not registered.
        """
        from genzoo.runs.folder import RunFolder

        self.check()
        return RunFolder(self.folder).model()
