"""Tells the reference pages that a docstring's `Example:` is code, as they know it of `Examples:`."""

import re

import griffe


class Doctests(griffe.Extension):
    """Renames the section before docstrings are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
