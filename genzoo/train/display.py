"""Show the progress of training.

A terminal or a notebook shows two lines that are updated. Other outputs get a line for each line of
the log.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from genzoo.terminal import Console, is_terminal

__all__ = ["Display", "Frame", "duration", "format_line", "is_rate"]

_REFRESH = {"terminal": 0.2, "notebook": 1.0}
"""The number of seconds between frames."""
_WINDOW = 150
"""The number of frames over which the rate and the remaining time are averaged."""
_BAR = (6, 24)
"""The minimum and maximum width of the bar, in columns."""


class Frame:
    """A frame of the display: a bar, the step, the remaining time, and the rate; below, the losses.

    Arguments:
        done: the number of completed steps.
        total: the number of steps in all.
        pieces: texts next to the bar, the most important first; those that do not fit are left out.
        losses: the second line; it is cut if it does not fit.
    """

    def __init__(self, done: int, total: int, pieces: list[str], losses: str) -> None:
        self.done, self.total, self.pieces, self.losses = done, total, pieces, losses

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        pieces = list(self.pieces)
        while len(pieces) > 1 and len("  ".join(pieces)) > width:
            pieces.pop()
        text = "  ".join(pieces)
        room = min(width - len(text) - 1, _BAR[1])
        line = Text(no_wrap=True, overflow="ellipsis", end="")
        if room >= _BAR[0]:
            yield from self._bar(console, options, room)
            line.append(" ")
        line.append(text)
        yield line
        if self.losses:
            yield Text("\n" + self.losses, no_wrap=True, overflow="ellipsis", end="")

    def _bar(self, console: RichConsole, options: ConsoleOptions, width: int) -> RenderResult:
        bar = ProgressBar(total=self.total, completed=self.done, width=width)
        yield from console.render(bar, options.update(width=width))

    def __str__(self) -> str:
        step, *others = self.pieces
        return "  ".join(filter(None, (f"step {step}", self.losses, *reversed(others))))


class Display:
    """The progress of a run, on standard output.

    A terminal shows two lines that are updated and fit its width. A notebook shows one output that
    is replaced. Other outputs, such as a file or a pipe, get a line for each line of the log.

    Arguments:
        total: the number of steps in all.
        done: the number of steps completed before.
        shown: show the progress; otherwise, show nothing.
    """

    def __init__(self, total: int, done: int, *, shown: bool) -> None:
        self.console = Console(force_jupyter=False)
        self.console.outlives_reader = True
        self.mode = _display_mode(self.console) if shown else "nothing"
        self.done, self.total, self.losses = done, total, ""
        self.marks = deque([(time.monotonic(), done, 0)], maxlen=_WINDOW)
        self.images = 0
        self.next = 0.0
        self.live: Live | None = None
        self.handle: Any = None

    def __enter__(self) -> Display:
        if self.mode == "terminal":
            self.live = Live(self.frame(), console=self.console, auto_refresh=False)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.mode in _REFRESH:
            self._draw()
        if self.live is not None:
            self.live.stop()

    def move(self, done: int, images: int) -> None:
        """Update the progress to step `done`, after `images` more images."""
        self.done, self.images = done, self.images + images
        if self.mode in _REFRESH and time.monotonic() >= self.next:
            self._draw()

    def log(self, line: Mapping[str, float]) -> None:
        """Show a line of the log."""
        self.losses = format_line(line, "  ")
        if self.mode == "lines":
            self._mark()
            self.console.print(str(self.frame()), markup=False, soft_wrap=True)

    def frame(self) -> Frame:
        """Return the current frame."""
        then, done, images = self.marks[0]
        now, steps = time.monotonic(), self.done - done
        pieces = [f"{self.done:,}/{self.total:,}"]
        if steps > 0:
            pieces.append(f"ETA {duration((self.total - self.done) * (now - then) / steps)}")
            pieces.append(f"{(self.images - images) / max(now - then, 1e-9):,.0f} images/s")
        return Frame(self.done, self.total, pieces, self.losses)

    def _mark(self) -> None:
        self.marks.append((time.monotonic(), self.done, self.images))

    def _draw(self) -> None:
        frame = self.frame()
        self._mark()
        self.next = time.monotonic() + _REFRESH[self.mode]
        if self.live is not None:
            self.live.update(frame, refresh=True)
        elif self.handle is None:
            self.handle = _notebook_output(str(frame))
            # this notebook cannot replace an output
            if self.handle is None:
                self.mode = "lines"
        else:
            self.handle.update({"text/plain": str(frame)}, raw=True)


def duration(seconds: float) -> str:
    """Format a time as hours, minutes, and seconds.

    Example:
        >>> duration(12.4), duration(3723)
        ('0:12', '1:02:03')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def format_line(line: Mapping[str, float], between: str = ", ") -> str:
    """Format the losses of a line of the log.

    Leave out the clock, the learning rates, and the gradient norms.
    """
    skip = ("step", "seconds", "images_per_second")
    losses = {
        name: value
        for name, value in line.items()
        if name not in skip and not name.startswith("gradient/") and not is_rate(name)
    }
    return between.join(f"{name} {value:.4g}" for name, value in losses.items())


def is_rate(name: str) -> bool:
    """Return whether a key of the log is a learning rate: of a run, a player, or a group."""
    return "lr" in name.split("/")[:2]


def _display_mode(console: Console) -> str:
    if Console().is_jupyter:
        return "notebook"
    moves = is_terminal(sys.stdout) and console.is_terminal and not console.is_dumb_terminal
    return "terminal" if moves else "lines"


def _notebook_output(text: str) -> Any:
    """Show a text in a notebook; return the handle that replaces it, or None without IPython."""
    with suppress(ImportError):
        from IPython.display import display

        return display({"text/plain": text}, raw=True, display_id=True)
    return None
