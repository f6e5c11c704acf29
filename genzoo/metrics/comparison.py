"""The comparison of several groups of runs, which tells differences from chance."""

from __future__ import annotations

import html
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genzoo import plots
from genzoo.contract import Measurement
from genzoo.errors import printable
from genzoo.files import write_atomic
from genzoo.metrics.report import Evaluation, markdown_row, write_text
from genzoo.runs.recipe import Recipe

__all__ = ["PICTURES", "Comparison", "Group", "Quantity", "Summary", "differing_settings"]

_IGNORED = ("train.seed", "train.device")
"""Settings that may differ between the runs of a group."""
_FEWEST_SEEDS = 3
"""The number of runs in each of two groups that a verdict needs."""
PICTURES = 12
"""The number of samples of each group in a picture."""


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
    """The values of one quantity in the runs of a group."""

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
        if min(len(self.values), len(other.values)) < _FEWEST_SEEDS:
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
            if _quantity(row) == quantity
        ]

    def summary(self, quantity: Quantity) -> Summary | None:
        """Return the values of a quantity, or None if no run has it."""
        values = tuple(row.value for row in self.rows(quantity))
        return Summary(values=values) if values else None


class Comparison:
    """The measurements of several groups of runs, side by side.

    A group is a set of runs that differ only in the seed. A difference counts only beyond chance:
    see `Summary.differs`.

    Attributes:
        groups: the groups, in the order of the runs.
        settings: the settings in which groups differ -> the value of each group, or None.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = tuple(groups)
        self.settings = differing_settings([group.recipe for group in groups])

    def quantities(self) -> list[Quantity]:
        """Return everything that was measured, in the order of the metrics."""
        rows = (row for group in self.groups for one in group.evaluations for row in one)
        return list(dict.fromkeys(map(_quantity, rows)))

    def summaries(self, quantity: Quantity) -> dict[str, Summary]:
        """Return the values of a quantity: group -> summary, for the groups that have it."""
        summaries = {group.name: group.summary(quantity) for group in self.groups}
        return {name: summary for name, summary in summaries.items() if summary is not None}

    def leaders(self, quantity: Quantity) -> list[str]:
        """Return the group with the best mean, and all groups that are tied with it.

        The list is empty if no direction is better, if fewer than two groups have the quantity, or
        if the leading group or another one has fewer than three runs.
        """
        is_higher = self._is_higher_better(quantity)
        summaries = self.summaries(quantity)
        has_gap = any(not math.isfinite(summary.mean) for summary in summaries.values())
        if is_higher is None or len(summaries) < 2 or has_gap:
            return []
        best = (max if is_higher else min)(summaries, key=lambda name: summaries[name].mean)
        verdicts = {
            name: summaries[best].differs(summary)
            for name, summary in summaries.items()
            if name != best
        }
        if None in verdicts.values():
            return []
        return [best, *(name for name, differs in verdicts.items() if not differs)]

    def verdict(self, quantity: Quantity) -> str:
        """Return what the values of a quantity say, in words; `""` if no direction is better."""
        is_higher = self._is_higher_better(quantity)
        if is_higher is None or len(self.summaries(quantity)) < 2:
            return ""
        leaders = self.leaders(quantity)
        if not leaders:
            return f"no verdict: it needs {_FEWEST_SEEDS} seeds of each"
        return f"best: {leaders[0]}" if len(leaders) == 1 else f"tie: {', '.join(leaders)}"

    def table(self) -> str:
        """Return the comparison as plain text."""
        lines = []
        width = max((len(printable(group.name)) for group in self.groups), default=0)
        for quantity, summaries, facts in self._blocks():
            lines.append(f"{printable(str(quantity))}{facts}")
            for name, summary in summaries.items():
                cells = " ".join(f"{cell:>12}" for cell in _cells(summary))
                lines.append(f"  {printable(name):<{width}} {cells}".rstrip())
            verdict = self.verdict(quantity)
            lines += [f"  {printable(verdict)}"] if verdict else []
        if self.settings:
            lines.append("settings that differ")
        for name, values in self.settings.items():
            lines.append(f"  {printable(name)}: {printable(_values(values))}")
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """Return the comparison as Markdown. The best group is bold if it leads beyond chance."""
        lines = [
            "| metric | group | mean | standard error | range | seeds | |",
            "| --- | --- | --: | --: | --: | --: | --- |",
        ]
        for quantity, summaries, facts in self._blocks():
            leaders = self.leaders(quantity)
            for number, (name, summary) in enumerate(summaries.items()):
                mean, error, span, seeds = _cells(summary)
                mean = f"**{mean}**" if leaders == [name] else mean
                first = (f"{quantity}{facts}", self.verdict(quantity)) if number == 0 else ("", "")
                cells = (first[0], name, mean, error, span, seeds, first[1])
                lines.append(markdown_row(cells))
        if self.settings:
            lines += ["", markdown_row(["setting", *(group.name for group in self.groups)])]
            lines.append("| --- |" + " --- |" * len(self.groups))
        for setting, values in self.settings.items():
            shown = ("" if value is None else json.dumps(value, default=str) for value in values)
            lines.append(markdown_row([setting, *shown]))
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """Return the measurements of all runs as JSON."""
        groups = [
            {
                "name": group.name,
                "runs": group.runs,
                "evaluations": [json.loads(one.to_json()) for one in group.evaluations],
            }
            for group in self.groups
        ]
        verdicts = {str(quantity): self.verdict(quantity) for quantity in self.quantities()}
        content = {"groups": groups, "verdicts": verdicts, "settings": self.settings}
        return json.dumps(content, indent=2, default=str) + "\n"

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        runs = sum(len(group.runs) for group in self.groups)
        return f"<Comparison of {runs} runs in {len(self.groups)} groups>"

    def _repr_html_(self) -> str:
        """Return the comparison for a notebook."""
        return f"<pre>{html.escape(self.table())}</pre>"

    def save(self, folder: str | Path) -> list[Path]:
        """Write `comparison.md` and `.json`, and pictures, into a folder. Return the files.

        `samples.png` has a row of samples for each group. `comparison.png` shows the values of
        each run; it needs matplotlib.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, text in (("md", self.to_markdown()), ("json", self.to_json())):
            written.append(folder / f"comparison.{name}")
            write_text(written[-1], text)
        pictures = {"samples.png": self._samples(), "comparison.png": self._figure()}
        for name, picture in pictures.items():
            if picture is not None:
                path = folder / name
                write_atomic(path, lambda file: plots.save(picture, file))  # noqa: B023
                written.append(path)
        return written

    def _blocks(self) -> Iterator[tuple[Quantity, dict[str, Summary], str]]:
        """Yield each quantity, its summaries, and its direction and floor in words."""
        for quantity in self.quantities():
            rows = [row for group in self.groups for row in group.rows(quantity)]
            facts = [
                {True: "higher is better", False: "lower is better"}.get(
                    rows[0].higher_is_better  # type: ignore[arg-type]
                )
            ]
            if rows[0].floor is not None:
                facts.append(f"floor {rows[0].floor:.4g}")
            yield quantity, self.summaries(quantity), "".join(f", {f}" for f in facts if f)

    def _is_higher_better(self, quantity: Quantity) -> bool | None:
        rows = (row for group in self.groups for row in group.rows(quantity))
        return next((row.higher_is_better for row in rows), None)

    def _samples(self) -> Any:
        """Return a sheet with a row of samples for each group, or None without images."""
        rows = [group.samples for group in self.groups if group.samples is not None]
        if len(rows) < len(self.groups) or len({row.shape for row in rows}) != 1:
            return None
        return plots.sheet(torch.cat(rows), columns=PICTURES)

    def _figure(self) -> Any:
        """Return a figure of the values of all runs, or None without matplotlib."""
        panels = {
            f"{quantity}{facts}": {name: s.values for name, s in summaries.items()}
            for quantity, summaries, facts in self._blocks()
            if self._is_higher_better(quantity) is not None
        }
        return plots.values(panels) if panels and plots.can_plot() else None


def differing_settings(recipes: Sequence[Recipe]) -> dict[str, list[Any]]:
    """Return the settings in which recipes differ, except the seed -> the value in each recipe."""
    flat = [dict(_flat({k: v for k, v in recipe.items() if v is not None})) for recipe in recipes]
    names = dict.fromkeys(name for table in flat for name in table if name not in _IGNORED)
    values = {name: [table.get(name) for table in flat] for name in names}
    return {name: column for name, column in values.items() if any(v != column[0] for v in column)}


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values of nested tables."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


def _quantity(row: Measurement) -> Quantity:
    return Quantity(row.metric, row.quantity, row.network or "")


def _cells(summary: Summary) -> tuple[str, str, str, str]:
    """Return mean, standard error, range, and number of seeds as text."""
    k = len(summary.values)
    error = "" if summary.standard_error is None else f"± {summary.standard_error:.2g}"
    span = "" if k < 2 else f"{min(summary.values):.4g} to {max(summary.values):.4g}"
    return f"{summary.mean:.4g}", error, span, f"{k} seed{'s' if k > 1 else ''}"


def _values(values: Sequence[Any]) -> str:
    return ", ".join(
        "default" if value is None else json.dumps(value, default=str) for value in values
    )
