"""Groups of runs that differ only in the seed, and the values of a quantity in them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from genzoo.contract import Measurement
from genzoo.metrics.report import Evaluation
from genzoo.runs.recipe import Recipe

__all__ = ["FEWEST_SEEDS", "Group", "Quantity", "Summary", "quantity_of"]

FEWEST_SEEDS = 3
"""The number of runs in each of two groups that a verdict needs."""


class Quantity(NamedTuple):
    """A quantity of a metric, with the version of the feature network."""

    metric: str
    quantity: str
    network: str

    def __str__(self) -> str:
        network = f" ({self.network})" if self.network else ""
        return f"{self.metric}: {self.quantity}{network}"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The values of one quantity in the runs of a group.

    Example:
        >>> first, second = Summary(values=(1.0, 2.0, 3.0)), Summary(values=(7.0, 8.0, 9.0))
        >>> first.mean, first.differs(second)
        (2.0, True)
    """

    values: tuple[float, ...]
    """A value for each run."""

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return math.fsum(self.values) / len(self.values)

    @property
    def standard_error(self) -> float | None:
        r"""The standard error of the mean over the runs, \( s / \sqrt k \), or None for one run."""
        k = len(self.values)
        return statistics.stdev(self.values) / k**0.5 if k > 1 else None

    def differs(self, other: Summary) -> bool | None:
        r"""Return whether the means differ by more than chance, or None for too few runs.

        They do if \( |m_1 - m_2| > 2 \sqrt{s_1^2 + s_2^2} \), with the standard errors \( s \) over
        at least three runs each.
        """
        if min(len(self.values), len(other.values)) < FEWEST_SEEDS:
            return None
        error = math.hypot(self.standard_error or 0.0, other.standard_error or 0.0)
        return abs(self.mean - other.mean) > 2 * error


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs whose settings differ in the seed only, with their measurements."""

    name: str
    """The name of the folder."""
    recipe: Recipe
    """The recipe of the first run."""
    runs: tuple[str, ...]
    """The run folders."""
    evaluations: tuple[Evaluation, ...]
    """The measurements of each run."""
    samples: Tensor | None = None
    """Images from the first run, or None if the model needs conditions or has no images."""

    def rows(self, quantity: Quantity) -> list[Measurement]:
        """Return the measurements of a quantity: one for each run that has it."""
        return [
            row
            for evaluation in self.evaluations
            for row in evaluation
            if quantity_of(row) == quantity
        ]

    def summary(self, quantity: Quantity) -> Summary | None:
        """Return the values of a quantity, or None if no run has it."""
        values = tuple(row.value for row in self.rows(quantity))
        return Summary(values=values) if values else None


def quantity_of(row: Measurement) -> Quantity:
    """Return the quantity of a measurement."""
    return Quantity(row.metric, row.quantity, row.network or "")
