"""Put texts of unknown origin into Markdown so that they cannot end a block or begin another."""

from __future__ import annotations

import json
import re
from typing import Any

from genzoo.errors import printable, visible

__all__ = ["code", "escaped", "fenced", "quoted"]


def code(text: str) -> str:
    """Return text as an inline code span of Markdown, which no text can end.

    Example:
        >>> code("a `b` c")
        '`` a `b` c ``'
    """
    text = printable(text) or " "
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest or text != text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}"


def escaped(text: str) -> str:
    r"""Return text whose characters mean nothing to Markdown or HTML.

    Example:
        >>> escaped("<b> *x* [y](z)")
        '&lt;b> \\*x\\* \\[y\\](z)'
    """
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", text)


def fenced(text: str, language: str) -> str:
    """Return a fenced block, with a fence that is longer than any in the text."""
    text = visible(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def quoted(text: Any) -> str:
    """Return text as a string of JSON and YAML."""
    return json.dumps(printable(str(text)), ensure_ascii=False)
