"""Show a progress bar for long work, such as sampling an image pixel by pixel, on request only.

The command line requests it. A library should not print unexpected output. The trainer has another
bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["shown", "track"]

T = TypeVar("T")
_shown: ContextVar[bool] = ContextVar("shown", default=False)


@contextmanager
def shown() -> Iterator[None]:
    """Show a progress bar for long work within this context, if the output is a terminal.

    Example:
        >>> import genzoo
        >>> with shown():
        ...     images = genzoo.load("nade", hidden=8, shape=(1, 8, 8)).sample(2)
    """
    token = _shown.set(True)
    try:
        yield
    finally:
        _shown.reset(token)


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield the items, with a bar that shows how many of `total` are done."""
    if not _shown.get():
        yield from items
        return
    from rich.progress import track as bar

    from genzoo.terminal import Console

    console = Console(stderr=True)
    yield from bar(
        items, what, total=total, console=console, transient=True, disable=not console.is_terminal
    )
