"""Print: the one console class, which lets no text move a cursor, and streams that may be closed at any time."""

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
"""The exit code where nobody reads the output any more: 128 and the number of SIGPIPE, as a shell reports it."""


class Console(RichConsole):
    r"""A console that shows control characters as escapes: only its own styles act on the terminal.

    Where nobody reads any more (a closed pipe, a terminal that hung up, a full disk), a console of
    standard output ends the command, unless `outlives_reader` says that the command does more than
    print. A console of standard error goes on in silence.

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
        """Clean a text before it is measured."""
        return super().render_str(visible(text), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Clean what anything renders to, but for the console's own control codes."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else visible(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)

    def on_broken_pipe(self) -> None:
        """Go on in silence, or end the command."""
        self.quiet = True
        stream = sys.stderr if self.stderr else sys.stdout
        with suppress(OSError, ValueError, AttributeError):  # a stream that has no file behind it
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not (self.stderr or self.outlives_reader):
            raise SystemExit(READER_GONE)

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # such as that of a full disk, or of a terminal that hung up
            if not (self.stderr or self.outlives_reader):
                raise
            self.on_broken_pipe()


def is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal; None, as Python has it for a closed one, is none."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # no stream, a closed one
        return False


def repair_streams() -> None:
    """Open what was closed when the process began, and let any character be written.

    Otherwise the next file that is opened, such as a checkpoint, becomes standard output, and takes
    what is printed.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def end_quietly() -> None:
    """Let a second Ctrl-C end the process without a word, now that the first one was answered."""
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)
