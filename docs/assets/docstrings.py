"""Adapt the reference pages to our docstrings.

`Example:` is code, and `References:` is a list.
"""

import re

import griffe

EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
REFERENCES = re.compile(r"^References:\n((?: {4}.*\n?)+)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites sections before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring:
            text = EXAMPLE.sub("Examples:", obj.docstring.value)
            obj.docstring.value = REFERENCES.sub(as_list, text)


def as_list(section: re.Match[str]) -> str:
    """Return a bullet for each reference, with its deeper lines and its address."""
    lines = re.sub(r"^ {4}(?! |https?:)", "- ", section[1], flags=re.MULTILINE)
    return f"**References:**\n\n{re.sub(r'^ +', '  ', lines, flags=re.MULTILINE)}"
