"""A progress bar for work that takes long, such as drawing an image pixel by pixel: shown only where somebody asked for it.

The command line asks; a library that prints unasked is a nuisance, and the trainer has a bar of its own.
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
    """Within: long work shows a bar, on a terminal.

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
    """The items, one by one, with a bar that says how many of `total` are done."""
    if not _shown.get():
        yield from items
        return
    from rich.progress import track as bar

    from genzoo.terminal import Console

    console = Console(stderr=True)
    yield from bar(
        items, what, total=total, console=console, transient=True, disable=not console.is_terminal
    )
