import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.contract.dataset import Dataset
from genzoo.data.arrays import as_dataset, as_tensor, table_of
from genzoo.data.columns import open_column
from genzoo.errors import DataError, MissingDataError, SettingError
from genzoo.registry.records import config


def test_datasets_are_used_unchanged_and_names_are_built():
    data = Dataset({"x": torch.rand(3, 2)})
    assert as_dataset(data) is data
    assert as_dataset("digits").rows() == 1500
    assert as_dataset({"name": "toy", "distribution": "moons", "rows": 7}).rows() == 7
    with pytest.raises(SettingError, match="digits"):
        as_dataset("digit")


@pytest.mark.parametrize("make", [torch.from_numpy, np.asarray])
@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5, 3), (3,)), ((5, 6, 7), (1, 6, 7)), ((5, 3, 6, 7), (3, 6, 7)), ((5, 3, 4, 3), (3, 4, 3))],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_array_shapes_become_dataset_shapes(make, shape, expected, dtype):
    array = np.random.RandomState(0).uniform(0, 1, shape).astype(dtype)
    data = as_dataset(make(array))
    assert data.shape == expected
    assert np.array_equal(np.asarray(data.train["x"]).reshape(shape), array)


def test_columns_and_splits():
    x, y = torch.rand(4, 2), torch.arange(4)
    data = as_dataset(({"x": x, "y": y}, {"x": x[:1], "y": y[:1]}))
    assert (data.rows("train"), data.rows("test"), data.groups) == (4, 1, (("x", "y"),))
    data = as_dataset((x, x[:3]))
    assert (data.rows("train"), data.rows("test")) == (4, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((5, 8, 8, 3), np.uint8), r"x.transpose\(0, 3, 1, 2\)"),
        (torch.zeros(5, 8, 8, 1), r"x.permute\(0, 3, 1, 2\)"),
        (torch.zeros(5, 8, 8, dtype=torch.int64), "int64: use uint8"),
        (torch.zeros(5, 2, dtype=torch.bool), "bool"),
        (torch.zeros(5, 2, dtype=torch.complex64), "complex64"),
        (np.zeros((5, 2), np.uint16), "uint16"),
        (np.array([["a"], ["b"]]), r'<U1; .* x\.astype\("float32"\)'),
        (np.array([[1, 2]], object), r'object; .* x\.astype\("float32"\)'),
        (np.zeros(3, [("a", "f4")]), r'x\.astype\("float32"\)'),
        ([[1.0, 2.0]], r"list; .* np\.stack\(x\)"),
        ([np.zeros(2), np.ones(2)], r"list; .* np\.stack\(x\)"),
        ([torch.zeros(2), torch.ones(2)], r"list; .* torch\.stack\(x\)"),
        (None, "NoneType"),
        (torch.zeros(()), r"\(\)"),
        (torch.zeros(2, 1, 2, 2, 2), r"\(2, 1, 2, 2, 2\)"),
        ((torch.zeros(3, 2),), "tuple of 1"),
        ({"nmae": "digits"}, "'nmae' is a str"),
        (torch.full((3, 1, 2, 2), 255.0), "0, 1"),
        ({"x": torch.zeros(3, 2), "y": torch.zeros(2)}, "different lengths"),
    ],
)
def test_errors_name_the_problem(data, message):
    with pytest.raises(DataError, match=message):
        as_dataset(data)


def test_as_tensor_does_not_copy(tmp_path):
    array = np.zeros((3, 2), np.float32)
    tensor = as_tensor(array, "x")
    array[1, 1] = 5
    assert tensor[1, 1] == 5

    np.save(tmp_path / "x.npy", array)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = as_tensor(np.load(tmp_path / "x.npy", mmap_mode="r"), "x")
    assert mapped[1, 1] == 5


def test_data_with_gradients_are_detached():
    assert not as_tensor(torch.zeros(3, 2, requires_grad=True), "x").requires_grad


def test_double_precision_arrays_are_converted_to_single_precision():
    data = as_dataset(np.random.RandomState(0).uniform(size=(5, 2)))
    assert data.prepare(data.train["x"]).dtype == torch.float32


def test_a_table_of_whole_numbers_becomes_floats():
    x = as_dataset(np.arange(12).reshape(6, 2)).train["x"]
    assert x.dtype == torch.float32
    assert x.tolist() == np.arange(12.0).reshape(6, 2).tolist()
    assert as_dataset({"x": torch.rand(6, 2), "y": np.arange(6)}).train["y"].dtype == torch.int64


def test_a_masked_array_is_refused():
    masked = np.ma.masked_array(np.ones((4, 2)), mask=np.eye(4, 2))
    with pytest.raises(DataError, match=r"'x' is a masked array.* x\.filled\(0\)"):
        as_dataset(masked)


def test_a_pair_of_images_and_labels_has_the_columns_x_and_y():
    x, y = torch.rand(6, 1, 8, 8), torch.arange(6)
    data = as_dataset((x, y))
    assert torch.equal(data.train["y"], y)
    assert data.test == {}
    data = as_dataset((x, x[:2]))  # still train and test
    assert (data.rows("train"), data.rows("test")) == (6, 2)


def test_images_with_two_channels_last_are_named():
    with pytest.raises(DataError, match="channels last"):
        as_dataset(np.zeros((5, 8, 8, 2), np.uint8))


def test_rounding_errors_around_0_and_1_are_clamped():
    x = torch.rand(4, 1, 8, 8)
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 1 + 1e-6, -1e-6
    data = as_dataset(x)
    prepared = data.prepare(data.train["x"])
    assert (prepared.min() >= 0, prepared.max() <= 1) == (True, True)
    with pytest.raises(DataError, match="these span 0"):
        as_dataset(torch.full((2, 1, 8, 8), 1.01) * torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))


def test_a_path_is_a_folder_of_images(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    (tmp_path / "2024").mkdir()
    for i in range(3):
        Image.new("L", (8, 8), i).save(tmp_path / "2024" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    for name in ("2024", tmp_path / "2024"):
        assert as_dataset(name).rows() <= 3
    table = {"name": "folder", "path": 2024, "size": np.int64(8), "test_fraction": 0.0}
    data = as_dataset(table)
    assert data.rows() == 3
    assert config(data)["path"] == str(tmp_path / "2024")


@pytest.mark.parametrize("name", ["~nosuchuser", "x" * 300])
def test_a_name_that_cannot_be_a_path_is_not_a_folder(name):
    with pytest.raises(SettingError, match="No dataset named"):
        as_dataset(name)


def test_a_file_of_another_kind_is_not_an_unknown_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digit.csv").touch()
    with pytest.raises(MissingDataError, match=r"digit\.csv is not a kind of file .*\*\.npy"):
        as_dataset("digit.csv")
    (tmp_path / "digits").touch()
    assert as_dataset("digits").name == "digits"


def test_a_missing_folder_is_not_only_an_unknown_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=r"named 'digit', and no file or folder.*'digits'"):
        as_dataset("digit")


LABELS = [2, 0, 1, 2, 0, 1]


def label_forms():
    y = np.array(LABELS)
    for dtype in (np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16, np.float32):
        yield y.astype(dtype)
        yield y[:, None].astype(dtype)
    yield from (torch.tensor(LABELS, dtype=torch.uint8), torch.tensor(LABELS).float()[:, None])
    yield from (LABELS, [[label] for label in LABELS], [*torch.tensor(LABELS)])


@pytest.mark.parametrize("y", [*label_forms()])
def test_labels_of_a_pair_are_whole_numbers(y):
    stored = as_dataset((np.zeros((6, 8, 8), np.uint8), y)).train["y"]
    assert (torch.as_tensor(stored).dtype, stored.tolist()) == (torch.int64, LABELS)


def test_labels_in_a_mapping_are_whole_numbers():
    x, y = torch.rand(6, 3), np.array(LABELS, np.uint8)
    for labels in (y, y[:, None], torch.tensor(y), LABELS, y.astype(np.float32)):
        stored = as_dataset({"x": x, "y": labels}).train["y"]
        assert (torch.as_tensor(stored).dtype, stored.tolist()) == (torch.int64, LABELS)
    truth = as_dataset((x, y > 0)).train["y"]
    assert truth.tolist() == [1, 0, 1, 1, 0, 1]
    # real numbers with two axes are a table, and other names are not labels
    assert as_dataset({"x": x, "y": torch.rand(6, 1)}).train["y"].shape == (6, 1)
    assert as_dataset({"x": x, "z": y}).train["z"].dtype == torch.uint8


def test_one_column_in_two_splits_is_not_labels():
    data = as_dataset((torch.rand(5, 1), torch.rand(3, 1)))
    assert (data.rows("train"), data.rows("test")) == (5, 3)


def test_labels_that_are_text_are_numbered_over_all_splits():
    x = torch.rand(3, 1, 8, 8)
    for convert in (list, np.array, lambda y: np.array(y, object), lambda y: np.array(y)[:, None]):
        data = as_dataset(
            (
                {"x": x, "y": convert(["dog", "ant", "dog"])},
                {"x": x, "y": convert(["cat"] * 3)},
            )
        )
        assert data.class_names == ("ant", "cat", "dog")
        assert (data.train["y"].tolist(), data.test["y"].tolist()) == ([2, 0, 2], [1, 1, 1])
    assert as_dataset((x, ["10", "9", "10"])).class_names == ("9", "10")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([0, 0.5, 1]), r"'y' holds 0\.5; labels are whole numbers"),
        ([0.0, float("nan"), 1.0], "holds nan"),
        (np.zeros((3, 1)) + 0.25, r"holds 0\.25"),
        (np.zeros(3, "M8[s]"), r"datetime64.*y\.astype"),
        (np.zeros(2, np.int64), "3 examples and 2 labels"),
        (["a", "b"], "3 examples and 2 labels"),
    ],
)
def test_labels_that_cannot_be_read_are_refused(y, message):
    with pytest.raises(DataError, match=message):
        as_dataset((torch.rand(3, 1, 8, 8), y))


def test_splits_with_text_and_numbers_are_refused():
    x = torch.rand(2, 3)
    with pytest.raises(DataError, match=r"train, column 'y' holds text.*test.*int64"):
        as_dataset(({"x": x, "y": ["a", "b"]}, {"x": x, "y": np.array([0, 1])}))


def test_labels_outside_memory_are_converted_when_they_are_read():
    class Stored:
        shape, dtype = (6, 1), np.dtype(np.uint8)

        def __len__(self):
            return 6

        def __getitem__(self, rows):
            return np.array(LABELS, np.uint8)[rows, None]

    y = as_dataset({"x": torch.rand(6, 3), "y": Stored()}).train["y"]
    assert (y.shape, y.dtype, y[np.array([0, 3])].tolist()) == ((6,), np.int64, [2, 2])


def test_foreign_byte_orders_and_reversed_axes_are_converted(tmp_path):
    x = np.random.RandomState(0).rand(5, 4, 3).astype(np.float32)
    for array in (x.astype(">f4"), x[::-1], x[:, ::-1], x.astype(">f8")[:, :, ::-1]):
        assert np.allclose(as_dataset(array).train["x"][:, 0], array)
    np.save(tmp_path / "x.npy", x.astype(">f4"))
    mapped = as_dataset(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert isinstance(mapped.train["x"], np.memmap)
    assert np.array_equal(open_column(mapped, "train", "x")[:][:, 0], x)


@pytest.mark.parametrize("convert", [str, Path])
def test_a_path_that_cannot_be_read_is_named(tmp_path, convert):
    with pytest.raises(MissingDataError, match=r"nowhere is missing; .* tar shards .*\*\.npy"):
        as_dataset(convert(tmp_path / "nowhere"))
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(MissingDataError, match=r"x\.csv is not a kind of file that can be read"):
        as_dataset(convert(tmp_path / "x.csv"))


def test_a_folder_with_files_of_several_datasets_is_refused(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "a.tar").touch()
    (tmp_path / "cats" / "1.JPG").touch()
    assert table_of(tmp_path) == {"name": "folder", "path": str(tmp_path)}
    (tmp_path / "backup.tar").touch()
    message = r'backup\.tar \(shards\) and cats.1\.JPG \(folder\).*"name": "shards", "path": '
    with pytest.raises(SettingError, match=message):
        table_of(tmp_path)
    (tmp_path / "cats" / "1.JPG").unlink()
    assert table_of(tmp_path)["name"] == "shards"
    (tmp_path / "backup.tar").rename(tmp_path / "a.parquet")
    assert table_of(tmp_path)["name"] == "arrow"
