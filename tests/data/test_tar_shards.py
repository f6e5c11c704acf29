import io
import itertools
import json
import os
import pickle
import signal
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.data import tar_index
from genzoo.data.arrays import as_dataset
from genzoo.data.columns import open_column
from genzoo.data.fingerprint import fingerprint
from genzoo.data.stream import Stream, once
from genzoo.data.tar_shards import shards
from genzoo.errors import DataError, MissingDataError, SettingError
from genzoo.registry.records import config

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def pixels(i):
    """Return an image whose first pixel is its number."""
    array = np.random.RandomState(i).randint(0, 256, (6, 6, 3), dtype=np.uint8)
    array[0, 0] = i
    return array


def write(path, examples, **options):
    """Write a tar file of (key, {extension: bytes}), as `webdataset.TarWriter` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for key, files in examples:
            for extension, content in files.items():
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def example(i, **files):
    return f"{i:06}", {"png": png(pixels(i)), "cls": str(i % 3).encode(), **files}


@pytest.fixture
def folder(tmp_path):
    for shard in range(3):
        numbers = range(10 * shard, 10 * shard + 10)
        write(tmp_path / "set" / f"part-{shard:04}.tar", [example(i) for i in numbers])
    return tmp_path / "set"


def numbers(data, split="train"):
    """Return the numbers of the images of a split, from their first pixels."""
    if split not in {name for name, columns in data.splits.items() if columns}:
        return []
    return open_column(data, split, "x")[:][:, 0, 0, 0].tolist()


def test_images_and_labels_are_those_of_the_files(folder):
    data = shards(folder, size=6, test_fraction=0.2)
    assert data.shape == (3, 6, 6)
    assert data.metadata["class_names"] == ("0", "1", "2")
    train, test = numbers(data), numbers(data, "test")
    assert sorted(train + test) == list(range(30))
    assert 0 < len(test) < 15
    for split, rows in (("train", train), ("test", test)):
        x, y = (open_column(data, split, name)[:] for name in "xy")
        expected = np.stack([pixels(i).transpose(2, 0, 1) for i in rows])
        assert np.array_equal(x.numpy(), expected)
        assert y.tolist() == [i % 3 for i in rows]


def test_shards_are_read_as_a_folder_of_the_same_images(folder, tmp_path):
    for i in range(30):
        (tmp_path / "loose").mkdir(exist_ok=True)
        (tmp_path / "loose" / f"{i}.png").write_bytes(png(pixels(i)))
    settings = {"size": (4, 5), "fit": "pad", "test_fraction": 0, "channels": 1}
    loose = genzoo.build({"name": "folder", "path": tmp_path / "loose", **settings}, "datasets")
    packed = genzoo.build({"name": "shards", "path": folder, **settings}, "datasets")
    one, two = (open_column(data, "train", "x")[:].flatten(1) for data in (loose, packed))
    assert sorted(one.tolist()) == sorted(two.tolist())


def test_the_index_is_written_once_and_follows_the_files(folder, data_folder, monkeypatch):
    read = []
    original = tar_index._index_shard

    def counted(shard, *arguments):
        read.append(shard.name)
        return original(shard, *arguments)

    monkeypatch.setattr(tar_index, "_index_shard", counted)
    first = numbers(shards(folder, size=6))
    assert len(read) == 3
    assert numbers(shards(folder, size=6)) == first
    assert shards(folder, size=4).rows() == len(first)
    assert len(read) == 3
    test = set(numbers(shards(folder, size=6), "test"))
    write(folder / "part-0003.tar", [example(i) for i in range(40, 50)])
    write(folder / "part-0000.tar", [example(i) for i in range(5)])
    data = shards(folder, size=6)
    assert read[3:] == ["part-0000.tar", "part-0003.tar"]
    remaining = {*range(5), *range(10, 30), *range(40, 50)}
    assert {*numbers(data), *numbers(data, "test")} == remaining
    # other images stay in their splits
    assert set(numbers(data, "test")) & set(range(30)) == test & remaining
    assert len([*(data_folder / "shards").glob("*.npy")]) == 1


def test_labels_do_not_depend_on_earlier_shards(folder, data_folder):
    shards(folder, size=6)
    write(folder / "part-0000.tar", [example(i, cls=b"z") for i in range(3)])
    write(folder / "part-0001.tar", [example(10, cls=b"2"), example(11, cls=b"0")])
    (folder / "part-0002.tar").unlink()
    root, files = folder, sorted(folder.glob("*.tar"))
    later = tar_index.index_shards(root, files, "auto", None)
    assert later.labels == ["z", "2", "0"]
    assert later.rows["label"].tolist() == [0, 0, 0, 1, 2]
    assert shards(folder, size=6).metadata["class_names"] == ("0", "2", "z")
    for path in (data_folder / "shards").iterdir():
        path.unlink()
    fresh = tar_index.index_shards(root, files, "auto", None)
    assert fresh.labels == later.labels
    assert np.array_equal(fresh.rows, later.rows)


def test_relative_paths_of_two_folders_have_two_indices(tmp_path, data_folder, monkeypatch):
    for i, name in enumerate("ab"):
        write(tmp_path / name / "set" / "0.tar", [example(i)])
        os.utime(tmp_path / name / "set" / "0.tar", (1e9, 1e9))
        monkeypatch.chdir(tmp_path / name)
        assert numbers(shards("set", size=6, test_fraction=0)) == [i]
    assert len([*(data_folder / "shards").glob("*.json")]) == 2


def test_temporary_files_of_killed_processes_are_removed(folder, data_folder):
    shards(folder, size=6)
    (record,) = (data_folder / "shards").glob("*.json")
    abandoned = record.with_name(f".genzoo-abcd1234.{record.name}")
    other = record.with_name(".genzoo-abcd1234.other.json")
    abandoned.write_text("{")
    other.write_text("{")
    write(folder / "part-0000.tar", [example(40)])
    shards(folder, size=6)
    assert (abandoned.exists(), other.exists()) == (False, True)


@pytest.mark.parametrize("damage", ["array", "record"])
def test_a_damaged_index_is_built_again(folder, data_folder, damage):
    first = numbers(shards(folder, size=6))
    suffix = "npy" if damage == "array" else "json"
    (path,) = (data_folder / "shards").glob(f"*.{suffix}")
    path.write_bytes(path.read_bytes()[:-20])
    assert numbers(shards(folder, size=6)) == first


def test_an_interrupted_index_continues(folder, monkeypatch):
    original, read = tar_index._index_shard, []

    def interrupted(shard, *arguments):
        read.append(shard.name)
        if len(read) == 3:
            raise KeyboardInterrupt
        return original(shard, *arguments)

    monkeypatch.setattr(tar_index, "_index_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shards(folder, size=6)
    assert len(shards(folder, size=6, test_fraction=0).train["x"]) == 30
    assert read[3:] == ["part-0002.tar"]


@pytest.mark.parametrize(
    "pattern",
    ["part-{0000..0002}.tar", "part-*.tar", "part-000{0,1,2}.tar", "part-000?.tar", "p*[0-2].tar"],
)
def test_patterns_name_shards(folder, pattern):
    assert len(shards(folder / pattern, size=6, test_fraction=0).train["x"]) == 30
    assert len(shards(folder / "part-0001.tar", size=6, test_fraction=0).train["x"]) == 10


@pytest.mark.parametrize("layout", ["{}-0.tar", "{}/0.tar"])
def test_names_of_shards_are_splits(tmp_path, layout):
    for i, split in enumerate(("train", "val", "test")):
        write(tmp_path / "set" / layout.format(split), [example(i)])
    data = shards(tmp_path / "set", size=6)
    assert [numbers(data, split) for split in ("train", "validation", "test")] == [[0], [1], [2]]
    mixed = shards(tmp_path / "set", size=6, splits="content", test_fraction=0)
    assert sorted(numbers(mixed)) == [0, 1, 2]
    write(tmp_path / "set" / "more.tar", [example(9)])
    with pytest.raises(DataError, match=r"more\.tar is not"):
        shards(tmp_path / "set", size=6)


def test_names_of_files_precede_the_folder_of_a_pattern(tmp_path):
    for i, split in enumerate(("train", "val", "test")):
        write(tmp_path / "train" / f"{split}-0.tar", [example(i)])
    data = shards(tmp_path / "train" / "*-0.tar", size=6)
    assert [numbers(data, split) for split in ("train", "validation", "test")] == [[0], [1], [2]]


def test_names_are_asked_for(folder):
    with pytest.raises(SettingError, match=r'splits = "names"'):
        shards(folder, splits="names")


def test_labels_come_from_any_file_of_an_example(tmp_path):
    examples = [
        (f"a/{i}", {"jpg": png(pixels(i)), "json": json.dumps({"label": "ba"[i], "n": i}).encode()})
        for i in range(2)
    ]
    path = write(tmp_path / "a.tar", examples)
    for labels, names in (("auto", ("a", "b")), ("json:n", ("0", "1")), (None, None)):
        data = shards(path, size=6, labels=labels, test_fraction=0)
        assert data.metadata.get("class_names") == names
    assert shards(path, size=6, test_fraction=0).train["y"].tolist() == [1, 0]
    with pytest.raises(DataError, match=r"example a/0 of .*a\.tar has no label 'cls'"):
        shards(path, labels="cls")


@pytest.mark.parametrize(
    ("examples", "settings", "message"),
    [
        ([("a", {"left.png": b"1", "right.png": b"2"})], {}, r'image = "left\.png"'),
        ([example(0), ("b", {"png": png(pixels(1))})], {}, "1 of 2 examples have no label"),
        ([("a", {"png": b"1", "json": b"{"})], {}, r"a\.json in .*x\.tar cannot be read"),
        ([("a", {"png": b"1", "json": b'{"label": 1.5}'})], {}, r"label of example a .* is 1\.5"),
        (
            [(key, {kind: b"1"}) for kind in ("png", "cls") for key in "ab"],
            {},
            r"files of example a are not next to each other in .*x\.tar; sort the files by name",
        ),
    ],
)
def test_examples_that_are_not_clear_are_refused(tmp_path, examples, settings, message):
    write(tmp_path / "x.tar", examples)
    with pytest.raises(DataError, match=message):
        shards(tmp_path / "x.tar", **settings)


def test_whole_numbers_are_classes_in_their_order(tmp_path):
    labels = ("10", "2.0", "-1", "1.0", "1")
    examples = [
        (f"{i}", {"png": png(pixels(i)), "json": f'{{"label": {label}}}'.encode()})
        for i, label in enumerate(labels)
    ]
    data = shards(write(tmp_path / "x.tar", examples), size=6, test_fraction=0)
    assert data.metadata["class_names"] == ("-1", "1", "2", "10")
    assert data.train["y"].tolist() == [3, 2, 0, 1, 1]


def test_examples_without_images_are_counted(tmp_path):
    write(tmp_path / "x.tar", [("a", {"txt": b"1"}), example(5)])
    with pytest.warns(UserWarning, match="1 examples without an image"):
        data = shards(tmp_path / "x.tar", size=6, test_fraction=0)
    assert numbers(data) == [5]
    write(tmp_path / "y.tar", [("a", {"txt": b"1"})])
    with (
        pytest.warns(UserWarning, match="without an image"),
        pytest.raises(MissingDataError, match="have no images"),
    ):
        shards(tmp_path / "y.tar")


def test_one_of_several_images_is_chosen(tmp_path):
    files = {"left.png": png(pixels(3)), "right.png": png(pixels(4))}
    path = write(tmp_path / "x.tar", [("a", files)])
    for image, first in (("left.png", 3), (".right.PNG", 4)):
        assert numbers(shards(path, size=6, image=image, test_fraction=0)) == [first]


def test_files_that_are_no_plain_tar_files_are_refused(folder, tmp_path):
    with pytest.raises(MissingDataError, match=r"no files \*\.tar"):
        shards(tmp_path / "nowhere")
    with pytest.raises(MissingDataError, match=r"part-0003\.tar does not exist"):
        shards(folder / "part-{0000..0003}.tar")
    whole = (folder / "part-0001.tar").read_bytes()
    (folder / "part-0001.tar").write_bytes(whole[:2000])
    with pytest.raises(DataError, match=r"part-0001\.tar cannot be read .*copy a damaged one"):
        shards(folder)
    import gzip

    (folder / "part-0001.tar").write_bytes(gzip.compress(whole))
    with pytest.raises(DataError, match=r"part-0001\.tar cannot be read .*gunzip"):
        shards(folder)


def test_a_damaged_image_is_named_when_it_is_read(folder):
    write(folder / "part-0000.tar", [("bad", {"png": b"nothing", "cls": b"0"})])
    data = shards(folder, size=6, test_fraction=0)
    with pytest.raises(DataError, match=r"part-0000\.tar, bad\.png cannot be read as an image"):
        list(once(data, ("x",), 10, device=CPU, split="train"))
    (folder / "part-0001.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"part-0001\.tar was cut short while it was used"):
        open_column(data, "train", "x")[torch.tensor([5])]


def test_damaged_images_are_skipped_on_request(folder):
    bad = [("bad", {"png": b"nothing", "cls": b"0"}), ("empty", {"png": b"", "cls": b"0"})]
    write(folder / "part-0001.tar", [example(10), *bad])
    whole = shards(folder, size=6, test_fraction=0)
    names = ("part-0001.tar, bad.png", "part-0001.tar, empty.png")
    for _ in range(2):  # also from the stored index
        with pytest.warns(UserWarning, match=f"2 images were skipped: {'; '.join(names)}"):
            data = shards(folder, size=6, test_fraction=0, on_error="skip")
        assert sorted(numbers(data)) == [*range(11), *range(20, 30)]
        assert len(data.train["y"]) == 21
        assert data.skipped == names
    assert len(whole.train["y"]) == 23


def test_shards_of_damaged_images_alone_are_refused(folder):
    write(folder / "only.tar", [("bad", {"png": b"nothing", "cls": b"0"})])
    with (
        pytest.warns(UserWarning, match="1 images were skipped"),
        pytest.raises(MissingDataError, match="no images that can be read; 1 are damaged"),
    ):
        shards(folder / "only.tar", size=6, on_error="skip")


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("workers", [0, 1])
def test_ranks_and_workers_read_the_batches_of_one_process(folder, size, workers):
    data = shards(folder, size=6, test_fraction=0)
    x = open_column(data, "train", "x")[:]
    data.train["x"].block = 1
    stream = Stream(data, ("x",), 8, seed=3, device=CPU)
    order = [*itertools.islice(stream._indices(2, CPU), 3)]
    parts = []
    for rank in range(size):
        settings = {"rank": rank, "size": size, "workers": workers}
        stream = Stream(data, ("x",), 8, seed=3, device=CPU, **settings)
        parts.append(torch.stack([*itertools.islice(stream.batches(2), 3)]))
    expected = torch.stack([x[rows].float() / 255 for (rows,) in order])
    assert torch.equal(torch.cat(parts, dim=1), expected)


def test_processes_have_files_of_their_own(folder):
    column = shards(folder, size=6, test_fraction=0).train["x"].column
    first = column[np.arange(2)]
    assert list(column.files._files) == [0]
    copy = pickle.loads(pickle.dumps(column))
    assert not copy.files._files
    assert np.array_equal(copy[np.arange(2)], first)
    before = column.files._files[0]
    child = os.fork()
    if child == 0:
        same = np.array_equal(column[np.arange(2)], first)
        os._exit(0 if same and column.files._files[0] is not before else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert column.files._files[0] is before


def test_the_fingerprint_names_a_change(folder):
    before = fingerprint(shards(folder, size=6))
    assert fingerprint(shards(folder, size=6)) == before
    write(folder / "part-0002.tar", [example(i) for i in range(20, 29)] + [example(77)])
    assert fingerprint(shards(folder, size=6))["train"] != before["train"]


def test_a_path_of_shards_names_the_dataset(folder):
    for path in (folder, str(folder / "part-0001.tar"), folder / "part-{0000..0001}.tar"):
        table = config(as_dataset(path))
        assert (table["name"], table["path"]) == ("shards", str(path))


def fit(path, out, **settings):
    part = {"name": "mlp", "hidden": (4,)}
    model = {"name": "vae", "latent_dim": 2, "encoder": part, "decoder": part}
    data = {"name": "shards", "path": str(path), "size": 6}
    settings = {"steps": 9, "checkpoint_every": 4, "sample_every": 100, **settings}
    return genzoo.fit(model, data, out, batch_size=8, progress=False, **settings)


KILLED = """
import os, signal, sys
from tests.data.test_tar_shards import fit
from genzoo.train.artifacts import Artifacts

saved = Artifacts.save_checkpoint
def save(self, state):
    saved(self, state)
    if state["round"] == 4:
        os.kill(os.getpid(), signal.SIGKILL)
Artifacts.save_checkpoint = save
fit(sys.argv[1], sys.argv[2], workers=1)
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(folder, tmp_path, python):
    root = Path(__file__).parents[2]
    command = [python, "-c", KILLED, str(folder), str(tmp_path / "killed")]
    killed = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    whole = fit(folder, tmp_path / "whole").model.state_dict()
    resumed = fit(folder, tmp_path / "killed", resume=True).model.state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
