"""A page in HTML of an evaluation, which loads nothing from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from genzoo.errors import printable

__all__ = ["page"]

_FIRST = ("samples", "interpolation", "reconstructions", "latent-codes")
"""The figures above the table."""
_STYLE = """
:root { color-scheme: light dark; --line: #8886; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 0 auto; padding: 1rem; }
h1 { line-height: 1.2; margin: 1rem 0 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr));
  gap: 1.5rem; align-items: start; }
figure { margin: 0; }
.wide figure:first-child { grid-column: 1 / -1; }
.wide figure:first-child img { max-width: 100%; }
figure img { display: block; width: 100%; max-width: 40rem; background: #fff; border-radius: 4px;
  box-sizing: border-box; padding: 4px; }
figcaption { font-size: 0.9rem; margin-top: 0.3rem; }
.table { overflow-x: auto; margin: 2rem 0; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.2rem 0.6rem; white-space: nowrap; }
th { padding-top: 0.7rem; border-bottom: 1px solid var(--line); }
td:nth-child(n+2):nth-child(-n+5), th:nth-child(n+2):nth-child(-n+5) { text-align: right; }
"""


def page(
    title: str, summary: str, table: str, figures: Mapping[str, str], notes: Sequence[str] = ()
) -> str:
    """Return a page.

    Arguments:
        title: the heading.
        summary: a sentence below it.
        table: the table, in HTML.
        figures: name -> figure, in HTML. Those of samples and latent codes are above the table.
        notes: sentences at the end.

    Example:
        >>> text = page("VAE", "Measured.", "<table></table>", {"samples": "<figure></figure>"})
        >>> text.splitlines()[0]
        '<!doctype html>'
    """
    first = [figure for name, figure in figures.items() if name in _FIRST]
    rest = [figure for name, figure in figures.items() if name not in _FIRST]
    lines = [f"<li>{_escaped(note)}</li>" for note in notes]
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_escaped(title)}</title>",
        f"<style>{_STYLE}</style></head>",
        f"<body><h1>{_escaped(title)}</h1>",
        f"<p>{_escaped(summary)}</p>",
        f'<div class="wide figures">{"".join(first)}</div>',
        f'<div class="table" role="region" aria-label="Measurements" tabindex="0">{table}</div>',
        f'<div class="figures">{"".join(rest)}</div>',
        f"<ul>{''.join(lines)}</ul>" if lines else "",
        "</body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _escaped(text: str) -> str:
    return html.escape(printable(text))
