"""Characters as symbol numbers and back: a vocabulary is a string, in which a symbol's number is its character's place.

Symbol 0 is the padding that fills a line up to its length, symbol 1 stands for every character that has no symbol of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

PADDING, UNKNOWN = "\u2400", "\ufffd"
"""How the first two symbols are written: as Unicode's picture of a null, and its replacement character. In a text these two, and
the null itself, count as unknown."""
MOST = 256
"""How many symbols a byte can number."""
NAMELESS = "".join(map(chr, range(0x2800, 0x2800 + MOST)))
"""Pictures of symbols that have no vocabulary: Unicode's 256 braille patterns."""


def points(lines: Sequence[str], length: int) -> Any:
    """Lines as code points, uint32 `(N, length)`: what is longer is cut, what is shorter filled up with zeros."""
    clean = [line.replace("\0", UNKNOWN) for line in lines]
    return np.array(clean, dtype=f"<U{length}").view(np.uint32).reshape(len(lines), length)


def vocabulary_of(codes: Any, size: int) -> str:
    """The vocabulary of some code points: padding, unknown, and the `size - 2` most frequent characters; ties by code point."""
    found, counts = np.unique(codes, return_counts=True)
    own = ~np.isin(found, [0, ord(PADDING), ord(UNKNOWN)])
    found, counts = found[own], counts[own]
    order = np.lexsort((found, -counts))[: size - 2]
    return PADDING + UNKNOWN + "".join(map(chr, found[order]))


def encode(codes: Any, vocabulary: str) -> Any:
    """Code points `(N, length)` as symbol numbers, uint8."""
    table = np.ones(0x110000, dtype=np.uint8)
    table[0] = 0
    table[[ord(character) for character in vocabulary[2:]]] = range(2, len(vocabulary))
    return table[codes]


def decode(symbols: Any, vocabulary: str) -> list[str]:
    """Symbol numbers `(N, length)` as lines, without the padding at their ends.

    Example:
        >>> symbols = encode(points(["ab", "b~"], length=4), PADDING + UNKNOWN + "ba")
        >>> symbols.tolist(), decode(symbols, PADDING + UNKNOWN + "ba")
        ([[3, 2, 0, 0], [2, 1, 0, 0]], ['ab', 'b�'])
    """
    return ["".join(row).rstrip(vocabulary[0]) for row in np.array(list(vocabulary))[symbols]]
