"""Adapt the reference pages to our docstrings: `Example:` is code, `References:` is a list."""

import re

import griffe

REFERENCES = re.compile(r"^References:\n((?: {4}.*\n?)+)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites sections before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = REFERENCES.sub(as_list, text)


def as_list(section: re.Match[str]) -> str:
    """A bullet for each reference; an address, or a deeper line, goes on with the one before."""
    lines = re.sub(r"^ {4}(?! |https?:)", "- ", section[1], flags=re.MULTILINE)
    return f"**References:**\n\n{re.sub(r'^ +', '  ', lines, flags=re.MULTILINE)}"
