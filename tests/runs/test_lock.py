"""Tests of the lock of a run folder: between processes, between threads, and its failures."""

import errno
import os
import subprocess
import sys
import threading

import pytest

import genzoo
from genzoo.errors import RunError
from genzoo.runs import lock as locks
from genzoo.runs.folder import RunFolder
from genzoo.runs.lock import LOCK, FolderLock
from genzoo.train import keep
from genzoo.train.engine import Engine
from tests.games import DATA, FAST, Mean

pytestmark = pytest.mark.usefixtures("without_pictures")


HOLDER = """
import sys
from pathlib import Path
from genzoo.runs.lock import FolderLock
lock = FolderLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
lock.release()
"""

FORKER = """
import os, signal, sys
from pathlib import Path
from genzoo.runs.lock import FolderLock
lock = FolderLock(Path(sys.argv[1])).acquire()
child = os.fork()
if child == 0:
    while True:  # a data worker that outlives its parent
        signal.pause()
print(child, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def hold():
    """Return a function that locks a folder in a separate process, which ends with the test."""
    processes = []

    def start(folder, code=HOLDER):
        command = [sys.executable, "-c", code, str(folder)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.communicate()


def content(folder):
    return {
        p.relative_to(folder): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != LOCK
    }


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"overwrite": True}])
def test_a_folder_locked_by_another_process_is_refused_and_unchanged(tmp_path, hold, flags):
    folder = tmp_path / "run"
    genzoo.fit("test-mean", DATA, folder, steps=2, **FAST)
    before = content(folder)
    process = hold(folder)
    with pytest.raises(
        RunError, match=rf"run is in use by process {process.pid} on .*choose another --out"
    ):
        genzoo.fit("test-mean", DATA, folder, steps=4, **FAST, **flags)
    assert content(folder) == before
    process.communicate()
    genzoo.fit("test-mean", DATA, folder, steps=4, resume=True, **FAST)


def test_a_folder_that_does_not_exist_yet_can_be_locked(tmp_path, hold):
    hold(tmp_path / "run")
    with pytest.raises(RunError, match="is in use by process"):
        genzoo.fit("test-mean", DATA, tmp_path / "run", steps=2, **FAST)
    assert list((tmp_path / "run").iterdir()) == [tmp_path / "run" / LOCK]


def test_a_symbolic_link_does_not_bypass_the_lock(tmp_path, hold):
    hold(tmp_path / "run")
    (tmp_path / "link").symlink_to("run")
    with pytest.raises(RunError, match="link is in use"):
        genzoo.fit("test-mean", DATA, tmp_path / "link", steps=2, **FAST)


def test_a_killed_process_releases_the_lock_even_if_its_workers_live(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    worker = int(process.stdout.readline())
    process.wait()
    try:
        os.kill(worker, 0)  # raises an error if the worker is dead
        assert genzoo.fit("test-mean", DATA, tmp_path / "run", steps=2, **FAST).steps == 2
    finally:
        os.kill(worker, 9)


def test_two_runs_of_one_process_do_not_share_a_folder(tmp_path, monkeypatch):
    inside, go_on = threading.Event(), threading.Event()
    real = Mean.loss

    def slow(self, batch):
        inside.set()
        go_on.wait()
        return real(self, batch)

    monkeypatch.setattr(Mean, "loss", slow)
    thread = threading.Thread(
        target=genzoo.fit, args=("test-mean", DATA, tmp_path / "run"), kwargs={"steps": 2, **FAST}
    )
    thread.start()
    inside.wait()
    (tmp_path / "link").symlink_to("run")
    try:
        for name in ("run", "link"):
            for flags in ({}, {"resume": True}, {"overwrite": True}):
                with pytest.raises(RunError, match="in use by another run of this process"):
                    genzoo.fit("test-mean", DATA, tmp_path / name, steps=2, **FAST, **flags)
        code = (
            "from pathlib import Path; from genzoo.runs.lock import FolderLock; "
            f"FolderLock(Path({str(tmp_path / 'run')!r})).acquire()"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        # the refusals did not drop the lock
        assert f"in use by process {os.getpid()}" in done.stderr
    finally:
        go_on.set()
        thread.join()
    assert not (tmp_path / "run" / LOCK).exists()
    genzoo.fit("test-mean", DATA, tmp_path / "run", steps=4, resume=True, **FAST)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, genzoo.errors.TrainingError])
def test_every_exit_releases_the_lock(tmp_path, monkeypatch, error):
    def fail(self, batch):
        raise error("out")

    real = Mean.loss
    monkeypatch.setattr(Mean, "loss", fail)
    with pytest.raises(error):
        genzoo.fit("test-mean", DATA, tmp_path / "run", steps=2, **FAST)
    monkeypatch.setattr(Mean, "loss", real)
    assert not (tmp_path / "run" / LOCK).exists()
    assert genzoo.fit("test-mean", DATA, tmp_path / "run", steps=2, resume=True, **FAST).steps == 2


def test_a_refused_run_leaves_no_folder(tmp_path):
    with pytest.raises(genzoo.errors.SettingError):
        genzoo.fit("nothing-of-that-name", DATA, tmp_path / "a" / "run", steps=2)
    assert list(tmp_path.iterdir()) == []


def test_the_lock_file_of_a_killed_run_does_not_block(tmp_path):
    (tmp_path / LOCK).write_text("12 elsewhere\n")
    assert genzoo.fit("test-mean", DATA, tmp_path, steps=2, **FAST).steps == 2
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_works_with_a_warning(tmp_path, monkeypatch, number):
    def lockf(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "lockf", lockf)
    with pytest.warns(
        UserWarning, match="run cannot be locked: its file system cannot lock files"
    ) as warned:
        genzoo.fit("test-mean", DATA, tmp_path / "run", steps=2, **FAST)
    assert sum("cannot be locked" in str(warning.message) for warning in warned) == 1


def test_a_platform_without_locks_warns_and_still_separates_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with pytest.warns(UserWarning, match="this platform has no POSIX locks"):
        lock = FolderLock(tmp_path / "run").acquire()
    assert lock.intact()
    with pytest.raises(RunError, match="another run of this process"):
        FolderLock(tmp_path / "run").acquire()
    lock.release()
    assert not (tmp_path / "run").exists()


def test_a_lock_file_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "secret")
    with pytest.raises(RunError, match="run cannot be locked"):
        FolderLock(tmp_path / "run").acquire()
    assert (tmp_path / "secret").read_text() == "mine"


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match="is a file; a run needs a folder"):
            FolderLock(path).acquire()


def test_a_lock_detects_that_its_folder_was_removed(tmp_path):
    for change in ("moved", "replaced", "emptied"):
        lock = FolderLock(tmp_path / change).acquire()
        assert lock.intact()
        if change == "emptied":
            (tmp_path / change / LOCK).unlink()
        else:
            (tmp_path / change).rename(tmp_path / f"{change}-away")
        if change == "replaced":
            (tmp_path / change).mkdir()
            # another folder with the same path
            other = FolderLock(tmp_path / change).acquire()
        assert not lock.intact()
        lock.release()
        if change == "replaced":
            assert other.intact()  # the release did not remove the other's file
            other.release()


RANK = """
import sys, torch, genzoo
torch.set_num_threads(1)
try:
    genzoo.fit("vae", "digits", sys.argv[1], steps=2, batch_size=16)
except genzoo.errors.RunError as error:
    print(f"<{error}>", flush=True)
"""


def test_ranks_are_refused_together(tmp_path, hold, python):
    hold(tmp_path / "run")
    (tmp_path / "rank.py").write_text(RANK)
    launch = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "localhost:0",
    ]
    done = subprocess.run(
        [python, *launch, str(tmp_path / "rank.py"), str(tmp_path / "run")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("run is in use by process") == 1
    assert done.stdout.count("run is refused by rank 0; its message says why.>") == 1


def interrupted_lines(code, function, interrupts):
    """Call a function once for each line of `code`, with Ctrl-C before that line."""
    for line in range(1, 1000):
        seen = 0

        def trace(frame, event, _, line=line):
            nonlocal seen
            if frame.f_code not in code:
                return None
            seen += event == "line"
            if event == "line" and seen == line:
                raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            function()
        except KeyboardInterrupt as error:
            sys.settrace(before)
            interrupts.append(error)  # keeps the frames alive, as a notebook does
        else:
            sys.settrace(before)
            return
        yield


def test_ctrl_c_while_locking_releases_the_lock(tmp_path):
    folder, interrupts = RunFolder(tmp_path / "run"), []
    engine = Engine("cpu", "32-true")

    def train():
        with keep.hold(folder, engine, resume=False, overwrite=False):
            pass

    # not `_claim`: a trace can raise at the end of its `with` block, where Python handles no signal
    names = ("acquire", "_acquire", "_create", "_enter")
    code = {getattr(FolderLock, name).__code__ for name in names} | {keep.hold._acquire.__code__}
    for _ in interrupted_lines(code, train, interrupts):
        FolderLock(tmp_path / "run").acquire().release()
    assert len(interrupts) > 20


def test_ctrl_c_right_after_locking_releases_the_lock(tmp_path, monkeypatch):
    real = locks.fcntl.lockf

    def lockf(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(locks.fcntl, "lockf", lockf)
    with pytest.raises(KeyboardInterrupt):
        FolderLock(tmp_path / "run").acquire()
    monkeypatch.setattr(locks.fcntl, "lockf", real)
    FolderLock(tmp_path / "run").acquire().release()
