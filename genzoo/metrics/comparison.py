"""The comparison of several groups of runs, which tells differences from chance."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from genzoo.errors import printable
from genzoo.files import write_atomic, write_text
from genzoo.metrics.groups import FEWEST_SEEDS, Group, Quantity, Summary, quantity_of
from genzoo.metrics.report import markdown_row
from genzoo.plots import charts, save, sheet
from genzoo.plots.files import as_html
from genzoo.plots.theme import can_plot
from genzoo.runs.recipe import Recipe

__all__ = ["PICTURES", "Comparison", "differing_settings"]

_IGNORED = ("train.seed", "train.device")
"""Settings that may differ between the runs of a group."""
_COUNTERPARTS = {
    "log_prob": ("elbo", "log_prob_bound"),
    "elbo": ("log_prob",),
    "log_prob_bound": ("log_prob",),
    "bits_per_dim": ("bits_per_dim_bound",),
    "bits_per_dim_bound": ("bits_per_dim",),
}
"""Exact likelihood -> its bounds, and the reverse."""
PICTURES = 12
"""The number of samples of each group in a picture."""


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
        return list(dict.fromkeys(map(quantity_of, rows)))

    def summaries(self, quantity: Quantity) -> dict[str, Summary]:
        """Return the values of a quantity: group -> summary, for the groups that have it."""
        summaries = {group.name: group.summary(quantity) for group in self.groups}
        return {name: summary for name, summary in summaries.items() if summary is not None}

    def leaders(self, quantity: Quantity) -> list[str]:
        """Return the group with the best mean, and all groups that are tied with it.

        The list is empty if no direction is better, if fewer than two groups have the quantity, if
        the values are not comparable, or if the leading group or another one has fewer than three
        runs.
        """
        if self._refusal(quantity):
            return []
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
        """Return what the values of a quantity say, in words; `""` if no direction is better.

        Values of different estimators, or of likelihoods with different meanings, are not ranked.
        Neither are likelihoods that have no upper limit.
        """
        if refusal := self._refusal(quantity):
            return refusal
        is_higher = self._is_higher_better(quantity)
        if is_higher is None or len(self.summaries(quantity)) < 2:
            return ""
        leaders = self.leaders(quantity)
        if not leaders:
            return f"no verdict: it needs {FEWEST_SEEDS} seeds of each"
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
        pictures = {"Samples of each group": self._samples(), "Values": self._figure()}
        figures = [as_html(one, name) for name, one in pictures.items() if one is not None]
        return f"<pre>{html.escape(self.table())}</pre>" + "".join(figures)

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
                write_atomic(path, lambda file: save(picture, file))  # noqa: B023
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

    def _refusal(self, quantity: Quantity) -> str:
        """Return why the values of a quantity do not rank groups, or `""` if they may."""
        if len(self.summaries(quantity)) < 2:
            return self._other_bounds(quantity)
        rows = [(group.name, row) for group in self.groups for row in group.rows(quantity)]
        for field in ("basis", "estimator"):
            kinds: dict[str, str] = {}
            for name, row in rows:
                kinds.setdefault(getattr(row, field) or f"no {field}", name)
            if len(kinds) > 1:
                described = "; ".join(f"{name}: {kind}" for kind, name in kinds.items())
                return f"no ranking: the values are not comparable ({described})"
        basis = next((row.basis for _, row in rows if row.higher_is_better is None), None)
        return f"no ranking: {basis}" if basis else ""

    def _other_bounds(self, quantity: Quantity) -> str:
        """Return a sentence about groups with a bound instead of a likelihood, or the reverse."""
        wanted = _COUNTERPARTS.get(quantity.quantity, ())
        others = [
            group.name
            for group in self.groups
            if not group.rows(quantity)
            and any(
                row.metric == quantity.metric and row.quantity in wanted
                for evaluation in group.evaluations
                for row in evaluation
            )
        ]
        if not others:
            return ""
        return (
            f"no ranking: exact likelihoods and bounds are not comparable, and {', '.join(others)} "
            f"has no {quantity.quantity}"
        )

    def _is_higher_better(self, quantity: Quantity) -> bool | None:
        rows = (row for group in self.groups for row in group.rows(quantity))
        return next((row.higher_is_better for row in rows), None)

    def _samples(self) -> Any:
        """Return a sheet with a row of samples for each group, or None without images."""
        rows = [group.samples for group in self.groups if group.samples is not None]
        if len(rows) < len(self.groups) or len({row.shape for row in rows}) != 1:
            return None
        names = [group.name for group in self.groups]
        return sheet(torch.cat(rows), columns=PICTURES, labels=names)

    def _figure(self) -> Any:
        """Return a figure of the values of all runs, or None without matplotlib."""
        panels = {
            f"{quantity}{facts}": {name: s.values for name, s in summaries.items()}
            for quantity, summaries, facts in self._blocks()
            if self._is_higher_better(quantity) is not None
        }
        return charts.values(panels) if panels and can_plot() else None


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
