"""The errors that genzoo raises, and the texts that they share.

All errors derive from `GenzooError`, so a program can catch them together, and the command line can
print each on one line. Every message names the thing that failed, its value, and what to do.
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


class GenzooError(Exception):
    """The base class of the errors that genzoo raises.

    Example:
        >>> import genzoo
        >>> try:
        ...     genzoo.load("vea")
        ... except GenzooError as error:
        ...     print(type(error).__name__, "|", error)
        SettingError | No model named 'vea'. Did you mean 'vae'?
    """


class SettingError(GenzooError, ValueError):
    """A name, a setting, or a value in a recipe, a table, or a constructor is wrong."""


class UnknownSettingError(SettingError):
    """A setting does not exist.

    Arguments:
        message: the sentence that names the owner and the setting.
        key: the name of the setting.
        value: the value of the setting.
        hint: the advice that follows the message.
        recipe: the whole recipe, if the setting is outside its sections.
    """

    def __init__(
        self, message: str, key: str, value: Any, hint: str, recipe: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{message}{hint}")
        self.message, self.key, self.value, self.recipe = message, key, value, recipe or {}
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.key, self.value, self.hint, self.recipe)


class PluginError(GenzooError):
    """A name is registered, but its plugin cannot be used."""


class DataError(GenzooError, ValueError):
    """A dataset is missing, damaged, or unsuitable."""


class MissingDataError(DataError):
    """The files of a dataset are not on this machine and cannot be downloaded."""


class RunError(GenzooError):
    """A run folder or a checkpoint cannot be written, read, or continued."""


class TrainingError(GenzooError):
    """Training cannot continue: a loss is not finite, or a model breaks the contract."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the nearest spellings, or all known names."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=2)
    if near:
        return f" Did you mean {' or '.join(map(repr, near))}?"
    return f" Known: {', '.join(known) or 'none'}."


def visible(text: str) -> str:
    r"""Return text in which the characters that would act on a terminal are escaped.

    These are control characters except newlines and tabs, marks that change the direction of text,
    and lone surrogates.

    Example:
        >>> print(visible("red \x1b[31m, a name \udcff, caf\xe9"))
        red \x1b[31m, a name \udcff, café
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_escaped(letter) if _is_active(letter) else letter for letter in text)


def printable(text: str) -> str:
    """Return text in which everything that does not print is escaped, including newlines."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def on_one_line(text: str) -> str:
    """Return text with its lines joined, so that it cannot look like several messages."""
    return " ".join(visible(text).split())


def describe(error: BaseException) -> str:
    """Return an error on one line: its type and message; of an `ImportError`, only the message."""
    try:
        message = printable(" ".join(str(error).split()))
    except Exception:  # a plugin's error class can fail, too
        message = ""
    if isinstance(error, ImportError) and message:
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _is_active(letter: str) -> bool:
    """Return whether a character acts on a terminal."""
    if letter in "\n\t":
        return False
    return letter in _BIDIRECTIONAL or unicodedata.category(letter) in _CONTROLS


def _escaped(letter: str) -> str:
    if ord(letter) > 127:
        return letter.encode("ascii", "backslashreplace").decode()
    return repr(letter)[1:-1]


class _ShortRepr(reprlib.Repr):
    """A `repr` that shortens long values and accepts integers that Python refuses to print."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 4, 80, 80, 40
        self.maxtuple = self.maxlist = self.maxdict = 12

    def repr_int(self, x: int, level: int) -> str:
        digits = x.bit_length() * 0.30103
        if digits < 1000:
            return super().repr_int(x, level)
        return f"<an integer of {digits:,.0f} digits>"


def shorten(text: str) -> str:
    """Return text without its middle if it has more than 80 characters."""
    return text if len(text) <= 80 else f"{text[:60]}...{text[-10:]}"


def show(value: Any) -> str:
    """Return a value as an error message shows it: on one line, and shortened if it is long.

    Text has double quotes, as in TOML.

    Example:
        >>> show("mog"), show(10**5000), show([1] * 20)
        ('"mog"', '<an integer of 5,000 digits>', '[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...]')
    """
    if isinstance(value, str):
        return json.dumps(shorten(value), ensure_ascii=False)
    return " ".join(_ShortRepr().repr(value).split())
