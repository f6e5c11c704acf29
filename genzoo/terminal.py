"""Print to a terminal: text cannot control it, and the output may be closed at any time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from genzoo.errors import visible

__all__ = ["READER_GONE", "Console", "end_quietly", "is_terminal", "repair_streams"]

READER_GONE = 141
"""The exit code for a closed output: 128 plus the number of SIGPIPE, as in shells."""


class Console(RichConsole):
    r"""A console that escapes control characters, so that only its own styles act on the terminal.

    The output may become unusable: a closed pipe, a terminal that hung up, a full disk. Then a
    console of standard output ends the command, unless `outlives_reader` is set because the command
    does more than print. A console of standard error continues without output.

    Arguments:
        **settings: as for `rich.console.Console`.

    Example:
        >>> Console().print("a title \x1b]0;that is none", markup=False)
        a title \x1b]0;that is none
    """

    outlives_reader = False

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("highlight", False)
        super().__init__(**settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Escape a text before its width is measured."""
        return super().render_str(visible(text), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Escape rendered text, except the console's own control codes."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else visible(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)

    def on_broken_pipe(self) -> None:
        """Continue without output, or end the command."""
        self.quiet = True
        stream = sys.stderr if self.stderr else sys.stdout
        with suppress(OSError, ValueError, AttributeError):  # a stream without a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not (self.stderr or self.outlives_reader):
            raise SystemExit(READER_GONE)

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # a full disk, or a terminal that hung up
            if not (self.stderr or self.outlives_reader):
                raise
            self.on_broken_pipe()


def is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal. Python sets closed standard streams to None."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # no stream, or a closed one
        return False


def repair_streams() -> None:
    """Open the standard streams that were closed at the start, and accept any character.

    Otherwise the next file that is opened, such as a checkpoint, would become standard output and
    receive the printed text.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def end_quietly() -> None:
    """Let a second Ctrl-C end the process without a message, after the first one was handled."""
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)
