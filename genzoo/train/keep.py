"""Hold the lock of a run folder during training, and write the run again if the folder is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from genzoo.errors import RunError
from genzoo.runs.folder import RunFolder
from genzoo.runs.lock import FolderLock
from genzoo.runs.overwrite import check_writable, is_remainder
from genzoo.train.engine import Engine

__all__ = ["hold", "reclaim"]


class hold:
    """Hold the lock of a run folder within the block. Rank 0 takes it for all processes.

    This is a class, because Ctrl-C in the generator of a `contextmanager` could come between taking
    the lock and the block, and leave the lock held.

    Arguments:
        folder: the run folder, or None to hold nothing.
        engine: the processes.
        resume: the run continues the one in the folder.
        overwrite: the run replaces the one in the folder.

    Raises:
        RunError: another run holds the folder, or its content forbids this run; on every rank.
    """

    def __init__(
        self, folder: RunFolder | None, engine: Engine, *, resume: bool, overwrite: bool
    ) -> None:
        self.folder, self.engine = folder, engine
        self.resume, self.overwrite = resume, overwrite

    def __enter__(self) -> None:
        try:
            self._acquire()
        except BaseException:
            self._release()
            raise

    def __exit__(self, *_: object) -> None:
        self._release()

    def _acquire(self) -> None:
        if self.folder is None:
            return
        error: RunError | None = None
        if self.engine.main:
            try:
                # known to the folder before it is acquired, so that Ctrl-C cannot lose it
                self.folder.lock = FolderLock(self.folder.path)
                self.folder.lock.acquire()
                check_writable(self.folder, resume=self.resume, overwrite=self.overwrite)
            except RunError as refusal:
                error = refusal
        # the other ranks must not wait forever
        is_refused = self.engine.any(error is not None)
        if error is not None:
            raise error
        if is_refused:
            raise RunError(f"{self.folder.path} is refused by rank 0; its message says why.")

    def _release(self) -> None:
        if self.folder is not None and self.folder.lock is not None:
            self.folder.lock.release()
            self.folder.lock = None


def reclaim(folder: RunFolder, recipe: str) -> str:
    """Take the path of a folder again after it was removed, moved, or replaced.

    If something else is at the path now, the run folder becomes a free path next to it.

    Arguments:
        folder: the run folder, whose path may change.
        recipe: the text of the recipe that this run wrote.

    Returns:
        A description of the thing at the path, for a message; empty if the path was taken again.

    Raises:
        RunError: no folder next to the path can be used.
    """
    assert folder.lock is not None
    old_lock, path, obstacle = folder.lock, folder.path, ""
    failure: RunError | None = None
    # then only the lock file was removed
    is_same_folder = old_lock.holds(path)
    old_lock.release()
    for candidate in _candidates(path):
        lock = FolderLock(candidate)
        try:
            lock.acquire()
        except RunError as error:
            obstacle, failure = obstacle or "another run holds that path now", error
            continue
        folder.path, folder.lock = candidate, lock
        if (is_same_folder and candidate == path) or is_remainder(folder, recipe):
            return obstacle
        lock.release()
        obstacle = obstacle or "something else is at that path now"
    folder.path, folder.lock = path, None
    raise RunError(
        f"{path} was removed during training, and no folder next to it can be used; nothing of the "
        "run is kept."
    ) from failure


def _candidates(path: Path) -> Iterator[Path]:
    yield path
    yield path.with_name(f"{path.name}-rescued")
    for number in range(2, 20):
        yield path.with_name(f"{path.name}-rescued-{number}")
