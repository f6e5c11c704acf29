"""What genzoo says when it refuses: one family of errors, so that a program can catch it and the CLI can print one line.

Every message names the failing thing, its value and the way out.
"""

import difflib
import json
import reprlib
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "DataError",
    "GenzooError",
    "MissingDataError",
    "PluginError",
    "RunError",
    "SettingError",
    "TrainingError",
    "UnknownSettingError",
]

_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})


class GenzooError(ValueError):
    """Anything that genzoo refuses by name."""


class SettingError(GenzooError):
    """A name, a setting or a value in a recipe, a table or a constructor is wrong."""


class UnknownSettingError(SettingError):
    """A setting that its owner does not have.

    Arguments:
        message: who has no such setting.
        key: the setting's name.
        value: its value.
        hint: what to do, appended to the message.
        recipe: the recipe in which it stands, if it stands in none of its sections.
    """

    def __init__(
        self, message: str, key: str, value: Any, hint: str, recipe: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{message}{hint}")
        self.message, self.key, self.value, self.recipe = message, key, value, recipe or {}


class PluginError(GenzooError):
    """A registered name exists, but what it points to cannot be used."""


class DataError(GenzooError):
    """A data set is missing, damaged or unfit for what was asked."""


class MissingDataError(DataError):
    """The files of a dataset are not on this machine and cannot be downloaded."""


class RunError(GenzooError):
    """A run folder or a checkpoint cannot be written, read or continued."""


class TrainingError(GenzooError):
    """Training cannot go on: a loss is not finite, or a contract is broken."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The tail of an error message: the nearest spellings, or else all that is allowed."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=2)
    if near:
        return f" Did you mean {' or '.join(map(repr, near))}?"
    return f" Known: {', '.join(known) or 'none'}."


def visible(text: str) -> str:
    r"""Show what would act on a terminal as escapes; newlines and tabs stay.

    These are control characters, marks that reverse the direction of text, and lone surrogates.

    Example:
        >>> print(visible("red \x1b[31m, a name \udcff, caf\xe9"))
        red \x1b[31m, a name \udcff, café
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_escaped(letter) if _acts(letter) else letter for letter in text)


def printable(text: str) -> str:
    """Show everything that does not print, newlines included, as escapes: for words within a line."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def on_one_line(text: str) -> str:
    """Join the lines of a text, so that it cannot pass for several messages."""
    return " ".join(visible(text).split())


def _acts(letter: str) -> bool:
    return letter not in "\n\t" and (
        letter in _BIDIRECTIONAL or unicodedata.category(letter) in _CONTROLS
    )


def _escaped(letter: str) -> str:
    return (
        letter.encode("ascii", "backslashreplace").decode()
        if ord(letter) > 127
        else repr(letter)[1:-1]
    )


class _Short(reprlib.Repr):
    """Shortens what is long, and shows integers that Python refuses to write out."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 4, 80, 80, 40
        self.maxtuple = self.maxlist = self.maxdict = 12

    def repr_int(self, x: int, level: int) -> str:
        digits = x.bit_length() * 0.30103
        return (
            super().repr_int(x, level) if digits < 1000 else f"<an integer of {digits:,.0f} digits>"
        )


def shorten(text: str) -> str:
    """Return text with its middle left out if it has more than 80 characters."""
    return text if len(text) <= 80 else f"{text[:60]}...{text[-10:]}"


def show(value: Any) -> str:
    """Return a value as an error message shows it: on one line, shortened if it is long; text in double quotes, as in TOML.

    Example:
        >>> show("mog"), show(10**5000), show([1] * 20)
        ('"mog"', '<an integer of 5,000 digits>', '[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...]')
    """
    if isinstance(value, str):
        return json.dumps(shorten(value), ensure_ascii=False)
    return " ".join(_Short().repr(value).split())
