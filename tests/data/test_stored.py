"""The content of the data folder, and its removal, next to files that are the user's."""

import os
import tarfile

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner

import genzoo
from genzoo.cli.app import app
from genzoo.data.stored import cached, clear_cache
from genzoo.errors import SettingError


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Store two folders of images, a download, and files of the user."""
    home = tmp_path / "home"
    monkeypatch.setenv("GENZOO_DATA", str(home))
    for folder in ("cats", "dogs"):
        (tmp_path / folder).mkdir()
        for n in range(3):
            Image.new("L", (4, 4), 10 * n).save(tmp_path / folder / f"{n}.png")
    (home / "mnist").mkdir(parents=True)
    (home / "mnist/train-images-idx3-ubyte.gz").write_bytes(b"1234567")
    for name in ("mnist/notes.txt", "celeba/list_eval_partition.txt", "mine.npy"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("mine")
    return tmp_path


def read(folder, **settings):
    table = {"name": "folder", "path": folder, "size": 4, "test_fraction": 0.0, **settings}
    return genzoo.build(table, "datasets")


def test_stored_datasets_are_listed_and_cleared(stored):
    data = read(stored / "cats")
    read(stored / "cats", channels=1)
    read(stored / "dogs")
    cats, dogs, mnist = cached()
    assert cats.name.startswith("folder/cats-")
    assert dogs.name.startswith("folder/dogs-")
    assert (mnist.name, mnist.size) == ("mnist", 7)
    # the pixels, in color and in gray, and the heads of the arrays
    assert 3 * 16 * (3 + 1) < cats.size < 3 * 16 * (3 + 1) + 4000
    for file in cats.files:
        os.utime(file, (1e9, 5e8))
    assert cached()[0].last_used.timestamp() == 1e9
    before = np.array(data.train["x"])
    assert [entry.name for entry in clear_cache(cats.name)] == [cats.name]
    assert [entry.name for entry in cached()] == [dogs.name, "mnist"]
    assert np.array_equal(data.train["x"], before)  # still mapped
    assert np.array_equal(read(stored / "cats").train["x"], before)  # written again
    assert len(clear_cache()) == 3
    assert cached() == []
    left = {str(p.relative_to(stored / "home")) for p in (stored / "home").rglob("*.*")}
    assert {"mnist/notes.txt", "celeba/list_eval_partition.txt", "mine.npy"} <= left
    assert not any(name.endswith((".gz", ".json", ".partial")) for name in left)


def test_indices_of_shards_and_converted_tables_are_stored_datasets(stored):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table, shard = stored / "table.parquet", stored / "images.tar"
    parquet.write_table(pyarrow.table({"a": np.arange(8.0), "b": np.arange(8.0)}), table)
    with tarfile.open(shard, "w") as tar:
        for n in range(3):
            tar.add(stored / "cats" / f"{n}.png", f"{n}.png")
    for name, path in (("arrow", table), ("shards", shard)):
        genzoo.build({"name": name, "path": path, "test_fraction": 0.0}, "datasets")
    arrow, _, shards = cached()
    assert arrow.name.startswith("arrow/table-")
    assert shards.name.startswith(f"shards/{stored.name}-")
    assert len(clear_cache()) == 3
    assert cached() == []


def test_a_dataset_that_is_being_written_is_kept(stored):
    read(stored / "cats")
    (cats, mnist) = cached()
    with FileLock(cats.locks[0]):
        assert [entry.name for entry in clear_cache()] == [mnist.name]
    assert [entry.name for entry in cached()] == [cats.name]
    with pytest.raises(SettingError, match=r"has no 'folder/cat'; see genzoo data list"):
        clear_cache("folder/cat")


def test_temporary_files_are_neither_listed_nor_removed(stored):
    for name in ("arrow/.genzoo-abcd1234.table-1.arrow", "shards/.genzoo-abcd1234.images-1.npy"):
        (stored / "home" / name).parent.mkdir()
        (stored / "home" / name).write_text("a process is writing it")
    assert [entry.name for entry in clear_cache()] == ["mnist"]
    assert len([*(stored / "home").glob("*/.genzoo-*")]) == 2


def test_the_commands_list_and_clear(stored):
    run = CliRunner().invoke
    read(stored / "cats")
    (cats, _) = cached()
    listed = run(app, ["data", "list"]).output
    assert cats.name in listed
    assert "mnist" in listed
    assert isinstance(run(app, ["data", "clear"]).exception, SettingError)
    assert "removed mnist" in run(app, ["data", "clear", "mnist"]).output
    with FileLock(cats.locks[0]):
        assert run(app, ["data", "clear", "--all"]).exit_code == 0
    assert [entry.name for entry in cached()] == [cats.name]
    assert run(app, ["data", "clear", "--all"]).exit_code == 0
    assert cached() == []
