import numpy as np
import pytest
import torch

from genzoo.data.array_files import npy
from genzoo.data.arrays import as_dataset
from genzoo.data.columns import open_column
from genzoo.errors import DataError, MissingDataError
from genzoo.registry.records import config

X = np.random.RandomState(0).randint(0, 256, (40, 6, 6), dtype=np.uint8)


def read(data, name="x", split="train"):
    return open_column(data, split, name)[:].numpy()


def test_an_array_is_mapped_and_some_rows_are_held_out(tmp_path):
    np.save(tmp_path / "x.npy", X)
    data = as_dataset(str(tmp_path / "x.npy"))
    assert config(data)["name"] == "npy"
    assert data.shape == (1, 6, 6)
    assert isinstance(data.train["x"].column, np.memmap)
    rows = np.concatenate([read(data), read(data, split="test")])[:, 0]
    assert len(read(data, split="test")) == 4
    assert sorted(map(bytes, rows)) == sorted(map(bytes, X))
    assert not np.array_equal(read(npy(tmp_path / "x.npy", seed=1)), read(data))
    assert npy(tmp_path / "x.npy", test_fraction=0).rows() == 40


@pytest.mark.parametrize("names", ["{0}_{1}", "{1}_{0}"])
def test_names_are_columns_and_splits(tmp_path, names):
    y = np.arange(40)
    arrays = {
        names.format(column, split): array[rows]
        for column, array in (("x", X), ("y", y))
        for split, rows in (
            ("train", slice(30)),
            ("val", slice(30, 33)),
            ("test", slice(33, 40)),
        )
    }
    np.savez(tmp_path / "a.npz", **arrays)
    data = as_dataset(tmp_path / "a.npz")
    for split, rows in (("train", X[:30]), ("validation", X[30:33]), ("test", X[33:])):
        assert np.array_equal(read(data, split=split)[:, 0], rows)
    assert read(data, "y", "test").tolist() == list(range(33, 40))


def test_columns_of_one_file_share_a_split(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=X, y=np.arange(40))
    data = npy(tmp_path / "a.npz", test_fraction=0.25)
    for split, count in (("train", 30), ("test", 10)):
        assert len(read(data, split=split)) == count
        assert np.array_equal(read(data, split=split)[:, 0], X[read(data, "y", split)])
    np.savez(tmp_path / "b.npz", X / 255)
    assert npy(tmp_path / "b.npz").shape == (1, 6, 6)


def test_files_that_hold_no_examples_are_refused(tmp_path):
    with pytest.raises(MissingDataError, match=r"none\.npy does not exist"):
        as_dataset(tmp_path / "none.npy")
    np.savez(tmp_path / "a.npz", images=X, labels=np.arange(40))
    with pytest.raises(DataError, match=r"holds images, labels; name the examples x"):
        npy(tmp_path / "a.npz")
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("1, 2, 3")
    for name in ("objects", "text"):
        with pytest.raises(DataError, match=rf"{name}\.npy cannot be read as arrays"):
            npy(tmp_path / f"{name}.npy")
    np.save(tmp_path / "last.npy", np.zeros((5, 8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="channels last"):
        npy(tmp_path / "last.npy")
    np.save(tmp_path / "one.npy", X[:1])
    with pytest.raises(DataError, match=r"all 1 rows of .*one\.npy are held out"):
        npy(tmp_path / "one.npy", test_fraction=0.6)


def test_labels_of_files_are_whole_numbers_with_names(tmp_path):
    # the arrays of Keras's mnist.npz
    y = (np.arange(40) % 10).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x_train=X[:30], y_train=y[:30], x_test=X[30:], y_test=y[30:, None])
    data = npy(tmp_path / "a.npz")
    assert read(data, "y").tolist() == y[:30].tolist()
    assert read(data, "y", "test").tolist() == y[30:].tolist()
    assert data.train["y"].dtype == torch.int64
    np.savez(tmp_path / "b.npz", x=X, y=np.array(["cat", "ant"] * 20))
    assert npy(tmp_path / "b.npz").class_names == ("ant", "cat")
