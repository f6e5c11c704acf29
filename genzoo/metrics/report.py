"""The result of an evaluation: its measurements as a table, HTML, Markdown, and JSON."""

from __future__ import annotations

import html
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, overload

from genzoo.contract import Figure, Measurement
from genzoo.errors import SettingError, did_you_mean, printable
from genzoo.files import write_atomic, write_text
from genzoo.metrics.page import page
from genzoo.plots.files import as_html, save
from genzoo.plots.theme import can_plot

__all__ = ["Evaluation", "markdown_row"]

_COLUMNS = (
    "metric", "quantity", "value", "standard error", "floor", "n", "network", "better",
    "estimator", "split", "basis",
)  # fmt: skip


@dataclass(kw_only=True)
class Evaluation:
    """The measurements of a model.

    Iteration yields the measurements. `evaluation["frechet"]` returns the measurements of one
    metric, `evaluation["frechet", "distance"]` a single one. If several networks measure the same
    quantity, add the version of one: `evaluation["frechet", "distance", "pixels-v1"]`.

    Example:
        >>> row = Measurement(metric="frechet", quantity="distance", value=2.5, n=100)
        >>> evaluation = Evaluation(rows=(row,), n=100)
        >>> evaluation["frechet", "distance"].value, len(evaluation)
        (2.5, 1)
    """

    rows: tuple[Measurement, ...] = ()
    """The measurements."""
    n: int
    """The number of held-out examples, and of samples."""
    seed: int = 0
    """The seed of the evaluation."""
    data: str = ""
    """The name of the data."""
    skipped: dict[str, str] = field(default_factory=dict)
    """The metrics that failed -> the reason in one line."""
    figures: dict[str, Figure] = field(default_factory=dict, compare=False, repr=False)
    """The figures by name, such as `"samples"`. They are drawn by `save` and in a notebook."""
    model: str = field(default="", compare=False)
    """The name of the model's class."""
    notes: list[str] = field(default_factory=list, compare=False)
    """Sentences about the evaluation, such as how long a feature network was trained."""

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, key: str) -> tuple[Measurement, ...]: ...

    @overload
    def __getitem__(self, key: tuple[str, ...]) -> Measurement: ...

    def __getitem__(self, key: str | tuple[str, ...]) -> tuple[Measurement, ...] | Measurement:
        wanted = (key,) if isinstance(key, str) else tuple(key)
        keys = [(row.metric, row.quantity, row.network or "") for row in self.rows]
        rows = tuple(
            row
            for row, names in zip(self.rows, keys, strict=True)
            if names[: len(wanted)] == wanted
        )
        if not rows:
            options = sorted({" ".join(names[: len(wanted)]) for names in keys})
            hint = did_you_mean(" ".join(wanted), options)
            raise SettingError(f"No measurement is named {' '.join(wanted)!r}.{hint}")
        if isinstance(key, str):
            return rows
        if len(rows) > 1:
            raise SettingError(
                f"{key!r} names {len(rows)} measurements; add the network, one of "
                f"{', '.join(str(row.network) for row in rows)}."
            )
        return rows[0]

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Evaluation of {len(self)} measurements on {self.n:,} held-out examples>"

    def table(self, width: int = 80) -> str:
        """Return the measurements as plain text, at most `width` characters wide.

        The basis of a likelihood is below the name of its metric.
        """
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, pad_edge=False, show_edge=False)
        table.add_column("quantity", overflow="fold")
        for column in ("value", "std. error", "floor", "n", "better"):
            table.add_column(column, justify="right", no_wrap=True)
        title = None
        for row in self.rows:
            if title != (row.metric, row.network):
                title = (row.metric, row.network)
                table.add_row(escape(printable(", ".join(filter(None, title)))))
                same = [one for one in self.rows if (one.metric, one.network) == title]
                for basis in dict.fromkeys(one.basis for one in same if one.basis):
                    table.add_row(escape(printable(f"  basis: {basis}")))
            cells = _cells(row)
            table.add_row("  " + escape(printable(row.quantity)), *cells[2:6], cells[7])
        file = io.StringIO()
        console = Console(file=file, width=width, color_system=None, legacy_windows=False)
        console.print(table, highlight=False)
        return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())

    def to_markdown(self) -> str:
        """Return the measurements as a table in Markdown."""
        numbers = ("value", "standard error", "floor", "n")
        align = ["---:" if column in numbers else "---" for column in _COLUMNS]
        lines = [
            f"Measured on {self.n:,} held-out examples{f' of {self.data}' if self.data else ''}.",
            "",
            f"| {' | '.join(_COLUMNS)} |",
            f"| {' | '.join(align)} |",
        ]
        lines += [markdown_row(_cells(row)) for row in self.rows]
        if self.skipped or self.notes:
            lines.append("")
        lines += [f"- {name}: not measured. {reason}" for name, reason in self.skipped.items()]
        lines += [f"- {note}" for note in self.notes]
        for name, figure in self._drawable().items():
            lines += ["", f"![{figure.caption}]({name}.png)", "", figure.caption]
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """Return everything as strict JSON. Values that are not finite become strings."""
        content = {
            "data": self.data,
            "n": self.n,
            "seed": self.seed,
            "measurements": [
                {key: _strict(value) for key, value in asdict(row).items()} for row in self.rows
            ],
            "skipped": self.skipped,
            "notes": self.notes,
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    def _repr_html_(self) -> str:
        """Return the table and the figures for a notebook."""
        return self._html_table() + "".join(self._html_figures(self._pictures()).values())

    def to_html(self) -> str:
        """Return a page with the figures and the table. It loads nothing from elsewhere."""
        return self._page(self._pictures())

    def _page(self, pictures: Mapping[str, Any]) -> str:
        title = " on ".join(filter(None, (self.model or "Samples", self.data)))
        notes = [f"{name}: not measured. {reason}" for name, reason in self.skipped.items()]
        return page(
            title,
            f"Measured on {self.n:,} held-out examples. The floor is the same quantity for real "
            "data, or by chance.",
            self._html_table(),
            self._html_figures(pictures),
            [*notes, *self.notes],
        )

    def _html_table(self) -> str:
        """Return the table in HTML, with a heading for each metric and network."""
        columns = zip(*map(_cells, self.rows), strict=True)
        used = [name for name, cells in zip(_COLUMNS, columns, strict=False) if any(cells)]
        shown = [name for name in used if name not in ("metric", "network", "basis")]
        head = "".join(f'<th scope="col">{name}</th>' for name in shown)
        body, title = "", None
        for row in self.rows:
            if title != (row.metric, row.network, row.basis):
                title = (row.metric, row.network, row.basis)
                text = html.escape(printable(", ".join(filter(None, title))))
                body += f'<tr><th scope="rowgroup" colspan="{len(shown)}">{text}</th></tr>'
            cells = dict(zip(_COLUMNS, _cells(row), strict=True))
            texts = (html.escape(printable(cells[name])) for name in shown)
            body += "<tr>" + "".join(f"<td>{text}</td>" for text in texts) + "</tr>"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _html_figures(self, pictures: Mapping[str, Any]) -> dict[str, str]:
        return {name: as_html(one, self.figures[name].caption) for name, one in pictures.items()}

    def save(self, folder: str | Path) -> list[Path]:
        """Write `evaluation.json`, `.md`, and `.html`, and the figures into a folder.

        Figures are PNG files, and plots also SVG files. Without matplotlib, plots are left out.

        Returns:
            The paths of the files.
        """
        written = []
        pictures = self._pictures()
        texts = {"json": self.to_json(), "md": self.to_markdown(), "html": self._page(pictures)}
        for name, text in texts.items():
            written.append(Path(folder) / f"evaluation.{name}")
            write_text(written[-1], text)
        for name, picture in pictures.items():
            write = partial(save, picture)
            for suffix in ("png", "svg") if self.figures[name].is_plot else ("png",):
                written.append(Path(folder) / f"{name}.{suffix}")
                write_atomic(written[-1], write)
        return written

    def _pictures(self) -> dict[str, Any]:
        """Draw the figures. Without matplotlib, plots are left out."""
        return {name: figure.draw() for name, figure in self._drawable().items()}

    def _drawable(self) -> dict[str, Figure]:
        """Return the figures that can be drawn on this machine."""
        has_plots = can_plot()
        return {name: one for name, one in self.figures.items() if has_plots or not one.is_plot}


def markdown_row(cells: Iterable[str]) -> str:
    """Return a row of a table in Markdown."""
    escaped = (printable(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _cells(row: Measurement) -> tuple[str, ...]:
    """Return a measurement as the cells of a table; unknown ones are empty."""
    better = {True: "higher", False: "lower", None: ""}[row.higher_is_better]
    return (
        row.metric,
        row.quantity,
        f"{row.value:.6g}",
        *("" if number is None else f"{number:.4g}" for number in (row.standard_error, row.floor)),
        f"{row.n:,}",
        row.network or "",
        better,
        row.estimator or "",
        row.split,
        row.basis or "",
    )


def _strict(value: Any) -> Any:
    """Return a value that JSON can express."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
