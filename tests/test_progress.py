"""A progress bar is shown only on request, and only on a terminal."""

import pytest

from genzoo import progress


@pytest.fixture
def bars(monkeypatch):
    """Record the progress bars as (description, total, disabled)."""
    made = []

    def track(items, what, total, console, transient, disable):
        made.append((what, total, disable, console.stderr, transient))
        return items

    monkeypatch.setattr("rich.progress.track", track)
    return made


def test_nobody_asked(bars):
    assert list(progress.track(range(3), "drawing", total=3)) == [0, 1, 2]
    assert bars == []


def test_somebody_asked_but_there_is_no_terminal(bars):
    with progress.shown():
        assert list(progress.track(range(3), "drawing", total=3)) == [0, 1, 2]
    assert bars == [("drawing", 3, True, True, True)]
    list(progress.track(range(3), "drawing", total=3))
    assert len(bars) == 1
