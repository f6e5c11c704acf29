import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genzoo.contract.dataset import Dataset
from genzoo.data.order import BlockOrder, Permutation, epoch_order, random_rows
from genzoo.data.stream import Stream

CPU = torch.device("cpu")


class Numbers:
    """A column of row numbers that exist only when they are read."""

    dtype = np.dtype(np.int64)

    def __init__(self, rows, block):
        self.shape, self.block = (rows, 1), block

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        assert (np.diff(rows) > 0).all()
        return rows[:, None]


@pytest.mark.parametrize("n", [1, 2, 3, 1000, 2**16, 2**16 + 1, 100_003])
def test_a_permutation_has_each_number_once(n):
    permutation = Permutation(n, "key", n)
    entries = permutation(np.arange(n))
    assert np.array_equal(np.sort(entries), np.arange(n))
    for position in {0, n // 3, n - 1}:
        assert permutation.position(int(entries[position])) == position
    assert n < 1000 or not np.array_equal(entries, Permutation(n, "other", n)(np.arange(n)))


def test_a_long_permutation_looks_random():
    """Chi-squared tests of the pairs (tenth of the position, tenth of the entry), 81 degrees."""
    n = 200_000
    for key in range(3):
        entries = Permutation(n, key)(np.arange(n))
        table = np.histogram2d(np.arange(n), entries, bins=10)[0]
        expected = n / 100
        assert 40 < ((table - expected) ** 2 / expected).sum() < 140  # p = 1e-4 each
        differences = np.diff(entries)
        # neighbors stay neighbors about twice in a random permutation
        assert (np.abs(differences) == 1).sum() < 15


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 3000),
    block=st.integers(1, 7),
    pieces=st.lists(st.integers(0, 3000), max_size=6),
)
def test_an_epoch_by_blocks_has_each_row_once(rows, block, pieces):
    cuts = sorted({0, rows, *(piece for piece in pieces if piece < rows)})
    order = BlockOrder(rows, block, "key")
    parts = [order[begin:end] for begin, end in itertools.pairwise(cuts)]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(rows))
    # any slice is the same without those before it
    assert all(
        torch.equal(BlockOrder(rows, block, "key")[begin:end], part)
        for (begin, end), part in zip(itertools.pairwise(cuts), parts, strict=True)
    )


def test_a_window_mixes_256_blocks():
    order = BlockOrder(256 * 4 * 3, 4, "key")[:]
    windows = [set((part // 4).tolist()) for part in order.split(256 * 4)]
    assert [len(blocks) for blocks in windows] == [256, 256, 256]
    assert len(set.union(*windows)) == 3 * 256
    assert not torch.equal(order, BlockOrder(256 * 4 * 3, 4, "other")[:])


def test_few_blocks_are_a_full_permutation():
    """Over many keys, all rows are first equally often (chi-squared, 19 degrees of freedom)."""
    firsts = [int(BlockOrder(20, 3, key)[0:1]) for key in range(2000)]
    counts = np.bincount(firsts, minlength=20)
    assert ((counts - 100) ** 2 / 100).sum() < 50.8  # p = 1e-4


def test_rows_stored_by_class_are_mixed_almost_as_by_a_full_permutation():
    """Batches of 128 from windows of 256 pure blocks have 1 + 128 / 256 times the variance."""
    rows, block, batch = 256 * 32 * 8, 32, 128
    classes = np.arange(rows) * 10 // rows

    def variance(order):
        shares = [
            np.bincount(classes[part.numpy()], minlength=10) / batch
            for part in order[:].split(batch)
        ]
        return np.var(shares, axis=0).mean()

    by_blocks = np.mean([variance(BlockOrder(rows, block, key)) for key in range(4)])
    full = np.mean([variance(epoch_order(rows, None, key)) for key in range(4)])
    expected = 0.1 * 0.9 / batch
    assert full == pytest.approx(expected, rel=0.1)
    assert by_blocks == pytest.approx(expected * 1.5, rel=0.2)


@pytest.mark.parametrize("block", [1, 700, 5000])
def test_a_billion_rows_need_little_memory(block):
    data = Dataset({"x": Numbers(10**9, block)})
    tracemalloc.start()
    stream = Stream(data, ("x",), 100, seed=0, device=CPU)
    batches = [next(stream.batches(start)) for start in (0, 123_456_789, 9_999_999, 10**7)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
    assert len({int(row) for batch in batches for row in batch}) == 400
    assert all(0 <= int(batch.min()) <= int(batch.max()) < 10**9 for batch in batches)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("workers", [0, 1])
def test_ranks_read_their_rows_of_the_blocks(size, workers):
    data = Dataset({"x": Numbers(3000, 8)})
    stream = {"seed": 0, "device": CPU, "size": size}
    whole = Stream(data, ("x",), 200, seed=0, device=CPU).batches(13)
    expected = torch.stack([*itertools.islice(whole, 6)])
    # an epoch has 15 batches, so these are of two epochs
    parts = [
        torch.stack(
            [
                *itertools.islice(
                    Stream(data, ("x",), 200, rank=rank, workers=workers, **stream).batches(13), 6
                )
            ]
        )
        for rank in range(size)
    ]
    assert torch.equal(torch.cat(parts, dim=1), expected)
    if workers == 0:
        whole_epoch = Stream(data, ("x",), 200, **{**stream, "size": 1}).batches(15)
        rows = torch.cat([*itertools.islice(whole_epoch, 15)]).flatten()
        assert sorted(rows.tolist()) == list(range(3000))


def test_columns_of_a_group_share_the_order_of_blocks():
    data = Dataset({"x": Numbers(3000, 8), "y": torch.arange(3000)})
    both = next(Stream(data, ("x", "y"), 100, seed=0, device=CPU).batches(5))
    assert torch.equal(both["x"][:, 0], both["y"])
    # the order does not depend on the columns that are read
    alone = next(Stream(data, ("y",), 100, seed=0, device=CPU).batches(5))
    assert torch.equal(alone, both["y"])


def test_columns_without_blocks_keep_their_order():
    """The first batch of an epoch, as recorded before blocks existed."""
    data = Dataset({"x": torch.arange(10.0)[:, None]})
    batch = next(Stream(data, ("x",), 5, seed=0, device=CPU).batches(3))
    assert batch.flatten().tolist() == RECORDED


RECORDED = [3.0, 0.0, 5.0, 9.0, 6.0]


def test_random_rows_of_very_many():
    few = random_rows(100, 10, "key")
    assert torch.equal(few, random_rows(100, 10, "key"))
    assert len(set(few.tolist())) == 10
    many = random_rows(10**12, 10_000, "key").double() / 10**12
    assert (many.diff() > 0).all()
    assert float(many.mean()) == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / 10_000))
