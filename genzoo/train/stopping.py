"""Stop a run in words: Ctrl-C and its like end it after a step, and the exception holds the model so far."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genzoo.runs.folder import Run

_ASKING = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """Training was asked to stop before its end.

    Arguments:
        message: what was done, and how to go on.
        run: the run as far as it came; its model is in eval mode.
    """

    def __init__(self, message: str, run: Run[Any]) -> None:
        super().__init__(message)
        self.run = run


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Within: Ctrl-C, SIGTERM and SIGHUP ask to stop at the end of the round; a second Ctrl-C stops at once.

    A signal that was ignored before stays ignored, as `nohup` and shells' background jobs want it.
    A handler that the caller set is called too. Outside the main thread, which alone receives
    signals, nothing changes.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        again = asked.is_set()
        asked.set()
        handler = before[number]
        if callable(handler) and handler is not signal.default_int_handler:
            handler(number, frame)
        elif (
            again and number == signal.SIGINT
        ):  # a hangup is followed by others, which cut nothing short
            raise KeyboardInterrupt

    before: dict[int, Callable[..., Any] | int] = {}
    for name in _ASKING:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        handler = None if number is None else signal.getsignal(number)
        if number is not None and handler is not None and handler != signal.SIG_IGN:
            before[number] = handler  # one of None was not set from Python, and cannot be set again
    try:
        for number in before:
            signal.signal(number, ask)
        yield asked
    finally:
        for number, handler in before.items():
            with suppress(ValueError):
                signal.signal(number, handler)
