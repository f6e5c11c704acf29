import itertools

import numpy as np
import pytest
import torch

import genzoo
from genzoo.contract import Column, Dataset
from genzoo.data.arrays import as_dataset
from genzoo.data.columns import SelectedRows, open_column
from genzoo.data.duplicates import count_duplicates
from genzoo.data.fingerprint import fingerprint
from genzoo.data.stream import Stream, once
from genzoo.data.validation import set_aside
from genzoo.errors import DataError

CPU = torch.device("cpu")
X = np.random.RandomState(0).uniform(0, 1, (30, 1, 4, 4)).astype(np.float32)


class Stored:
    """A column that is read like an HDF5 dataset: by increasing numbers only."""

    def __init__(self, array, block=None):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.read = 0
        if block:
            self.block = block

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        assert isinstance(rows, np.ndarray)
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
        self.read += len(rows)
        return self.array[rows]


@pytest.fixture
def mapped(tmp_path):
    def save(array):
        np.save(tmp_path / "x.npy", array)
        return np.load(tmp_path / "x.npy", mmap_mode="r")

    return save


def batches(data, n=4, **settings):
    stream = Stream(data, ("x",), 6, **{"seed": 0, "device": CPU, **settings})
    return torch.stack([*itertools.islice(stream.batches(), n)])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("resident", [None, True])
def test_any_column_gives_the_batches_of_an_array(resident, workers):
    expected = batches(Dataset({"x": X}))
    column = Stored(X)
    assert isinstance(column, Column)
    found = batches(Dataset({"x": column}), resident=resident, workers=workers)
    assert torch.equal(found, expected)
    column = Stored((X * 255).astype(np.uint8))
    expected = batches(Dataset({"x": column.array}), resident=True)
    assert torch.equal(batches(Dataset({"x": column}), workers=workers), expected)


def test_a_dataset_reads_no_values_outside_memory(mapped):
    column = Stored(X)
    data = set_aside(Dataset({"x": column}, {"x": column}), 0.2)
    stream = Stream(data, ("x",), 6, seed=0, device=CPU)
    assert column.read == 0
    next(stream.batches())
    assert column.read == 6
    broken = X.copy()
    broken[17, 0, 1, 2] = np.nan
    for again in (Stored(broken), mapped(broken)):
        data = as_dataset(again)
        assert data.rows() == 30
        with pytest.raises(DataError, match="column 'x': row 17 holds a value that is not finite"):
            list(once(data, ("x",), 10, device=CPU, split="train"))


@pytest.mark.parametrize("workers", [0, 1])
def test_values_are_checked_as_they_are_read(mapped, workers):
    for array, settings, message in (
        (X * 3, {}, r"these span .* Rescale"),
        (np.full((30, 2), 9, np.uint8), {"levels": 5}, "holds 9, but 5 levels"),
        (np.full((30, 2), 9, np.uint8), {"symbols": 9}, "holds 9, but 9 levels or symbols"),
    ):
        with pytest.raises(DataError, match=message):
            Dataset({"x": array}, **settings)
        for column in (mapped(array), Stored(array)):
            data = Dataset({"x": column}, **settings)
            with pytest.raises(DataError, match=message) as error:
                batches(data, workers=workers)
            assert "Traceback" not in str(error.value)


def test_a_column_that_breaks_its_promise_is_named():
    class Short(Stored):
        def __getitem__(self, rows):
            return self.array[rows][:, :, 1:]

    class Other(Stored):
        def __getitem__(self, rows):
            return self.array[rows].astype(np.float64)

    class Wrong(Stored):
        def __len__(self):
            return 7

    for column, message in (
        (Short(X), r"reading 6 rows returned float32 \(6, 1, 3, 4\); expected float32 \(6, 1, 4"),
        (Other(X), r"returned float64 .* expected float32"),
    ):
        with pytest.raises(DataError, match=message):
            batches(Dataset({"x": column}))
    with pytest.raises(DataError, match=r"len\(\) is 7"):
        Dataset({"x": Wrong(X)})
    with pytest.raises(DataError, match="block of a Stored is 'big'"):
        batches(Dataset({"x": Stored(X, block="big")}))


def test_rows_may_be_in_any_order_and_repeated():
    column = open_column(Dataset({"x": Stored(X)}), "train", "x")
    rows = torch.tensor([9, 3, 3, 0])
    assert torch.equal(column[rows], torch.from_numpy(X[rows]))
    assert torch.equal(column[5:8], torch.from_numpy(X[5:8]))
    assert column[:0].shape == (0, 1, 4, 4)


def test_the_fingerprint_and_duplicates_do_not_depend_on_storage(mapped):
    plain = Dataset({"x": X}, {"x": X[5:9]})
    for column in (Stored(X), Stored(X, block=3), mapped(X)):
        data = Dataset({"x": column}, {"x": Stored(X[5:9])})
        assert fingerprint(data) == fingerprint(plain)
        assert count_duplicates(data) == 4


def test_few_rows_of_dear_columns_are_read_for_the_fingerprint():
    x = np.arange(1_000_000, dtype=np.int32)[:, None]
    column = Stored(x, block=64)
    before = fingerprint(Dataset({"x": column}))["train"]["x"]
    assert column.read <= 1024
    assert before.startswith("int32 (1000000, 1) ")
    x[-1] = 0
    assert fingerprint(Dataset({"x": Stored(x, block=64)}))["train"]["x"] != before


def test_rows_that_are_set_aside_stay_on_disk(mapped):
    x = mapped(X)
    data, expected = (set_aside(Dataset({"x": column}), 0.2) for column in (x, X))
    for split in ("train", "validation"):
        column = getattr(data, split)["x"]
        assert isinstance(column, SelectedRows)
        assert column.column is x
        rows = open_column(data, split, "x")[:]
        assert torch.equal(rows, torch.as_tensor(getattr(expected, split)["x"]))
    assert torch.equal(batches(data), batches(expected))


def test_arrays_that_are_not_rows_of_a_model_are_refused():
    data = as_dataset(Stored(X))
    assert data.shape == (1, 4, 4)
    for array, message in (
        (X[:, 0], r"Stored of float32 \(30, 4, 4\); its rows should be \(C, H, W\)"),
        (np.zeros((9, 2), np.int64), r"of int64 \(9, 2\)"),
        (np.zeros((9, 8, 8, 3), np.uint8), "channels last"),
        (np.zeros((9, 2), bool), "bool"),
    ):
        with pytest.raises(DataError, match=message):
            as_dataset(Stored(array))


def test_a_model_is_trained_and_evaluated_on_a_column():
    pixels = np.random.RandomState(1).randint(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    part = {"name": "mlp", "hidden": (4,)}

    def fit(column):
        data = Dataset({"x": column(pixels)}, {"x": column(pixels[:20])}, name="pixels")
        torch.manual_seed(0)
        model = genzoo.build("vae", shape=(1, 8, 8), encoder=part, decoder=part)
        settings = {"batch_size": 10, "validation": 0.2, "evaluate_every": 2, "progress": False}
        run = genzoo.fit(model, data, steps=4, **settings)
        result = genzoo.evaluate(run.model, data, metrics=["reconstruction"], n=20)
        return run.history, [row.value for row in result.rows]

    (expected, numbers), (history, again) = fit(np.asarray), fit(Stored)
    assert numbers == again
    losses = [[line["validation/loss"] for line in one] for one in (expected, history)]
    assert losses[0] == losses[1]
