"""Protect other files in the folder of a run, and remove the files of an earlier run."""

from __future__ import annotations

import os
from pathlib import Path

from genzoo.errors import RunError
from genzoo.files import TEMPORARY_PREFIX
from genzoo.runs.folder import RunFolder
from genzoo.runs.lock import LOCK
from genzoo.runs.seal import is_sealed

__all__ = ["check_writable", "is_remainder", "remove_artifacts", "remove_temporary"]

_WRITTEN = (
    "checkpoints/step-*.ckpt",
    "samples/step-*.png",
    "samples/step-*.txt",
    "report/evaluation.*",
    "report/samples.*",
    "report/interpolation.png",
    "report/reconstructions.png",
    "report/latent-codes.*",
    "report/nearest-neighbors.png",
    "report/spectrum.*",
    "model.safetensors",
    "model-ema.safetensors",
    "best.safetensors",
    "events.out.tfevents.*",
    "metrics.jsonl",
    "trackers.json",
    "curves.png",
    "samples.png",
    "card.md",
    "sha256.json",
    "recipe.toml",
)
"""The files that a run writes. The recipe comes last, so a killed removal can be repeated."""


def check_writable(run: RunFolder, *, resume: bool, overwrite: bool) -> None:
    """Check that a run may write to a folder.

    Raises:
        RunError: the folder holds a run, and `resume` and `overwrite` are not set, or it
            holds something that is not a run.
    """
    if resume and overwrite:
        raise RunError(
            f"{run.path}: resume continues the run in the folder and overwrite removes it; "
            "set one of them."
        )
    if run.path.is_file():
        raise RunError(f"{run.path} is a file; a run needs a folder.")
    if _is_empty(run):
        return
    if not run.is_run():
        raise RunError(
            f"{run.path} exists and is not a run folder (it has no recipe.toml that a run "
            "wrote); choose another --out."
        )
    if not resume and not overwrite:
        raise RunError(
            f"{run.path} already holds a run; resume it with --resume (genzoo resume), or "
            "start again with --overwrite."
        )
    if resume and is_sealed(run.path):
        raise RunError(
            f"{run.path} holds stored weights without checkpoints, so it cannot be resumed; begin "
            f"another run with them: genzoo train --from {run.path}."
        )
    if overwrite:
        _check_no_links(run)
    _check_file_types(run)


def _is_empty(run: RunFolder) -> bool:
    """Return whether the folder holds nothing but temporary files of killed runs."""
    return not run.path.exists() or all(_is_temporary(path) for path in run.path.iterdir())


def _check_no_links(run: RunFolder) -> None:
    """Check that no subfolder is a symbolic link, whose target the run must not empty."""
    for folder in (run.checkpoints, run.samples, run.report):
        if folder.is_symlink():
            raise RunError(
                f"{folder} is a symbolic link to {os.readlink(folder)}, and --overwrite "  # noqa: PTH115
                "removes nothing outside the run folder; remove the link, or choose another "
                "--out."
            )


def _check_file_types(run: RunFolder) -> None:
    """Check that no folder has the path of a file that a run writes, and the reverse."""
    written = (run.recipe_file, run.weights, run.averaged, run.best, run.path / "metrics.jsonl")
    for file in written:
        if file.is_dir():
            raise RunError(f"{file} is a folder, and a run writes a file there; move it away.")
    for folder in (run.checkpoints, run.samples):
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder} is a file, and a run needs a folder there; move it away.")


def is_remainder(run: RunFolder, recipe: str) -> bool:
    """Return whether the folder holds only remains of the run with this recipe text."""
    try:
        if run.recipe_file.exists():
            return run.recipe_file.read_text(encoding="utf-8") == recipe
        names = {path.name for path in run.path.iterdir() if not _is_temporary(path)}
    except (OSError, ValueError):
        return False
    return names <= {
        "checkpoints",
        "samples",
        "metrics.jsonl",
        "trackers.json",
        "curves.png",
        "best.safetensors",
    }


def remove_artifacts(run: RunFolder) -> None:
    """Remove the files that a run wrote, and nothing else.

    A symbolic link to a file is removed, and its target stays.

    Raises:
        RunError: a file cannot be removed.
    """
    _check_no_links(run)
    for pattern in _WRITTEN:
        for path in run.path.glob(pattern):
            if path.is_symlink() or not path.is_dir():
                _remove(path)


def remove_temporary(run: RunFolder) -> None:
    """Remove the temporary files of killed writes, except behind links to other folders."""
    for folder in (run.path, run.checkpoints, run.samples, run.report):
        if folder != run.path and folder.is_symlink():
            continue
        for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
            if _is_temporary(path):
                _remove(path)


def _is_temporary(path: Path) -> bool:
    """Return whether a path is a lock file, or the temporary file of a killed write."""
    named = path.name.startswith(TEMPORARY_PREFIX) or path.name == LOCK
    return named and (path.is_symlink() or not path.is_dir())


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be removed: {error.strerror}.") from error
