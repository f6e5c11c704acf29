"""Packs: a run in one zip file, without checkpoints and without paths of this machine."""

from __future__ import annotations

import lzma
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from genzoo.errors import RunError, SettingError, show
from genzoo.files import atomic, local_path
from genzoo.runs.checkpoint import Checkpoints, read_weights, step_of
from genzoo.runs.folder import RunFolder
from genzoo.runs.portable import portable_recipe, portable_text
from genzoo.runs.recipe import parse
from genzoo.runs.result import Run

__all__ = ["Pack", "pack"]

_RECIPE, _CARD = "recipe.toml", "card.md"
_TEXTS = (".csv", ".json", ".md", ".toml", ".txt")
"""Files of a report that may contain paths of this machine."""
_REPORTS = (*_TEXTS, ".png")
"""The files of a report that are packed. Paths cannot be replaced in SVG and HTML."""
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises for a damaged, encrypted, or unusual file."""
_EXPANSION, _SLACK = 20, 2**20
"""A member may expand to this many times its size in the file, plus one MiB; weights shrink by a
few percent at most."""


def pack(run: Run[Any] | str | Path, path: str | Path) -> Path:
    """Write a run as one zip file: its weights, recipe, card, and report, but no checkpoints.

    `genzoo.load` and the commands open the file on any machine; the data need not be there. Of
    absolute paths, in the recipe and in the texts of the report, only the last part is kept. The
    same run gives the same bytes.

    Arguments:
        run: the result of `fit`, or a run folder.
        path: the file to write, which ends in `.zip`.

    Returns:
        The path of the file.

    Raises:
        SettingError: `path` has another suffix, or the run has no folder.
        RunError: the folder is not a run, its weights are damaged or older than its checkpoints, or
            the file cannot be written.

    Example:
        >>> import tempfile, torch, genzoo
        >>> model = genzoo.load("independent", shape=(4,)).fit(torch.eye(4))
        >>> folder = genzoo.save(model, tempfile.mkdtemp() + "/floor")
        >>> file = genzoo.pack(folder, folder.with_suffix(".zip"))
        >>> genzoo.load(file).log_prob(torch.eye(4)).shape
        torch.Size([4])
    """
    target = local_path(path, "path")
    if target.suffix != ".zip":
        raise SettingError(f"path = {show(str(target))}: a pack ends in .zip; add the suffix.")
    if isinstance(run, Run) and run.folder is None:
        raise SettingError(
            "this run has no folder to pack; train it with out=, or pack the folder of "
            "genzoo.save(run.model, folder)."
        )
    folder = RunFolder(run.folder if isinstance(run, Run) and run.folder else run)  # type: ignore[arg-type]
    folder.recipe()
    files = [*_weights_files(folder), *_texts_and_pictures(folder)]
    recipe = portable_recipe(folder.recipe_file.read_bytes())
    with atomic(target) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_member(_RECIPE), recipe)
        for source in files:
            member = _member(source.relative_to(folder.path).as_posix())
            if source.suffix in _TEXTS:
                text = source.read_text(encoding="utf-8", errors="replace")
                archive.writestr(member, portable_text(text))
                continue
            member.file_size = source.stat().st_size  # decides whether the format is ZIP64
            with source.open("rb") as content, archive.open(member, "w") as packed:
                shutil.copyfileobj(content, packed)
    return target


def _member(name: str) -> zipfile.ZipInfo:
    """Return the header of a member: not compressed, because compressors differ in their bytes."""
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system, member.external_attr = 3, 0o644 << 16
    return member


def _weights_files(folder: RunFolder) -> list[Path]:
    """Return the weights that `load` reads from a run folder.

    Raises:
        RunError: they are missing, damaged, or older than the newest checkpoint.
    """
    last = folder.averaged if folder.averaged.exists() else folder.weights
    step = read_weights(last)[1] if last.exists() else -1
    newest = max(map(step_of, Checkpoints(folder.checkpoints).paths()), default=-1)
    if step < max(newest, 0):
        raise RunError(
            f"{folder.path} has not finished, so it has no weights to pack. Finish it with genzoo "
            "resume, or pack a copy of its newest checkpoint, which "
            "genzoo.save(genzoo.load(run), folder) writes."
        )
    if not folder.best.exists():
        return [last]
    read_weights(folder.best)
    return [last, folder.best]


def _texts_and_pictures(folder: RunFolder) -> Iterator[Path]:
    """Yield the card and the files of the report, without links and temporary files."""
    card = folder.path / _CARD
    for path in (card, *sorted(folder.report.rglob("*"))):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder.path).parts)
        is_plain = path.is_file() and not path.is_symlink() and not is_hidden
        if is_plain and path.suffix in _REPORTS:
            yield path


class Pack(RunFolder):
    """A run in a zip file, which is only read. Nothing in it is executed or unpickled.

    Arguments:
        path: the file.
    """

    def _table(self) -> dict[str, Any]:
        with self._member(_RECIPE) as (archive, info):
            content = archive.read(info)
        return parse(content, "its content")

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self.path.is_file()

    def _best_weights(self) -> tuple[Mapping[str, Tensor], Path, int]:
        return self._read(self.best)

    def _last(self, averaged: bool) -> tuple[Mapping[str, Tensor], Path, int]:  # noqa: FBT001
        has_average = averaged and self.averaged.name in self._names()
        return self._read(self.averaged if has_average else self.weights)

    def _read(self, file: Path) -> tuple[Mapping[str, Tensor], Path, int]:
        """Return weights, which safetensors reads from a file of their own."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / file.name
            with (
                self._member(file.name) as (archive, info),
                archive.open(info) as content,
                copy.open("wb") as out,
            ):
                shutil.copyfileobj(content, out)
            hint = "get the pack again, or write it again"
            weights, round = read_weights(copy, name=file, hint=hint)
        return weights, file, round

    def _names(self) -> set[str]:
        with self._opened() as archive:
            return {info.filename for info in archive.infolist()}

    @contextmanager
    def _member(self, name: str) -> Iterator[tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
        """Yield the archive and a member.

        Raises:
            RunError: the file is not a pack, the member is missing, or it expands suspiciously.
        """
        with self._opened() as archive:
            infos = {info.filename: info for info in archive.infolist()}
            if name not in infos:
                raise RunError(
                    f"{self.path} has no {name}; write a pack that has it with genzoo pack RUN -o "
                    f"{self.path.name}."
                )
            info = infos[name]
            # the directory of the file may state any size
            compressed = min(info.compress_size, self.path.stat().st_size)
            if info.file_size > _EXPANSION * compressed + _SLACK:
                raise RunError(
                    f"{self.path}: {name} would expand from {compressed:,} to "
                    f"{info.file_size:,} bytes, more than weights can; do not trust this file."
                )
            yield archive, info

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        """Open the file, and check the names of all members.

        Raises:
            RunError: the file is damaged, or is not a pack.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                _check_names(self.path, archive.infolist())
                yield archive
        except _DAMAGED as error:
            raise RunError(
                f"{self.path} is not a pack, or is damaged ({error}); get it again, or write it "
                "again with genzoo pack."
            ) from error


def _check_names(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Check that no member could be written outside of a folder, or hides another one.

    Raises:
        RunError: a name is not a plain relative path, or occurs twice; or a member is a link.
    """
    names: set[str] = set()
    for member in members:
        name = member.filename
        path_in_pack = PurePosixPath(name)
        # some file systems ignore case
        key = path_in_pack.as_posix().casefold()
        problem = ""
        if name.startswith("/") or ".." in path_in_pack.parts or "\\" in name or ":" in name:
            problem = "a path outside of the pack"
        elif stat.S_ISLNK(member.external_attr >> 16):
            problem = "a link"
        elif key in names:
            problem = "in it twice"
        if problem:
            raise RunError(f"{path}: {show(name)} is {problem}; do not trust this file.")
        names.add(key)
