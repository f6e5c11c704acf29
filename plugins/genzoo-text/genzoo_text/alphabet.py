"""Conversion between characters and symbol numbers.

A vocabulary is a string. The number of a symbol is the index of its character. Symbol 0 is the
padding at the end of a line, and symbol 1 stands for every character outside the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["MOST", "NAMELESS", "PADDING", "UNKNOWN", "decode", "encode", "points", "vocabulary_of"]

PADDING, UNKNOWN = "\u2400", "\ufffd"
"""The characters of the first two symbols: Unicode's null symbol and replacement character.

In a text, these two characters and the null character count as unknown.
"""
MOST = 256
"""The largest number of symbols, so that a symbol number fits into a byte."""
NAMELESS = "".join(map(chr, range(0x2800, 0x2800 + MOST)))
"""Characters for symbols without a vocabulary: Unicode's 256 braille patterns."""


def points(lines: Sequence[str], length: int) -> Any:
    """Return lines as code points, uint32 `(N, length)`, cut or padded with zeros to `length`."""
    clean = [line.replace("\0", UNKNOWN) for line in lines]
    return np.array(clean, dtype=f"<U{length}").view(np.uint32).reshape(len(lines), length)


def vocabulary_of(codes: Any, size: int) -> str:
    """Return the vocabulary of code points: padding, unknown, and the `size - 2` most frequent.

    Characters with the same frequency are in the order of their code points.
    """
    values, counts = np.unique(codes, return_counts=True)
    regular = ~np.isin(values, [0, ord(PADDING), ord(UNKNOWN)])
    values, counts = values[regular], counts[regular]
    order = np.lexsort((values, -counts))[: size - 2]
    return PADDING + UNKNOWN + "".join(map(chr, values[order]))


def encode(codes: Any, vocabulary: str) -> Any:
    """Return code points, `(N, length)`, as symbol numbers, uint8."""
    table = np.ones(0x110000, dtype=np.uint8)
    table[0] = 0
    table[[ord(character) for character in vocabulary[2:]]] = range(2, len(vocabulary))
    return table[codes]


def decode(symbols: Any, vocabulary: str) -> list[str]:
    """Return symbol numbers, `(N, length)`, as lines without the padding at their ends.

    Example:
        >>> symbols = encode(points(["ab", "b~"], length=4), PADDING + UNKNOWN + "ba")
        >>> symbols.tolist(), decode(symbols, PADDING + UNKNOWN + "ba")
        ([[3, 2, 0, 0], [2, 1, 0, 0]], ['ab', 'b�'])
    """
    return ["".join(row).rstrip(vocabulary[0]) for row in np.array(list(vocabulary))[symbols]]
