"""The result of outlier detection: scores of rows, their p-values, and the AUROC."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from genzoo.errors import SettingError, did_you_mean, printable, show
from genzoo.files import local_path, write_atomic
from genzoo.metrics.outliers.auroc import Auroc, auroc

__all__ = ["OutlierRow", "OutlierScores"]


class OutlierRow(NamedTuple):
    """The scores of one row."""

    name: str
    """The file of a picture, or the number of a row."""
    scores: Mapping[str, float]
    """Score -> value. The higher, the more unusual."""
    p_values: Mapping[str, float]
    """Score -> p-value, as in `OutlierScores.p_values`."""


@dataclass(frozen=True, kw_only=True)
class OutlierScores:
    """Scores of pictures or rows. In every score, higher means more unusual.

    Iteration yields an `OutlierRow` for each row, in the order of the data. `scores["typicality"]`
    returns the values of one score, float64 `(n,)`.

    Example:
        >>> scores = OutlierScores(
        ...     names=("a.png", "b.png"),
        ...     scores={"typicality": torch.tensor([0.5, 7.0])},
        ...     inliers={"typicality": torch.tensor([0.0, 1.0, 2.0])},
        ...     units={"typicality": "nats"},
        ... )
        >>> [row.name for row in scores if row.p_values["typicality"] < 0.5]
        ['b.png']
    """

    names: tuple[str, ...]
    """The file of each picture, or the number of each row."""
    scores: Mapping[str, Tensor]
    """Score -> values of the rows."""
    inliers: Mapping[str, Tensor]
    """Score -> values of the held-out rows of the model's own data."""
    units: Mapping[str, str]
    """Score -> unit."""
    data: str = "data"
    """The name of the data."""
    reference: str = "inliers"
    """The name of the model's own data."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Unreadable file -> reason."""

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[OutlierRow]:
        scores = {score: values.tolist() for score, values in self.scores.items()}
        p_values = {score: self.p_values(score).tolist() for score in self.scores}
        for number, name in enumerate(self.names):
            yield OutlierRow(
                name,
                {score: values[number] for score, values in scores.items()},
                {score: values[number] for score, values in p_values.items()},
            )

    def __getitem__(self, score: str) -> Tensor:
        return self.scores[self._known(score)]

    def _known(self, score: str) -> str:
        """Return the name of a score.

        Raises:
            SettingError: there is no such score.
        """
        if score not in self.scores:
            raise SettingError(
                f"There is no score {show(score)}.{did_you_mean(score, self.scores)}"
            )
        return score

    def p_values(self, score: str) -> Tensor:
        r"""Return the p-value of each row: the share of inliers that are at least as unusual.

        \[ p = \frac{1 + \#\{j : s_j \ge s\}}{1 + n} \]

        \( s_j \) are the scores of n held-out rows. For a row from the distribution of the held-out
        rows, \( P(p \le \alpha) \le \alpha \), whatever the model. Of many rows, this fraction is
        rejected by chance: for 1,000 pictures, expect ten p-values below 0.01.

        Raises:
            SettingError: there is no such score.
        """
        inliers = self.inliers[self._known(score)].sort().values
        below = torch.searchsorted(inliers, self.scores[score].contiguous())
        return (1.0 + len(inliers) - below) / (1 + len(inliers))

    def auroc(self, score: str) -> Auroc:
        """Return the probability that a row has a higher score than a held-out row.

        Raises:
            SettingError: there is no such score.
            DataError: there are fewer than two rows.
        """
        return auroc(self.inliers[self._known(score)], self.scores[score])

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<OutlierScores of {len(self):,} rows: {', '.join(self.scores)}>"

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        return f"<pre>{html.escape(self.table())}</pre>"

    def table(self, rows: int = 10, *, by: str | None = None, width: int = 80) -> str:
        """Return the means and the AUROC of each score, and the most unusual rows.

        Arguments:
            rows: the largest number of rows to list.
            by: the score that selects and orders these rows. By default, `typicality`, or the first
                score if there is no typicality.
            width: the largest width in characters.

        Raises:
            SettingError: there is no such score.
        """
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False, show_edge=False)
        table.add_column("score", overflow="fold")
        for column in ("mean", "inliers", "AUROC", "95 % interval"):
            table.add_column(column, justify="right", no_wrap=True)
        for score, values in self.scores.items():
            area = ("", "")
            if len(self) > 1:
                result = self.auroc(score)
                area = f"{result.value:.3f}", f"{result.low:.3f} to {result.high:.3f}"
            inliers = self.inliers[score].mean()
            table.add_row(score, f"{values.mean():.5g}", f"{inliers:.5g}", *area)
            table.add_row(f"  {self.units[score]}")
        default = "typicality" if "typicality" in self.scores else next(iter(self.scores))
        by = self._known(default if by is None else by)
        p_values = self.p_values(by)
        order = self[by].argsort(descending=True, stable=True)[:rows].tolist()
        lines = [f"  {p_values[row]:.4f}  {printable(self.names[row])}" for row in order]
        file = io.StringIO()
        console = Console(file=file, width=width, color_system=None, legacy_windows=False)
        console.print(table, highlight=False)
        lines = [*file.getvalue().rstrip().splitlines(), "", f"p-value of {by}", *lines]
        return "\n".join(line.rstrip() for line in lines)

    def to_csv(self, path: str | Path) -> None:
        """Write a line for each row: its name, its scores, and their p-values.

        Raises:
            RunError: the file cannot be written.
        """
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", *self.scores, *(f"{score}_p_value" for score in self.scores)])
        for row in self:
            writer.writerow([row.name, *row.scores.values(), *row.p_values.values()])
        text = file.getvalue()
        # A file name need not be text; its bytes are written as they are.
        content = text.encode("utf-8", "surrogateescape")
        write_atomic(local_path(path, "path"), lambda temporary: temporary.write_bytes(content))
