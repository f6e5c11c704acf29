"""Write generated text and tables into pages of Markdown, between marks that readers do not see.

<!-- NAME -->

the generated text

<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["fill", "fill_page", "names", "table"]


def names(text: str) -> list[str]:
    """Return the names of the marked parts of a text, in their order."""
    return re.findall(r"^<!-- (?!end -->)(.+) -->$", text, re.MULTILINE)


def fill(text: str, name: str, content: str) -> str:
    """Return a text with new content between the marks of a name, or as it is without them."""
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    part = re.compile(f"{re.escape(begin)}.*?{end}", re.DOTALL)
    return part.sub(lambda _: begin + "\n" + content.strip("\n") + "\n\n" + end, text)


def fill_page(page: Path, name: str, content: str) -> None:
    """Write content between the marks of a name on a page."""
    text = page.read_text(encoding="utf-8")
    page.write_text(fill(text, name, content), encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table with a left-aligned first column and right-aligned numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
