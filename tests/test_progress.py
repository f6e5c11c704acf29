"""A progress bar is shown only on request, and only on a terminal."""

import pytest

from genzoo import progress


@pytest.fixture
def bars(monkeypatch):
    """Record the progress bars as (description, total, disabled)."""
    recorded = []

    def track(items, description, total, console, transient, disable):
        recorded.append((description, total, disable, console.stderr, transient))
        return items

    monkeypatch.setattr("rich.progress.track", track)
    return recorded


def test_no_bar_is_shown_by_default(bars):
    assert list(progress.track(range(3), "drawing", total=3)) == [0, 1, 2]
    assert bars == []


def test_no_bar_is_shown_without_a_terminal(bars):
    with progress.shown():
        assert list(progress.track(range(3), "drawing", total=3)) == [0, 1, 2]
    assert bars == [("drawing", 3, True, True, True)]
    list(progress.track(range(3), "drawing", total=3))
    assert len(bars) == 1
