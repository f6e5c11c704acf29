"""Train several runs at the same time, each in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from genzoo.errors import GenzooError, PluginError, TrainingError, describe
from genzoo.registry.plugin_files import load_file, loaded_files

__all__ = ["available_cores", "fit_in_processes"]

Call = tuple[Path, Mapping[str, Any]]
"""A run folder, and the arguments of `fit`."""

_POLL = 1.0
"""Seconds between reads of the logs of the runs."""


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fit_in_processes(
    calls: Sequence[Call], jobs: int, *, total: int | None, progress: bool
) -> Iterator[Path]:
    """Call `fit` for each run in a new process, and yield the folders as the runs end.

    Ctrl-C and SIGTERM stop each run after its step, with a checkpoint.

    Arguments:
        calls: the run folders and the arguments of `fit`, which must be picklable.
        jobs: the largest number of processes at the same time. Each gets an equal share of the
            cores.
        total: the number of steps of each run, or None if it is not known.
        progress: show a bar for each run on a terminal.

    Raises:
        GenzooError: a run failed. The other runs end first.
        KeyboardInterrupt: a signal stopped the runs.
    """
    from genzoo.train.stopping import stop_signals

    threads = max(1, available_cores() // jobs)
    waiting = list(calls)
    running: dict[Connection, tuple[Any, Path]] = {}
    errors: list[Exception] = []
    with stop_signals() as requested, _Bars([path for path, _ in calls], total, progress) as bars:
        try:
            while running or (waiting and not requested.is_set()):
                while waiting and len(running) < jobs and not requested.is_set():
                    path, arguments = waiting.pop(0)
                    running |= _start(path, arguments, threads)
                if requested.is_set():
                    for process, _ in running.values():
                        process.terminate()
                for path, error in _ended(running):
                    if error is None:
                        yield path
                    elif not requested.is_set():
                        errors.append(error)
                bars.move()
        finally:
            for process, _ in running.values():
                process.terminate()
            for process, _ in running.values():
                process.join()
    if requested.is_set():
        raise KeyboardInterrupt("stopped; repeat the command to continue")
    if errors:
        raise errors[0]


def _start(
    path: Path, arguments: Mapping[str, Any], threads: int
) -> dict[Connection, tuple[Any, Path]]:
    """Start the process of a run."""
    # A forked process would share the locks of torch's threads.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    files = [str(file) for file in loaded_files()]
    process = context.Process(
        target=_train, args=(sender, path, dict(arguments), threads, files), daemon=True
    )
    process.start()
    # The end of the pipe in this process would keep it open after the run's process has died.
    sender.close()
    return {receiver: (process, path)}


def _train(
    sender: Connection, path: Path, arguments: Mapping[str, Any], threads: int, files: list[str]
) -> None:
    """Train a run, and send its error, or None."""
    # A Ctrl-C reaches all processes of a terminal. The parent answers it, with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    error: BaseException | None = None
    try:
        import torch

        from genzoo.memory import keep_freed_memory
        from genzoo.train.loop import fit

        keep_freed_memory()
        torch.set_num_threads(threads)
        for file in files:
            # a name that is then missing is an error of `fit`
            with suppress(PluginError):
                load_file(file)
        fit(out=path, progress=False, **arguments)
    except KeyboardInterrupt as stop:
        error = KeyboardInterrupt(str(stop))
    except GenzooError as known:
        error = known.with_traceback(None)
    except Exception as unknown:
        error = TrainingError(f"{path}: {describe(unknown)}")
    try:
        sender.send(error)
    # an error may hold what another process cannot have
    except Exception:
        sender.send(TrainingError(str(error)))


def _ended(
    running: dict[Connection, tuple[Any, Path]],
) -> Iterator[tuple[Path, Exception | None]]:
    """Wait a moment, and yield the runs that ended, with their errors."""
    for receiver in wait([*running], timeout=_POLL):
        assert isinstance(receiver, Connection)
        process, path = running.pop(receiver)
        error = _outcome(receiver, process, path)
        if isinstance(error, KeyboardInterrupt):
            error = TrainingError(f"{path} was stopped: {error}")
        yield path, error


def _outcome(receiver: Connection, process: Any, path: Path) -> Any:
    """Return the error of a run that ended, or None."""
    try:
        error = receiver.recv()
    except EOFError:
        process.join()
        error = TrainingError(
            f"{path}: the process ended with exit code {process.exitcode}; repeat the command to "
            "continue from the last checkpoint."
        )
    process.join()
    return error


class _Bars:
    """A bar for each run, from the last lines of the logs; only on a terminal."""

    def __init__(self, paths: Sequence[Path], total: int | None, progress: bool) -> None:  # noqa: FBT001
        from rich.progress import Progress

        from genzoo.terminal import Console

        console = Console(stderr=True)
        shown = progress and console.is_terminal
        self.progress = Progress(console=console, transient=True, disable=not shown)
        self.tasks = {path: self.progress.add_task(path.name, total=total) for path in paths}

    def __enter__(self) -> _Bars:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def move(self) -> None:
        """Show how far the runs are."""
        for path, task in self.tasks.items():
            self.progress.update(task, completed=_last_step(path))


def _last_step(path: Path) -> int:
    """Return the step of the last line of a run's log, or 0."""
    try:
        lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return int(json.loads(lines[-1])["step"])
    except (OSError, ValueError, KeyError, IndexError):
        return 0
