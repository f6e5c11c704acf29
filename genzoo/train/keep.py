"""Keep a run folder while training: hold its lock, and write the run again where it was removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genzoo.errors import RunError
from genzoo.runs.folder import RunFolder
from genzoo.runs.lock import FolderLock
from genzoo.train.engine import Engine


@contextmanager
def hold(folder: RunFolder | None, engine: Engine, resume: bool, overwrite: bool) -> Iterator[None]:
    """Hold the lock of a run folder within the block; the first process takes it for all.

    Raises:
        RunError: another run holds the folder, or what is in it forbids this one; on every rank.
    """
    if folder is None:
        yield
        return
    refusal = None
    try:
        if engine.main:
            try:
                folder.lock = FolderLock(folder.path)
                folder.check_writable(resume, overwrite)
            except RunError as error:
                refusal = error
        refused = engine.any(refusal is not None)  # so that the other ranks do not wait for ever
        if refusal is not None:
            raise refusal
        if refused:
            raise RunError(f"{folder.path} is refused by rank 0; its message says why.")
        yield
    finally:
        if folder.lock is not None:
            folder.lock.release()
            folder.lock = None


def reclaim(folder: RunFolder, recipe: str) -> str:
    """Take the folder's path anew after it was removed, moved or replaced by something else.

    Where another thing is at the path now, the run folder becomes a free path next to it.

    Arguments:
        folder: the run folder, whose path may change.
        recipe: the text of the recipe that this run wrote.

    Returns:
        What the path holds now, for a message; empty if the path was taken again.
    """
    assert folder.lock is not None
    lost, wanted, obstacle = folder.lock, folder.path, ""
    failure: RunError | None = None
    same_folder = lost.holds(wanted)  # then only the lock file was removed
    lost.release()
    for path in _candidates(wanted):
        try:
            lock = FolderLock(path)
        except RunError as error:
            obstacle, failure = obstacle or "another run holds that path now", error
            continue
        folder.path, folder.lock = path, lock
        if (same_folder and path == wanted) or folder.is_remainder(recipe):
            return obstacle
        lock.release()
        obstacle = obstacle or "something else is at that path now"
    folder.path, folder.lock = wanted, None
    raise RunError(
        f"{wanted} was removed while it was trained into, and no folder next to it can be used; nothing of the run is kept."
    ) from failure


def _candidates(path: Path) -> list[Path]:
    names = ("rescued", *(f"rescued-{number}" for number in range(2, 20)))
    return [path, *(path.with_name(f"{path.name}-{name}") for name in names)]
