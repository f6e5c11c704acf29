"""The columns of the leaderboard: what they hold, and how their numbers are written."""

from __future__ import annotations

__all__ = ["COLUMNS", "number"]

COLUMNS = {
    "Fréchet": ("frechet", "distance"),
    "KID": ("kernel-distance", "squared_distance"),
    "density": ("precision-recall", "clipped_density"),
    "coverage": ("precision-recall", "clipped_coverage"),
    "nearer to train": ("memorization", "nearer_to_train"),
    "log-likelihood, nats": ("likelihood", "log_prob"),
}
"""The column of a table -> the metric and the quantity."""
_DECIMALS = {"Fréchet": 2, "KID": 3, "density": 3, "coverage": 3, "nearer to train": 3}
"""The column of a table -> the number of decimals; 1 for other columns."""


def number(column: str, value: float | None) -> str:
    """Return a value as a column shows it, or an empty cell without a value."""
    return "" if value is None else f"{value:z.{_DECIMALS.get(column, 1)}f}"
