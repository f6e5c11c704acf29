import io
import itertools
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data.arrays import as_dataset
from genzoo.data.columns import open_column
from genzoo.data.stream import Stream
from genzoo.errors import DataError, GenzooError, MissingDataError, SettingError
from genzoo.registry.records import config

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

from genzoo.data.arrow_dataset import arrow  # noqa: E402

CPU = torch.device("cpu")
PIXELS = np.random.RandomState(0).randint(0, 256, (30, 6, 6, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(i):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[i]).save(buffer, "png")
    return buffer.getvalue()


def pictures(rows):
    """Return a table as Hugging Face's `datasets` stores images with class labels."""
    images = [{"bytes": png(i), "path": None} for i in rows]
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog", "eel"]}}
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table(
        {"image": pyarrow.array(images, kind), "label": pyarrow.array([i % 3 for i in rows])}
    )
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return table.replace_schema_metadata(metadata)


def write(path, table, kind="stream", batch=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        parquet.write_table(table, path, row_group_size=batch)
        return path
    new = pyarrow.ipc.new_stream if kind == "stream" else pyarrow.ipc.new_file
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)
    return path


def read(data, name="x", split="train"):
    return open_column(data, split, name)[:].numpy()


def numbers(data, split="train"):
    images = read(data, split=split).transpose(0, 2, 3, 1)
    return [int((image == PIXELS).all((1, 2, 3)).argmax()) for image in images]


@pytest.mark.parametrize(
    ("kind", "name"), [("stream", "a.arrow"), ("file", "a.feather"), ("parquet", "a.parquet")]
)
def test_images_and_labels_are_read_from_any_format(tmp_path, kind, name):
    path = write(tmp_path / "set" / name, pictures(range(30)), kind)
    data = as_dataset({"name": "arrow", "path": path, "size": 6})
    train, test = numbers(data), numbers(data, "test")
    assert sorted(train + test) == list(range(30))
    assert 0 < len(test) < 12
    assert read(data, "y").tolist() == [i % 3 for i in train]
    assert data.metadata["class_names"] == ("cat", "dog", "eel")
    again = as_dataset({"name": "arrow", "path": path, "size": 6})
    assert numbers(again, "test") == test
    for source in (tmp_path / "set", path):
        assert config(as_dataset(source))["name"] == "arrow"


def test_a_saved_dataset_dict_has_splits(tmp_path):
    for split, rows in (("train", range(20)), ("test", range(20, 30))):
        for half, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
            write(tmp_path / "d" / split / f"data-{half:05}-of-00002.arrow", pictures(part))
        (tmp_path / "d" / split / "state.json").write_text("{}")
        write(tmp_path / "d" / split / "cache-123.arrow", pictures(range(3)))
    (tmp_path / "d" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    data = arrow(tmp_path / "d", size=6)
    assert (numbers(data), numbers(data, "test")) == ([*range(20)], [*range(20, 30)])
    # the layout of a repository of Parquet files
    for split, rows in (("train", range(20)), ("test", range(20, 30))):
        path = tmp_path / "hub" / "data" / f"{split}-00000-of-00001.parquet"
        write(path, pictures(rows), "parquet")
    data = arrow(tmp_path / "hub", size=6)
    assert (numbers(data), numbers(data, "test")) == ([*range(20)], [*range(20, 30)])


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_those_of_an_array(tmp_path, workers):
    path = write(tmp_path / "a.arrow", pictures(range(30)))
    data = arrow(path, size=6, test_fraction=0)
    whole = read(data)
    stream = Stream(data, ("x", "y"), 7, seed=1, device=CPU, workers=workers)
    order = [*itertools.islice(stream._indices(2, CPU), 4)]
    for batch, (rows,) in zip(stream.batches(2), order, strict=False):
        assert torch.equal(batch["x"], torch.from_numpy(whole[rows]).float() / 255)
        assert batch["y"].tolist() == [int(i) % 3 for i in rows]
    copy = pickle.loads(pickle.dumps(data.train["x"]))
    assert np.array_equal(copy[np.arange(3, 9)], whole[3:9])


def test_numbers_are_a_table(tmp_path):
    rng = np.random.RandomState(1)
    a, b, c = rng.normal(size=20), rng.randint(0, 9, 20), rng.normal(size=(20, 3))
    lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(c.reshape(-1)), 3)
    table = pyarrow.table(
        {"a": a, "name": ["ab"[i % 2] for i in range(20)], "b": b, "c": lists, "y": [2, 10] * 10}
    )
    path = write(tmp_path / "t.parquet", table, "parquet")
    expected = np.column_stack([a, b, c]).astype(np.float32)
    data = arrow(path, test_fraction=0)
    assert data.shape == (5,)
    assert np.array_equal(read(data), expected)
    assert data.metadata["class_names"] == ("2", "10")
    assert read(data, "y").tolist() == [0, 1] * 10
    assert np.array_equal(read(arrow(path, columns=("c",), test_fraction=0)), expected[:, 2:])
    named = arrow(path, labels="name", test_fraction=0.25)
    rows = np.concatenate([read(named), read(named, split="test")])
    assert len(read(named, split="test")) == 5
    assert sorted(rows[:, 0].tolist()) == sorted(expected[:, 0].tolist())
    assert named.metadata["class_names"] == ("a", "b")


def test_a_changed_parquet_file_is_converted_again(tmp_path, data_folder):
    path = tmp_path / "a.parquet"
    for value in (1.0, 2.0):
        write(path, pyarrow.table({"a": [value] * (3 + int(value))}), "parquet")
        assert set(read(arrow(path, test_fraction=0)).ravel()) == {value}
    assert len([*(data_folder / "arrow").glob("*.arrow")]) == 1


def test_files_that_cannot_be_read_as_examples_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.arrow", pictures(range(3)))
    with pytest.raises(SettingError, match=r"no column 'imag'.*image"):
        arrow(path, image="imag")
    with pytest.raises(SettingError, match=r"image = 'label': the column holds int64"):
        arrow(path, image="label")
    other = write(tmp_path / "other.arrow", pyarrow.table({"a": [1.0]}))
    with pytest.raises(DataError, match="write both with one schema"):
        arrow(tmp_path)
    with pytest.raises(DataError, match="no columns of images or numbers"):
        arrow(write(tmp_path / "t" / "text.arrow", pyarrow.table({"a": ["b"]})))
    missing = pyarrow.table({"a": [1.0, None], "b": [1.0, 2.0]})
    path = write(tmp_path / "m" / "m.arrow", missing)
    with pytest.raises(DataError, match=r"column 'a' has missing values"):
        read(arrow(path, test_fraction=0))
    assert read(arrow(path, columns=("b",), test_fraction=0)).ravel().tolist() == [1, 2]
    empty = write(tmp_path / "e" / "e.arrow", pyarrow.table({"a": pyarrow.array([], "float32")}))
    with pytest.raises(DataError, match="has no rows"):
        arrow(empty)
    other.write_bytes(b"ARROW1 and nothing else")
    for name in ("other.arrow", "x.parquet"):
        (tmp_path / name).write_bytes(b"ARROW1 and nothing else")
        with pytest.raises(DataError, match=rf"{name.replace('.', r'.')} cannot be read"):
            arrow(tmp_path / name)
    with pytest.raises(MissingDataError, match=r"no files \*\.arrow"):
        arrow(tmp_path / "nowhere")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(GenzooError, match=r"genzoo\[arrow\]"):
        arrow(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, 2.0]] * 4 + [[1.0], [1.0, 2.0, 3.0]], r"row 4 of .*t\.parquet has 1"),
        ([[[1.0, 2.0]]] * 6, r"column 'a' holds list<.*list<.*Flatten nested lists"),
        ([[1.0, None]] * 6, r"column 'a' has missing values"),
    ],
)
def test_lists_that_are_no_rows_are_refused(tmp_path, values, message):
    path = write(tmp_path / "t.parquet", pyarrow.table({"a": values}), "parquet")
    with pytest.raises(DataError, match=message):
        read(arrow(path, test_fraction=0))


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_without_a_class_are_refused(tmp_path, label):
    table = pictures(range(6))
    for half, labels in enumerate(([0, 1, 2], [0, label, label])):
        part = table.slice(3 * half, 3).set_column(1, "label", pyarrow.array(labels))
        write(tmp_path / "d" / f"{half}.arrow", part)
    message = rf"row 1 of .*1\.arrow has the label {label} in column 'label', .*2 rows have such"
    with pytest.raises(DataError, match=message):
        arrow(tmp_path / "d")
    assert "y" not in arrow(tmp_path / "d", labels=None).train


def test_hidden_folders_are_skipped(tmp_path):
    write(tmp_path / ".d" / "a.arrow", pyarrow.table({"a": [1.0, 2.0]}))
    write(tmp_path / ".d" / ".cache" / "b.arrow", pyarrow.table({"b": ["c"]}))
    (tmp_path / ".d" / "c.arrow").mkdir()
    assert arrow(tmp_path / ".d", test_fraction=0).rows() == 2


def test_temporary_files_of_killed_conversions_are_removed(tmp_path, data_folder):
    path = write(tmp_path / "a.parquet", pyarrow.table({"a": [1.0, 2.0]}), "parquet")
    arrow(path)
    (converted,) = (data_folder / "arrow").glob("*.arrow")
    abandoned = converted.with_name(f".genzoo-abcd1234.{converted.name}")
    converted.rename(abandoned)
    arrow(path)
    assert converted.exists()
    assert not abandoned.exists()
