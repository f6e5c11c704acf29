"""The lock of a run folder, which ensures that only one run at a time writes to it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import threading
import warnings
from pathlib import Path
from typing import Self

from genzoo.errors import RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK", "FolderLock"]

LOCK = ".genzoo.lock"
"""The name of the locked file. It names the process that holds it, and is removed at the end."""

_ATTEMPTS = 100
"""The maximum number of attempts if another run keeps removing the lock file or the folder."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
# POSIX locks do not exclude threads of one process, so they share this set
_held: set[tuple[int, int]] = set()
_guard = threading.Lock()


def _after_fork() -> None:
    """Forget the locks of the parent, which a child process does not inherit."""
    global _guard
    _guard = threading.Lock()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class FolderLock:
    """An exclusive, advisory lock on a folder, held from `acquire` to `release`.

    It is a POSIX lock (`fcntl.lockf`) on a file in the folder. The system drops it when the process
    dies, even if data workers that the process forked are still alive. Within the process, a set
    of locked folders excludes other threads. The inode identifies the folder, so a symbolic link
    or a new name does not allow a second lock.

    Arguments:
        folder: the folder. `acquire` creates it if it does not exist, and `release` removes it
            again if nothing was written to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._created: list[Path] = []
        self._identity: tuple[int, int] | None = None
        self._directory = self._file = -1

    def acquire(self) -> Self:
        """Take the lock and return it. If Ctrl-C interrupts this, the lock is released.

        Raises:
            RunError: another run holds the folder, or it cannot be created.
        """
        try:
            self._acquire()
        except OSError as error:
            self.release()
            if isinstance(error, FileExistsError | NotADirectoryError):
                raise RunError(f"{self.folder} is a file; a run needs a folder.") from None
            reason = f"{error.strerror or error}"
            raise RunError(f"{self.folder} cannot be locked for a run: {reason}.") from error
        except BaseException:
            self.release()
            raise
        return self

    def intact(self) -> bool:
        """Return whether the path still leads to the locked folder, with its lock file."""
        try:
            if _identity(os.stat(self.folder)) != self._identity:  # noqa: PTH116
                return False
            return self._file < 0 or self._is_current()
        except OSError:
            return False

    def holds(self, folder: Path) -> bool:
        """Return whether a path leads to the locked folder."""
        try:
            return _identity(folder.stat()) == self._identity
        except OSError:
            return False

    def release(self) -> None:
        """Release the folder and remove the lock file; remove a new folder if it is still empty."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                if self._is_current():
                    os.unlink(LOCK, dir_fd=self._directory)
        self._close()
        for path in reversed(self._created):
            # a folder that holds a run is not empty, and stays
            with contextlib.suppress(OSError):
                path.rmdir()
        self._created = []

    def _acquire(self) -> None:
        for _ in range(_ATTEMPTS):
            try:
                self._create()
                if self._enter():
                    return
            # another run released the folder and removed it
            except FileNotFoundError:
                pass
            self._close()
        raise FileNotFoundError(errno.ENOENT, "another run keeps removing it")

    def _create(self) -> None:
        missing = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        # recorded first, so that Ctrl-C after `mkdir` leaves no folder behind
        self._created += [path for path in reversed(missing) if path not in self._created]
        self.folder.mkdir(parents=True, exist_ok=True)

    def _enter(self) -> bool:
        """Open and lock the file; return False if the file or the folder has been replaced."""
        if fcntl is None:
            self._claim(_identity(self.folder.stat()))
            _warn(self.folder, "this platform has no POSIX locks")
            return True
        self._directory = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        self._claim(_identity(os.fstat(self._directory)))
        flags = os.O_RDWR | os.O_CREAT | _NO_FOLLOW
        file = os.open(LOCK, flags, 0o666, dir_fd=self._directory)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                holder = _holder(file)
                # this process holds no lock on the file, so closing it drops none
                os.close(file)
                raise _in_use(self.folder, holder) from None
            _warn(self.folder, f"its file system cannot lock files ({error.strerror})")
        except BaseException:
            os.close(file)
            raise
        self._file = file
        if not self.intact():
            return False
        # on a full disk, the file does not name its holder
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        return True

    def _claim(self, identity: tuple[int, int]) -> None:
        with _guard:
            # before the file is opened, because closing it would drop the other thread's lock
            if identity in _held:
                raise _in_use(self.folder, "another run of this process")
            # in this order, so that `release` undoes it after Ctrl-C between the two lines
            self._identity = identity
            _held.add(identity)

    def _is_current(self) -> bool:
        """Return whether the file in the folder is the one that is locked."""
        current = os.stat(LOCK, dir_fd=self._directory, follow_symlinks=False)
        return _identity(current) == _identity(os.fstat(self._file))

    def _close(self) -> None:
        for handle in (self._file, self._directory):
            if handle >= 0:
                os.close(handle)
        self._file = self._directory = -1
        # after the file is closed, because closing it would drop the next thread's lock
        with _guard:
            _held.discard(self._identity)  # type: ignore[arg-type]
        self._identity = None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _holder(file: int) -> str:
    """Return the holder of the lock, as the lock file names it."""
    with contextlib.suppress(OSError):
        text = os.pread(file, 400, 0).decode("ascii", "replace")
        if match := re.fullmatch(r"(\d{1,10}) ([\w.-]{1,255})\n", text, re.ASCII):
            return f"process {match[1]} on {match[2]}"
    return "another process"


def _in_use(folder: Path, holder: str) -> RunError:
    return RunError(
        f"{folder} is in use by {holder}, which trains into it; wait until it ends, stop it, or "
        "choose another --out."
    )


def _warn(folder: Path, reason: str) -> None:
    warnings.warn(
        f"{folder} cannot be locked: {reason}. Make sure that no other run writes to it.",
        stacklevel=2,
    )
