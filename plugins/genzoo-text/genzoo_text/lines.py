"""Data sets of lines of text, each an example: symbol numbers, which a model sees as one-hot vectors."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le, Lt

from genzoo import Dataset
from genzoo.contract import Count
from genzoo.data.cache import read_at_most, unpacked
from genzoo.errors import DataError, MissingDataError
from genzoo.files import local_path
from genzoo_text.alphabet import MOST, encode, points, vocabulary_of

Longer = Literal["cut", "skip", "split"]
Size = Annotated[int, Ge(3), Le(MOST)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Seed = Annotated[int, Ge(0), Lt(2**32)]

_LONGEST = 1 << 30
"""Bytes of text that are read: a small compressed file can hold more than the memory."""
WORD_LISTS = ("/usr/share/dict/american-english", "/usr/share/dict/words")


def lines(
    path: str,
    length: Count = 32,
    longer: Longer = "cut",
    vocabulary_size: Size = MOST,
    test_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Dataset:
    """The lines of a text file, one an example: column `x`, uint8 `(N, length)`, that a model sees as `(length, V)`.

    The text is UTF-8, plain or compressed by gzip. Blanks at the end of a line and empty lines do not count. Shorter lines are
    filled up with the padding symbol, number 0. The vocabulary is that of the training lines; what is not in it is the unknown
    symbol, number 1.

    Equal lines are all in the training split or all held out, so that no held-out line was trained on; none is removed.

    Arguments:
        path: the file.
        length: characters of an example.
        longer: what becomes of a longer line: `"cut"`, as the authors of WGAN-GP do; `"skip"`; or `"split"`, into examples of
            `length` characters and a rest.
        vocabulary_size: symbols at most, padding and unknown among them: the most frequent characters.
        test_fraction: how much of the different lines is held out, rounded down.
        seed: of the order and the split.

    Raises:
        DataError: no such file, one that is not UTF-8, or one with fewer than two different lines.

    Example:
        >>> lines("nowhere.txt")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: lines: nowhere.txt is not a file.
    """
    return _dataset(_read(path), length, longer, vocabulary_size, test_fraction, seed, name=path)


def words(
    length: Count = 32, vocabulary_size: Size = MOST, test_fraction: Fraction = 0.1, seed: Seed = 0
) -> Dataset:
    """The words of this machine's list, `/usr/share/dict/american-english` or else `words`; longer ones are left out.

    Arguments:
        length: as in `lines`.
        vocabulary_size: as in `lines`.
        test_fraction: as in `lines`.
        seed: as in `lines`.

    Raises:
        DataError: there is no list of words.
    """
    path = next((path for path in WORD_LISTS if Path(path).is_file()), None)
    if path is None:
        raise MissingDataError(
            f"words: there is no {' or '.join(WORD_LISTS)}; install Debian's package wamerican, "
            'or take the data set "lines" with a path of your own.'
        )
    return _dataset(_read(path), length, "skip", vocabulary_size, test_fraction, seed, name="words")


def python_help(
    length: Count = 32, vocabulary_size: Size = MOST, test_fraction: Fraction = 0.1, seed: Seed = 0
) -> Dataset:
    """The text that Python's `help()` has about the language, from the running Python: paragraphs, split as in `lines`.

    It comes with every Python and differs from version to version.

    Arguments:
        length: as in `lines`.
        vocabulary_size: as in `lines`.
        test_fraction: as in `lines`.
        seed: as in `lines`.

    Raises:
        DataError: this Python came without it.

    Example:
        >>> python_help(length=16, vocabulary_size=40).shape
        (16, 40)
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise MissingDataError(
            f"python-help: this Python has no pydoc_data ({error}); install its whole standard library."
        ) from error
    paragraphs = [
        " ".join(part.split()) for topic in sorted(topics) for part in topics[topic].split("\n\n")
    ]
    return _dataset(
        paragraphs, length, "split", vocabulary_size, test_fraction, seed, name="python-help"
    )


def _read(path: str) -> list[str]:
    file = local_path(path, "lines: path", DataError)
    if not file.is_file():
        raise MissingDataError(f"lines: {path} is not a file.")
    try:
        with unpacked(file) as opened:
            content = read_at_most(opened, _LONGEST + 1, file)
        if len(content) > _LONGEST:
            raise DataError(
                f"lines: {path} holds more than {_LONGEST / 2**30:g} GiB of text; use a part of it."
            )
        return content.decode().removeprefix("\ufeff").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"lines: {path} is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start:,} cannot be read "
            f"({error.reason}); convert it, as by iconv -f latin1 -t utf-8."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"lines: {path} cannot be read ({error}).") from error


def _dataset(
    text: Sequence[str],
    length: int,
    longer: Longer,
    vocabulary_size: int,
    test_fraction: float,
    seed: int,
    name: str,
) -> Dataset:
    examples = [part for line in text for part in _fit(line.rstrip(), length, longer) if part]
    different = sorted(set(examples))
    if len(different) < 2:
        there = f"{len(different)} different lines" + (
            f" of at most {length} characters" if longer == "skip" else ""
        )
        raise DataError(f"{name}: there are {there}, and two are needed at least.")
    random = np.random.RandomState(seed)  # numpy freezes its streams: the same split for ever
    chosen = random.permutation(len(different))[: int(len(different) * test_fraction)]
    held_out = {different[i] for i in chosen}
    shuffled = [examples[i] for i in random.permutation(len(examples))]
    train = points([line for line in shuffled if line not in held_out], length)
    vocabulary = vocabulary_of(train, vocabulary_size)
    test = {}
    if held_out:
        test["x"] = encode(
            points([line for line in shuffled if line in held_out], length), vocabulary
        )
    return Dataset(
        {"x": encode(train, vocabulary)},
        test,
        symbols=len(vocabulary),
        metadata={"vocabulary": vocabulary},
        name=name,
    )


def _fit(line: str, length: int, longer: Longer) -> list[str]:
    """A line as examples of at most `length` characters."""
    if longer == "split":
        return [line[i : i + length].strip() for i in range(0, len(line), length)]
    return [line[:length].rstrip()] if longer == "cut" or len(line) <= length else []
