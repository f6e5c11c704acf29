"""Write generated text into pages of Markdown, between marks that readers do not see.

<!-- NAME -->

the generated text

<!-- end -->
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["fill", "fill_page", "names"]


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
