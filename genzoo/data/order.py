"""The order of the rows in an epoch: a pure function of a key, computed where it is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.distributed.random_state import seed_for

__all__ = ["BlockOrder", "Permutation", "epoch_order", "random_rows"]

_TABLE = 2**16
"""The length up to which a permutation is drawn as a whole."""
_ROUNDS = 8
"""The number of rounds of the Feistel network."""
_WINDOW = 256
"""The number of blocks whose rows are mixed."""
_LARGEST_BLOCK = 1024
"""The largest number of rows of a block; larger blocks are divided."""
_DRAWN_AS_A_WHOLE = 2**26
"""The number of rows up to which random rows come from a permutation of all rows."""


class Permutation:
    r"""A random permutation of \(0, \dots, n - 1\) whose entries are computed one by one.

    Up to 65,536 entries are drawn as a whole, and all permutations are equally likely. A longer
    permutation is a Feistel network on pairs of numbers below \(2^h\), \(n \le 4^h\), with eight
    rounds \((l, r) \mapsto (r, l \oplus f_k(r))\). It is applied again to results of n or more
    (cycle walking). Memory does not grow with n.

    Arguments:
        n: the number of entries, at least 1.
        key: the key, as for `seed_for`.

    References:
        M. Luby, C. Rackoff, "How to Construct Pseudorandom Permutations from Pseudorandom
        Functions", SIAM Journal on Computing 17 (1988). J. Black, P. Rogaway, "Ciphers with
        Arbitrary Finite Domains", CT-RSA 2002 (cycle walking).

    Example:
        >>> permutation = Permutation(10**12, "key")
        >>> entry = permutation(np.array([7]))
        >>> 0 <= int(entry[0]) < 10**12, permutation.position(int(entry[0]))
        (True, 7)
    """

    def __init__(self, n: int, *key: object) -> None:
        self.n = n
        self.table: Any = None
        if n <= _TABLE:
            generator = torch.Generator().manual_seed(seed_for(*key))
            self.table = torch.randperm(n, generator=generator).numpy()
        self.half = np.uint64(-(-(n - 1).bit_length() // 2))
        self.mask = np.uint64((1 << int(self.half)) - 1)
        self.keys = [np.uint64(seed_for(*key, i)) for i in range(_ROUNDS)]

    def __call__(self, positions: Any) -> Any:
        """Return the entries at positions, int64 `(k,)`."""
        if self.table is not None:
            return self.table[positions]
        return self._walk(positions, self.keys, swapped=False)

    def position(self, entry: int) -> int:
        """Return the position of an entry."""
        if self.table is not None:
            return int(np.flatnonzero(self.table == entry)[0])
        return int(self._walk(np.array([entry]), self.keys[::-1], swapped=True)[0])

    def _walk(self, numbers: Any, keys: list[Any], *, swapped: bool) -> Any:
        """Apply the network until all results are below n."""
        result = self._network(np.asarray(numbers, dtype=np.uint64), keys, swapped=swapped)
        while (outside := result >= self.n).any():
            result[outside] = self._network(result[outside], keys, swapped=swapped)
        return result.astype(np.int64)

    def _network(self, numbers: Any, keys: list[Any], *, swapped: bool) -> Any:
        left, right = numbers >> self.half, numbers & self.mask
        if swapped:
            left, right = right, left
        for key in keys:
            left, right = right, left ^ (_mix(right ^ key) & self.mask)
        if swapped:
            left, right = right, left
        return (left << self.half) | right


def _mix(x: Any) -> Any:
    """Return a hash of each number: the finalizer of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class BlockOrder:
    """A random order of rows in which neighboring positions come from few blocks.

    The rows are divided into blocks of neighbors. The blocks come in random order, and the rows of
    256 blocks at a time are mixed. With up to 256 blocks, this is a random permutation of all rows.
    A slice is a tensor; only the mixed rows around it are kept in memory.

    Arguments:
        rows: the number of rows.
        block: the number of rows of a block. Blocks of more than 1,024 rows are divided.
        key: the key, as for `seed_for`.

    Example:
        >>> order = BlockOrder(10**9, 500, "key")
        >>> order[10**8 : 10**8 + 5].shape
        torch.Size([5])
    """

    def __init__(self, rows: int, block: int, *key: object) -> None:
        self.rows, self.key = rows, key
        self.block = min(block, _LARGEST_BLOCK)
        self.count = -(-rows // self.block)
        self.blocks = Permutation(self.count, *key, "blocks")
        self.missing = self.count * self.block - rows
        """The number of rows that the last block has less than others."""
        self.short = self.blocks.position(self.count - 1)
        """The position of this block."""
        self._last: tuple[int, Tensor] | None = None

    def __getitem__(self, positions: slice) -> Tensor:
        begin, end, _ = positions.indices(self.rows)
        parts = [torch.empty(0, dtype=torch.int64)]
        window = begin // (_WINDOW * self.block)
        # the windows after the short block begin earlier, by less than a block
        window += self._begin(window + 1) <= begin
        while self._begin(window) < end:
            offset = self._begin(window)
            parts.append(self._mixed(window)[max(0, begin - offset) : end - offset])
            window += 1
        return torch.cat(parts)

    def _begin(self, window: int) -> int:
        """Return the first position of a window."""
        blocks = min(window * _WINDOW, self.count)
        return blocks * self.block - (self.missing if self.short < blocks else 0)

    def _mixed(self, window: int) -> Tensor:
        """Return the rows of a window."""
        if self._last is None or self._last[0] != window:
            begin = window * _WINDOW
            blocks = self.blocks(np.arange(begin, min(begin + _WINDOW, self.count)))
            numbers = (blocks[:, None] * self.block + np.arange(self.block)).reshape(-1)
            numbers = numbers[numbers < self.rows]
            generator = torch.Generator().manual_seed(seed_for(*self.key, "window", window))
            mixed = torch.from_numpy(numbers)[torch.randperm(len(numbers), generator=generator)]
            self._last = window, mixed
        return self._last[1]


def epoch_order(rows: int, block: int | None, *key: object) -> Tensor | BlockOrder:
    """Return the order of the rows in one epoch, which is read in slices.

    Arguments:
        rows: the number of rows.
        block: the number of neighboring rows that are cheap to read together, or None.
        key: the key, as for `seed_for`.
    """
    if block is not None:
        return BlockOrder(rows, block, *key)
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed_for(*key)))


def random_rows(rows: int, n: int, *key: object) -> Tensor:
    """Return the numbers of n different random rows, in increasing order.

    Arguments:
        rows: the number of rows to choose from.
        n: the number of rows to choose.
        key: the key, as for `seed_for`.

    Example:
        >>> random_rows(10**12, 3, "key").shape
        torch.Size([3])
    """
    if rows <= _DRAWN_AS_A_WHOLE:
        generator = torch.Generator().manual_seed(seed_for(*key))
        return torch.randperm(rows, generator=generator)[:n].sort().values
    return torch.from_numpy(np.sort(Permutation(rows, *key)(np.arange(min(n, rows)))))
