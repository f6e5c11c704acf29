"""Show how far training is: two lines that move on a terminal or in a notebook, else a line each log interval."""

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

_REFRESH = {"terminal": 0.2, "notebook": 1.0}
"""Seconds between frames."""
_WINDOW = 150
"""Frames over which the rate and the time that is left are averaged."""
_BAR = (6, 24)
"""Fewest and most columns of the bar."""


class Frame:
    """What is shown at one moment: a bar, the step, the time left and the rate, and the losses below.

    Arguments:
        done: steps made.
        total: steps in all.
        pieces: texts beside the bar, the most important first; those that do not fit are left out.
        losses: the second line, which is cut where it does not fit.
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
    """The progress of a run, on standard output; nothing where it was not asked for.

    A terminal gets two lines that move and fit its width. A notebook gets one output that is
    replaced. Everything else, such as a file or a pipe, gets a line each time the log does.

    Arguments:
        total: steps in all.
        done: steps made before.
        shown: whether to show anything.
    """

    def __init__(self, total: int, done: int, shown: bool) -> None:
        self.console = Console(force_jupyter=False)
        self.console.outlives_reader = True
        self.kind = _kind(self.console) if shown else "nothing"
        self.done, self.total, self.losses = done, total, ""
        self.marks = deque([(time.monotonic(), done, 0)], maxlen=_WINDOW)
        self.images = 0
        self.next = 0.0
        self.live: Live | None = None
        self.handle: Any = None

    def __enter__(self) -> Display:
        if self.kind == "terminal":
            self.live = Live(self.frame(), console=self.console, auto_refresh=False)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.kind in _REFRESH:
            self._draw()
        if self.live is not None:
            self.live.stop()

    def move(self, done: int, images: int) -> None:
        """Take note that training came to step `done`, with so many images more."""
        self.done, self.images = done, self.images + images
        if self.kind in _REFRESH and time.monotonic() >= self.next:
            self._draw()

    def log(self, line: Mapping[str, float]) -> None:
        """Show a line of the log."""
        self.losses = words(line, "  ")
        if self.kind == "lines":
            self._mark()
            self.console.print(str(self.frame()), markup=False, soft_wrap=True)

    def frame(self) -> Frame:
        """Return what is to be shown now."""
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
        self.next = time.monotonic() + _REFRESH[self.kind]
        if self.live is not None:
            self.live.update(frame, refresh=True)
        elif self.handle is None:
            self.handle = _notebook_output(str(frame))
            if self.handle is None:  # a notebook that replaces nothing
                self.kind = "lines"
        else:
            self.handle.update({"text/plain": str(frame)}, raw=True)


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds.

    Example:
        >>> duration(12.4), duration(3723)
        ('0:12', '1:02:03')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def words(line: Mapping[str, float], between: str = ", ") -> str:
    """Return the losses of a line of the log as text, without clock, learning rates and gradient norms."""
    skip = ("step", "seconds", "images_per_second")
    losses = {
        name: value
        for name, value in line.items()
        if name not in skip and not name.startswith("gradient/") and not is_rate(name)
    }
    return between.join(f"{name} {value:.4g}" for name, value in losses.items())


def is_rate(name: str) -> bool:
    """Return whether a key of the log is a learning rate: `lr`, `player/lr`, or that of a group."""
    return "lr" in name.split("/")[:2]


def _kind(console: Console) -> str:
    if Console().is_jupyter:
        return "notebook"
    moves = is_terminal(sys.stdout) and console.is_terminal and not console.is_dumb_terminal
    return "terminal" if moves else "lines"


def _notebook_output(text: str) -> Any:
    """Show a text in a notebook and return what replaces it; None where IPython cannot."""
    with suppress(ImportError):
        from IPython.display import display

        return display({"text/plain": text}, raw=True, display_id=True)
    return None
