"""What genzoo says when it refuses: one family of errors, so that a program can catch it and the CLI can print one line.

Every message names the failing thing, its value and the way out.
"""

import difflib
from collections.abc import Iterable


class GenzooError(ValueError):
    """Anything that genzoo refuses by name."""


class SettingError(GenzooError):
    """A name, a setting or a value in a recipe, a table or a constructor is wrong."""


class PluginError(GenzooError):
    """A registered name exists, but what it points to cannot be used."""


class DataError(GenzooError):
    """A data set is missing, damaged or unfit for what was asked."""


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
