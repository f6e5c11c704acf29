"""Stop a run with Ctrl-C or a signal, after a step. The exception holds the model so far."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from genzoo.contract import Dataset, Model
from genzoo.runs.folder import RunFolder
from genzoo.runs.requirements import IN_MEMORY, data_table, defined_in_python, plugin_files
from genzoo.runs.result import Run
from genzoo.train.log import resume_hint
from genzoo.train.settings import Settings

__all__ = ["Stopped", "resume_command", "stop_message", "stop_signals"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """The exception of a run that was stopped before its end.

    Arguments:
        message: where training stopped, and how to resume it.
        run: the run so far; its model is in eval mode.
    """

    def __init__(self, message: str, run: Run[Any]) -> None:
        super().__init__(message)
        self.run = run


def resume_command(
    folder: RunFolder | None,
    model: Model,
    dataset: Dataset,
    settings: Settings,
    overrides: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return the command that resumes a run, for a shell, or a call of `fit` if it needs Python.

    A run needs Python if its data, a schedule, a logger, or a registered class exist in Python
    only. A part from a plugin file needs `--plugin`. Without a folder there is nothing to resume.
    """
    if folder is None:
        return ""
    path = str(folder.path)
    schedules = [settings.schedule, *(table.get("schedule") for table in overrides.values())]
    has_function = any(map(callable, schedules))
    has_logger = any(not isinstance(spec, str | Mapping) for spec in settings.loggers or ())
    in_memory = data_table(dataset)["name"] == IN_MEMORY
    if in_memory or has_function or has_logger or defined_in_python(model, dataset):
        arguments = ["model", "data", repr(path), "resume=True"]
        if callable(settings.schedule):
            arguments.append("schedule=schedule")
        if has_logger:
            arguments.append("loggers=loggers")
        if any(callable(table.get("schedule")) for table in overrides.values()):
            arguments.append("players=players")
        return f"genzoo.fit({', '.join(arguments)})"
    words = ["genzoo", "resume", path]
    for file in plugin_files(model, dataset):
        words += ["--plugin", file]
    return f"`{shlex.join(words)}`"


def stop_message(
    round: int,
    total: int,
    command: str,
    *,
    last_checkpoint: Path | None,
    at_once: bool,
) -> str:
    """Return where training stopped and how to resume it.

    Arguments:
        round: the number of steps made.
        total: the number of steps in all.
        command: the command that resumes the run, or "" for a run without a folder.
        last_checkpoint: the newest checkpoint.
        at_once: training stopped in the middle of a step, so the checkpoint may be older.
    """
    manner = "at once, after " if at_once else "at "
    where = f"stopped {manner}step {round:,} of {total:,}"
    if not command:
        return (
            f"{where}; the model so far is `stop.run.model`, after "
            "`except KeyboardInterrupt as stop`, or `sys.last_value.run.model` in a notebook."
        )
    if at_once:
        return f"{where}. {resume_hint(last_checkpoint)} Resume with {command}."
    return f"{where}; {last_checkpoint} holds everything. Resume with {command}."


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Turn Ctrl-C, SIGTERM, and SIGHUP into a request to stop after the round, within the block.

    A second Ctrl-C stops at once. A signal that was ignored before stays ignored, as under `nohup`
    and in background jobs of a shell. The caller's handlers are called too. Only the main
    thread receives signals, so in another thread nothing changes.

    Yields:
        An event that is set when a stop is requested.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def request(number: int, frame: Any) -> None:
        again = requested.is_set()
        requested.set()
        handler = before[number]
        if callable(handler) and handler is not signal.default_int_handler:
            handler(number, frame)
        # only Ctrl-C: one hangup is often followed by others
        elif again and number == signal.SIGINT:
            raise KeyboardInterrupt

    before: dict[int, Callable[..., Any] | int] = {}
    for name in _SIGNALS:
        # Windows has no SIGHUP
        number = getattr(signal, name, None)
        handler = None if number is None else signal.getsignal(number)
        # None is a handler that was not set from Python, and cannot be restored
        if number is not None and handler is not None and handler != signal.SIG_IGN:
            before[number] = handler
    try:
        for number in before:
            signal.signal(number, request)
        yield requested
    finally:
        for number, handler in before.items():
            with suppress(ValueError):
                signal.signal(number, handler)
