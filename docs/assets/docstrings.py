"""Adapt the reference pages to our docstrings.

`Example:` is code, and `References:` is a list. The attributes of a class are a list in its text
and have no headings. Overloads, which are for type checkers, are left out. Public names in
backticks are links. Internal bases of a class are left out.
"""

import re
import textwrap
from collections.abc import Container, Iterator
from pathlib import Path

import griffe

EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
REFERENCES = re.compile(r"^References:\n((?: {4}.*\n?)+)", re.MULTILINE)
RETURNS = re.compile(r"^Returns:\n((?: {4}.*\n?|\n)+)", re.MULTILINE)
ATTRIBUTES = re.compile(r"^Attributes:\n", re.MULTILINE)
SECTION = re.compile(r"^(Arguments|Returns|Yields|Raises|Examples?|References):$", re.MULTILINE)
ENTRY = re.compile(r"^::: (\S+)$", re.MULTILINE)
NAME = re.compile(r"(?<!\[)`(genzoo(?:\.\w+)+)`(?!\])")
PAGES = sorted((Path(__file__).parents[1] / "api").rglob("*.md"))
PUBLIC = {name for page in PAGES for name in ENTRY.findall(page.read_text(encoding="utf-8"))}


class Docstrings(griffe.Extension):
    """Rewrites docstrings before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.is_function:
            obj.overloads = None
        if obj.docstring:
            text = EXAMPLE.sub("Examples:", obj.docstring.value)
            text = REFERENCES.sub(as_list, text)
            obj.docstring.value = NAME.sub(as_link, text)
        if isinstance(obj, griffe.Class):
            obj.bases = list(shown_bases(obj))
            if obj.docstring:
                # the result of a call has no type in the docstring of a class
                obj.docstring.value = RETURNS.sub(as_text, obj.docstring.value)
                list_attributes(obj)


def as_list(section: re.Match[str]) -> str:
    """Return a bullet for each reference, with its deeper lines and its address."""
    lines = re.sub(r"^ {4}(?! |https?:)", "- ", section[1], flags=re.MULTILINE)
    return f"**References:**\n\n{re.sub(r'^ +', '  ', lines, flags=re.MULTILINE)}"


def as_link(name: re.Match[str]) -> str:
    """Return a link to the entry of a public name, and any other name unchanged."""
    return f"[{name[0]}][{name[1]}]" if name[1] in PUBLIC else name[0]


def as_text(section: re.Match[str]) -> str:
    """Return a section on what a call returns as text below a title."""
    return f"**Returns:**\n\n{textwrap.dedent(section[1])}"


def shown_bases(cls: griffe.Class) -> Iterator[str | griffe.Expr]:
    """Yield the bases of a class, without internal ones that have no constructor.

    The parameters of a constructor are those of the class, so griffe must find it.
    """
    for base in cls.bases:
        path = base if isinstance(base, str) else base.canonical_path
        name = path.rpartition(".")[2]
        is_public = any(entry.endswith(f".{name}") for entry in PUBLIC)
        if is_public or not path.startswith("genzoo.") or "__init__" in members(cls, path):
            yield base


def members(cls: griffe.Class, path: str) -> Container[str]:
    """Return the names in another class of the package."""
    try:
        return cls.modules_collection[path].members
    except (KeyError, griffe.AliasResolutionError):
        return ()


def list_attributes(cls: griffe.Object) -> None:
    """Move the docstrings of attributes into a section of the docstring of their class."""
    assert cls.docstring is not None
    items = []
    for name, member in cls.members.items():
        if name.startswith("_") or not member.is_attribute or not member.docstring:
            continue
        text = NAME.sub(as_link, member.docstring.value)
        if not SECTION.search(text):
            items.append(
                textwrap.indent(f"{name}: {textwrap.indent(text, '    ').lstrip()}", "    ")
            )
            member.docstring = None  # without a docstring, it has no heading
    if items:
        section = "Attributes:\n" + "\n".join(items) + "\n"
        text = cls.docstring.value
        if ATTRIBUTES.search(text):
            cls.docstring.value = ATTRIBUTES.sub(lambda _: section, text)
        else:
            cls.docstring.value = f"{text.rstrip()}\n\n{section}"
