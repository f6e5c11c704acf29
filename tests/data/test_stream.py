import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genzoo.contract.dataset import Dataset
from genzoo.data.stream import Stream, once
from genzoo.distributed import emulate_rank
from genzoo.errors import DataError, SettingError

CPU = torch.device("cpu")


def numbered(rows, **settings):
    """Return a dataset whose rows contain their index."""
    return Dataset({"x": torch.arange(rows, dtype=torch.float32)[:, None]}, **settings)


def take(n, dataset, inputs=("x",), batch_size=4, start=0, **settings):
    stream = Stream(dataset, inputs, batch_size, **{"seed": 0, "device": CPU, **settings})
    return list(itertools.islice(stream.batches(start), n))


def rows_in(batches):
    return [int(row) for batch in batches for row in batch]


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), data=st.data(), seed=st.integers(0, 2**40))
def test_an_epoch_is_a_permutation_without_the_incomplete_batch(rows, data, seed):
    size = data.draw(st.integers(1, rows))
    per_epoch = rows // size
    batches = take(3 * per_epoch, numbered(rows), batch_size=size, seed=seed)
    for epoch in range(3):
        seen = rows_in(batches[epoch * per_epoch : (epoch + 1) * per_epoch])
        assert len(set(seen)) == len(seen) == per_epoch * size
        assert set(seen) <= set(range(rows))


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, 60), seed=st.integers(0, 3))
def test_a_batch_is_a_function_of_its_number(start, seed):
    whole = take(65, numbered(22), seed=seed)
    assert rows_in(take(5, numbered(22), seed=seed, start=start)) == rows_in(
        whole[start : start + 5]
    )


def test_epochs_and_seeds_differ():
    a, b = rows_in(take(10, numbered(40))), rows_in(take(10, numbered(40), seed=1))
    assert a != b
    assert a != rows_in(take(10, numbered(40), start=10))
    assert sorted(a) == sorted(b) == list(range(40))


def test_the_order_is_uniform():
    """Over many seeds, all rows are first equally often (chi-squared, 9 degrees of freedom)."""
    counts = np.bincount(
        [rows_in(take(1, numbered(10), batch_size=1, seed=seed))[0] for seed in range(1000)],
        minlength=10,
    )
    assert ((counts - 100) ** 2 / 100).sum() < 33.7  # p = 1e-4


def test_paired_columns_share_an_order_and_unpaired_ones_do_not():
    a, b = torch.arange(12.0)[:, None], torch.arange(8.0)[:, None]
    data = Dataset({"a": a, "y": torch.arange(12), "b": b}, groups=(("a", "y"), ("b",)))
    batches = take(12, data, ("a", "y", "b"), batch_size=4)
    assert list(batches[0]) == ["a", "y", "b"]
    assert all(torch.equal(batch["a"][:, 0], batch["y"].float()) for batch in batches)
    for name, per_epoch, rows in (("a", 3, 12), ("b", 2, 8)):
        for k in range(0, 12, per_epoch):
            assert sorted(rows_in(batch[name] for batch in batches[k : k + per_epoch])) == list(
                range(rows)
            )
    assert rows_in(batch["a"] for batch in batches[:2]) != rows_in(
        batch["b"] for batch in batches[:2]
    )


def test_unpaired_columns_of_equal_length_have_different_orders():
    data = Dataset({"a": torch.arange(20), "b": torch.arange(20)}, groups=(("a",), ("b",)))
    batches = take(5, data, ("a", "b"))
    assert rows_in(batch["a"] for batch in batches) != rows_in(batch["b"] for batch in batches)


def test_an_epoch_is_an_epoch_of_the_first_group():
    data = Dataset({"a": torch.zeros(12, 1), "b": torch.zeros(9, 1)}, groups=(("a",), ("b",)))
    for inputs, expected in ((("a", "b"), 3), (("b",), 2)):
        assert Stream(data, inputs, 4, seed=0, device=CPU).batches_per_epoch == expected


def test_an_order_does_not_depend_on_other_columns():
    data = Dataset({"x": torch.arange(12.0)[:, None], "y": torch.arange(12)})
    assert rows_in(take(6, data)) == rows_in(batch["x"] for batch in take(6, data, ("x", "y")))


NOISY = [{}, {"binarize": "threshold"}, {"binarize": "stochastic"}, {"dequantize": True}]


def images(**settings):
    x = np.random.RandomState(0).randint(0, 256, (23, 1, 4, 4), dtype=np.uint8)
    return Dataset({"x": x, "y": np.arange(23)}, {"x": x[:5], "y": np.arange(5)}, **settings)


def flat(batches):
    return torch.stack(
        [torch.cat([batch["x"].flatten(1), batch["y"][:, None]], dim=1) for batch in batches]
    )


@pytest.mark.parametrize("noise", NOISY)
@pytest.mark.parametrize("size", [2, 4])
def test_ranks_split_the_batch_of_one_process(noise, size):
    whole = flat(take(7, images(**noise), ("x", "y"), batch_size=8))
    parts = []
    for rank in range(size):
        with emulate_rank(rank, size):
            parts.append(
                flat(take(7, images(**noise), ("x", "y"), batch_size=8, rank=rank, size=size))
            )
    assert torch.equal(torch.cat(parts, dim=1), whole)


@pytest.mark.parametrize("noise", NOISY)
@pytest.mark.parametrize("size", [1, 2])
def test_a_microbatch_has_the_same_rows_for_any_number_of_processes(noise, size):
    whole = flat(take(7, images(**noise), ("x", "y"), batch_size=12))
    parts = [[] for _ in range(3)]
    for rank in range(size):
        with emulate_rank(rank, size):
            settings = {"batch_size": 12, "rank": rank, "size": size, "microbatches": 3}
            for part, collected in zip(
                flat(take(7, images(**noise), ("x", "y"), **settings)).chunk(3, 1),
                parts,
                strict=True,
            ):
                collected.append(part)
    assert torch.equal(torch.cat([torch.cat(part, 1) for part in parts], 1), whole)


@pytest.mark.parametrize("noise", NOISY)
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_equal_resident_batches(noise, workers):
    resident = flat(take(12, images(**noise), ("x", "y"), start=3, resident=True))
    streamed = flat(take(12, images(**noise), ("x", "y"), start=3, resident=False, workers=workers))
    assert torch.equal(resident, streamed)


def test_streaming_reads_a_memory_map(tmp_path):
    data = images()
    np.save(tmp_path / "x.npy", data.train["x"])
    mapped = Dataset({"x": np.load(tmp_path / "x.npy", mmap_mode="r"), "y": data.train["y"]})
    for resident in (True, False):
        assert torch.equal(
            flat(take(6, mapped, ("x", "y"), resident=resident)), flat(take(6, data, ("x", "y")))
        )


@pytest.mark.parametrize("resident", [True, False])
def test_data_without_noise_do_not_change_the_random_state(resident):
    before = torch.get_rng_state()
    take(5, images(), resident=resident)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("noise", NOISY)
def test_noise_is_a_function_of_the_seed_and_the_batch_number(noise):
    torch.manual_seed(1)
    first = flat(take(12, images(**noise), ("x", "y")))
    torch.manual_seed(2)
    assert torch.equal(flat(take(12, images(**noise), ("x", "y"))), first)
    assert torch.equal(flat(take(5, images(**noise), ("x", "y"), start=7)), first[7:])


def test_bits_are_resampled_with_the_probability_of_the_pixel():
    level = torch.tensor([0, 51, 128, 255], dtype=torch.uint8)
    data = Dataset({"x": level.repeat(100, 1)[:, None, None]}, binarize="stochastic")
    bits = torch.stack(take(100, data, batch_size=100))  # (100, 100, 1, 1, 4)
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(bits[0], bits[1])
    p = level.double() / 255
    sd = (p * (1 - p) / 10_000).sqrt()
    assert ((bits.double().mean(dim=(0, 1)).flatten() - p).abs() <= 5 * sd).all()


def test_noise_fills_each_level():
    data = Dataset(
        {"x": torch.arange(4, dtype=torch.uint8).repeat(100, 1)[:, None, None]},
        levels=4,
        dequantize=True,
    )
    x = torch.stack(take(100, data, batch_size=100)).double() * 4
    assert torch.equal(x.floor(), torch.arange(4.0).double().expand_as(x))
    within = (x - x.floor()).flatten()
    n = len(within)
    assert within.mean().item() == pytest.approx(1 / 2, abs=5 * (1 / 12 / n) ** 0.5)
    assert within.var().item() == pytest.approx(1 / 12, abs=5 * (1 / 180 / n) ** 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_have_the_default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        batch = take(1, images(), ("x", "y"))[0]
    finally:
        torch.set_default_dtype(before)
    assert batch["x"].dtype == dtype
    assert batch["y"].dtype == torch.int64


def test_unused_columns_are_not_read():
    class Untouchable:
        shape, dtype = (12,), np.dtype(np.int64)

        def __len__(self):
            return 12

        def __getitem__(self, rows):
            raise AssertionError("nobody reads this column")

    data = Dataset({"x": torch.arange(12.0)[:, None], "y": Untouchable()})
    assert sorted(rows_in(take(3, data))) == list(range(12))
    with pytest.raises(AssertionError, match="nobody reads"):
        take(1, data, ("x", "y"))


def test_refusals():
    with pytest.raises(
        DataError, match=r"no column 'a', one of \('x', 'a'\) that are to be read; it has x\."
    ):
        take(1, numbered(5), ("x", "a"))
    with pytest.raises(DataError, match=r"has 5 rows .* batch_size = 6 to 5 or less"):
        take(1, numbered(5), batch_size=6)
    with pytest.raises(SettingError, match=r"batch_size = 5 .* 2 ranks"):
        take(1, numbered(5), batch_size=5, size=2)
    with pytest.raises(SettingError, match="batch_size = 0"):
        take(1, numbered(5), batch_size=0)
    with pytest.raises(DataError, match="no test split"):
        list(once(numbered(5), ("x",), 2, device=CPU))


def test_a_single_pass_is_in_order_and_complete():
    data = numbered(10)
    assert [len(batch) for batch in once(data, ("x",), 4, device=CPU, split="train")] == [4, 4, 2]
    assert rows_in(once(data, ("x",), 4, device=CPU, split="train")) == list(range(10))
    assert rows_in(once(data, ("x",), 4, device=CPU, split="train", limit=6)) == list(range(6))
    assert rows_in(once(data, ("x",), 4, device=CPU, split="train", limit=99)) == list(range(10))
    assert [len(batch["x"]) for batch in once(images(), ("x", "y"), 4, device=CPU)] == [4, 1]


def test_a_single_pass_ends_with_the_shortest_unpaired_column():
    data = Dataset({"a": torch.zeros(5, 1), "b": torch.zeros(3, 1)}, groups=(("a",), ("b",)))
    assert [
        (len(x["a"]), len(x["b"])) for x in once(data, ("a", "b"), 2, device=CPU, split="train")
    ] == [(2, 2), (1, 1)]


@pytest.mark.parametrize("noise", NOISY)
def test_a_single_pass_is_equal_on_every_rank_and_keeps_the_random_state(noise):
    before = torch.get_rng_state()
    first = torch.cat(list(once(images(**noise), ("x",), 2, device=CPU)))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    with emulate_rank(1, 2):
        assert torch.equal(torch.cat(list(once(images(**noise), ("x",), 2, device=CPU))), first)
