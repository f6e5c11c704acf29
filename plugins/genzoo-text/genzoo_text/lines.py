"""Datasets of lines of text. They store symbol numbers, and a model sees one-hot vectors."""

from __future__ import annotations

import codecs
import lzma
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le, Lt

from genzoo import Dataset
from genzoo.contract import Count, LocalPath
from genzoo.data.cache import read_at_most, unpacked
from genzoo.errors import DataError, MissingDataError
from genzoo.files import local_path
from genzoo_text.alphabet import MOST, encode, points, vocabulary_of

__all__ = ["WORD_LISTS", "lines", "python_help", "words"]

Longer = Literal["cut", "skip", "split"]
Size = Annotated[int, Ge(3), Le(MOST)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Seed = Annotated[int, Ge(0), Lt(2**32)]

_LONGEST = 1 << 30
"""The largest text, in bytes. A small compressed file can unpack to more than the memory."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""The marks at the beginning of a text, and their encodings."""
_MOST_NUL = 0.1
"""The share of NUL characters from which a text probably has another encoding."""
WORD_LISTS = ("/usr/share/dict/american-english", "/usr/share/dict/words")
"""The paths where `words` looks for a list of words."""


def lines(
    path: LocalPath,
    length: Count = 32,
    longer: Longer = "cut",
    vocabulary_size: Size = MOST,
    test_fraction: Fraction = 0.1,
    seed: Seed = 0,
    *,
    encoding: str | None = None,
) -> Dataset:
    """Return the lines of a text file as a dataset with one column.

    The column `x` is uint8 `(N, length)`, and a model sees each line as `(length, V)`. The file is
    plain, or compressed by gzip, bzip2, or xz.

    Spaces at the end of a line are removed, and empty lines are skipped. Shorter lines are padded
    with symbol 0. The vocabulary comes from the training lines, and symbol 1 replaces every other
    character.

    Copies of a line are either all in the training split or all held out, so no held-out line is
    used for training. No copy is removed.

    Arguments:
        path: the file.
        length: characters per example.
        longer: how to treat a longer line: `"cut"`, as the authors of WGAN-GP do; `"skip"`; or
            `"split"`, into examples of `length` characters and a shorter one.
        vocabulary_size: the largest number of symbols, including padding and unknown. The most
            frequent characters are kept.
        test_fraction: the held-out fraction of the different lines, rounded down.
        seed: the seed of the order and the split.
        encoding: the encoding of the text, such as "latin-1" or "utf-16-le". By default, that of
            its byte order mark, and UTF-8 without a mark.

    Raises:
        DataError: the file is missing, has another encoding, or has fewer than two different lines.

    Example:
        >>> lines("nowhere.txt")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: lines: nowhere.txt is not a file.
    """
    text = _read(path, encoding)
    return _dataset(text, length, longer, vocabulary_size, test_fraction, seed, name=path)


def words(
    length: Count = 32, vocabulary_size: Size = MOST, test_fraction: Fraction = 0.1, seed: Seed = 0
) -> Dataset:
    """Return the words of this machine's word list. Words longer than `length` are skipped.

    The list is `/usr/share/dict/american-english` or, if that is missing, `/usr/share/dict/words`.

    Arguments:
        length: as in `lines`.
        vocabulary_size: as in `lines`.
        test_fraction: as in `lines`.
        seed: as in `lines`.

    Raises:
        DataError: this machine does not have a word list.
    """
    path = next((path for path in WORD_LISTS if Path(path).is_file()), None)
    if path is None:
        raise MissingDataError(
            f"words: {' and '.join(WORD_LISTS)} do not exist; install Debian's package "
            'wamerican, or use the dataset "lines" with the path of another list.'
        )
    return _dataset(_read(path), length, "skip", vocabulary_size, test_fraction, seed, name="words")


def python_help(
    length: Count = 32, vocabulary_size: Size = MOST, test_fraction: Fraction = 0.1, seed: Seed = 0
) -> Dataset:
    """Return the text of Python's `help()` about the language, one example per part of a paragraph.

    Longer paragraphs are split as in `lines`. The text comes with Python and differs between its
    versions.

    Arguments:
        length: as in `lines`.
        vocabulary_size: as in `lines`.
        test_fraction: as in `lines`.
        seed: as in `lines`.

    Raises:
        DataError: this Python does not contain the text.

    Example:
        >>> python_help(length=16, vocabulary_size=40).shape
        (16, 40)
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise MissingDataError(
            f"python-help: this Python does not have pydoc_data ({error}); install its complete "
            "standard library."
        ) from error
    paragraphs = [
        " ".join(part.split()) for topic in sorted(topics) for part in topics[topic].split("\n\n")
    ]
    return _dataset(
        paragraphs, length, "split", vocabulary_size, test_fraction, seed, name="python-help"
    )


def _read(path: str, encoding: str | None = None) -> list[str]:
    """Return the lines of a text file."""
    file = local_path(path, "lines: path", DataError)
    if not file.is_file():
        raise MissingDataError(f"lines: {path} is not a file.")
    try:
        with unpacked(file) as opened:
            content = read_at_most(opened, _LONGEST + 1, file)
        if len(content) > _LONGEST:
            raise DataError(
                f"lines: {path} contains more than {_LONGEST / 2**30:g} GiB of text; use a part of "
                "it."
            )
        return _decode(bytes(content), path, encoding)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"lines: {path} cannot be read ({error}).") from error


def _decode(content: bytes, path: str, encoding: str | None) -> list[str]:
    """Return the lines of a text.

    Raises:
        DataError: the text has another encoding.
    """
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding or marked).removeprefix("\ufeff")
    except LookupError:
        raise DataError(
            f'lines: encoding = "{encoding}": Python has no such encoding; examples are utf-8, '
            "utf-16-le, and latin-1."
        ) from None
    except UnicodeDecodeError as error:
        where = f"byte {error.object[error.start]:#04x} at offset {error.start:,}"
        raise DataError(
            f"lines: {path} is not {encoding or marked}: {where} cannot be read ({error.reason}). "
            'Set encoding to the encoding of the file, such as "latin-1" or "utf-16-le".'
        ) from error
    if text.count("\0") > len(text) * _MOST_NUL:
        raise DataError(
            f"lines: decoded as {encoding or marked}, {path} has many NUL characters, so it "
            'probably has another encoding; set encoding, such as encoding = "utf-16-le".'
        )
    return text.split("\n")


def _dataset(
    text: Sequence[str],
    length: int,
    longer: Longer,
    vocabulary_size: int,
    test_fraction: float,
    seed: int,
    name: str,
) -> Dataset:
    """Return a dataset of lines; `lines` explains the arguments."""
    examples = [part for line in text for part in _fit(line.rstrip(), length, longer) if part]
    different = sorted(set(examples))
    if len(different) < 2:
        limit = f" of at most {length} characters" if longer == "skip" else ""
        raise DataError(
            f"{name} has {len(different)} different lines{limit}; at least two are needed."
        )
    # RandomState never changes its streams, so the split is the same in every version of NumPy.
    random = np.random.RandomState(seed)
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
    """Return a line as examples of at most `length` characters."""
    if longer == "split":
        return [line[i : i + length].strip() for i in range(0, len(line), length)]
    return [line[:length].rstrip()] if longer == "cut" or len(line) <= length else []
