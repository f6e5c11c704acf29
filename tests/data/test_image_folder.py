import os
import shutil
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data import image_cache, image_reader
from genzoo.data.image_files import labels_from_file
from genzoo.data.image_folder import folder
from genzoo.data.stream import once
from genzoo.errors import DataError, SettingError
from genzoo.registry.build import build
from genzoo.registry.records import config

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def save(path, color, size=(16, 16), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path, **options)


def only(images, **settings):
    """Return the only image of a folder, (channels, H, W)."""
    data = folder(str(images), test_fraction=0.0, **settings)
    assert data.rows() == 1
    return np.array(data.train["x"][0])


def flat(color, size=4):
    return np.broadcast_to(np.array(color, np.uint8)[:, None, None], (len(color), size, size))


def test_images_are_found_by_suffix_at_any_depth(images):
    save(images / "a.png", RED)
    save(images / "b" / "c" / "d.JPG", GREEN)
    save(images / "b" / "e.webp", BLUE)
    save(images / ".hidden.png", RED)
    (images / "notes.txt").write_text("not an image")
    (images / "folder.png").mkdir()
    data = folder(str(images), size=4, test_fraction=0.0)
    assert (data.shape, data.rows("train")) == ((3, 4, 4), 3)
    colors = data.train["x"].mean(axis=(2, 3))
    assert sorted(colors.argmax(axis=1)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(20, 12), (20, 12)], (12, 20)),
        ([(20, 12), (12, 20)], (64, 64)),
        ([(63, 64), (63, 64)], (64, 64)),
        ([(90, 70), (90, 70)], (64, 64)),
    ],
)
def test_small_images_of_one_size_keep_it_by_default(images, sizes, expected):
    for i, size in enumerate(sizes):
        save(images / f"{i}.png", (i, 0, 0), size)
    assert folder(str(images), test_fraction=0.0).shape == (3, *expected)


def test_the_default_size_is_that_of_turned_images(images):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(images / "a.jpg", RED, (20, 12), exif=exif)
    data = folder(str(images), test_fraction=0.0)
    assert data.shape == (3, 20, 12)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("RGB", RED, RED),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (*RED, 0), (255, 255, 255)),  # a transparent pixel becomes white
        ("LA", (77, 0), (255, 255, 255)),
        ("P", 0, (0, 0, 0)),
    ],
)
def test_image_modes_are_converted_to_color(images, mode, color, expected):
    save(images / "a.png", color, mode=mode)
    assert np.array_equal(only(images, size=4), flat(expected))


def test_gray_is_luma(images):
    save(images / "a.png", RED)
    assert np.array_equal(only(images, size=4, channels=1), flat((76,)))  # ITU-R 601: 0.299 of 255


def test_the_center_is_kept(images):
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, :10], stripes[:, 10:20], stripes[:, 20:] = RED, GREEN, BLUE
    Image.fromarray(stripes).save(images / "wide.png")
    assert np.array_equal(only(images, size=10), flat(GREEN, 10))
    (images / "wide.png").unlink()
    Image.fromarray(stripes.transpose(1, 0, 2)).save(images / "tall.png")
    assert np.array_equal(only(images, size=10), flat(GREEN, 10))
    whole = only(images, size=(30, 10))  # height, width: nothing is cropped
    assert np.array_equal(whole, stripes.transpose(2, 1, 0))


def test_exif_rotation_is_applied(images):
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2] = RED
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise: the top moves to the right
    Image.fromarray(pixels).save(images / "a.png", exif=exif)
    assert np.array_equal(only(images, size=4), pixels.transpose(2, 1, 0)[:, :, ::-1])


def test_the_result_is_memory_mapped_and_cached(images, monkeypatch):
    for k in range(10):
        save(images / f"{k}.png", (25 * k, 0, 0))
    first = folder(str(images), size=4, test_fraction=0.3)
    assert isinstance(first.train["x"], np.memmap)
    reds = [int(x[0, 0, 0]) for part in (first.train, first.test) for x in part["x"]]
    assert sorted(reds) == [25 * k for k in range(10)]
    assert reds != sorted(reds)

    def refuse(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(image_reader.Reader, "__call__", refuse)
    again = folder(str(images), size=4, test_fraction=0.3)
    assert np.array_equal(again.train["x"], first.train["x"])
    assert folder(str(images), size=4, test_fraction=0.9).rows("test") > first.rows("test")
    for settings in ({"size": 5}, {"size": 4, "channels": 1}, {"size": 4, "seed": 2}):
        with pytest.raises(AssertionError, match="read again"):
            folder(str(images), **settings)
    os.utime(images / "9.png", ns=(1, 1))
    with pytest.raises(AssertionError, match="read again"):
        folder(str(images), size=4)


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_an_unreadable_image_is_named_and_nothing_is_cached(images, tmp_path, content):
    save(images / "good.png", RED)
    if content is None:  # truncated
        Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8)).save(
            images / "whole.png"
        )
        content = (images / "whole.png").read_bytes()[:2000]
        (images / "whole.png").unlink()
    (images / "broken.png").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png cannot be read as an image"):
        folder(str(images))
    assert not [path for path in (tmp_path / "home" / "folder").iterdir() if path.is_file()]
    (images / "broken.png").unlink()
    assert folder(str(images)).rows() == 1


def test_missing_and_empty_folders_are_refused(images):
    with pytest.raises(DataError, match=r"has no images; they end in \.avif, \.bmp"):
        folder(str(images))
    with pytest.raises(DataError, match="nowhere is not a folder"):
        folder(str(images / "nowhere"))
    save(images / "a.png", RED)
    with pytest.raises(DataError, match=r"a\.png is not a folder"):
        folder(str(images / "a.png"))


@pytest.mark.filterwarnings("error")
def test_a_table_builds_batches(images):
    save(images / "a.png", RED)
    table = {"name": "folder", "path": str(images), "size": [2, 4]}
    data = build(table, "datasets")
    assert config(data)["size"] == (2, 4)
    (batch,) = once(data, ("x",), 8, device=torch.device("cpu"), split="train")
    assert torch.equal(batch, torch.tensor([1.0, 0, 0])[None, :, None, None].expand(1, 3, 2, 4))


def gradient(images, array, name, **settings):
    """Return the pixels of a row of an image, as they are read."""
    Image.fromarray(array).save(images / name)
    return only(images, size=(4, 8), channels=1, **settings)[0, 0].tolist()


LEVELS = np.arange(8, dtype=np.float64)[None].repeat(4, 0) / 7


@pytest.mark.parametrize(
    ("array", "name", "settings"),
    [
        ((LEVELS * 65535).astype(np.uint16), "a.png", {}),
        ((LEVELS * 65535).astype(np.uint16), "a.tif", {}),
        (LEVELS.astype(np.float32), "a.tif", {}),
        ((LEVELS * 9 - 4).astype(np.float32), "a.tif", {"value_range": (-4.0, 5.0)}),
        ((LEVELS * 4095).astype(np.uint16), "a.png", {"value_range": (0.0, 4095.0)}),
        ((LEVELS * 10**6).astype(np.int32), "a.tif", {"value_range": (0.0, 1e6)}),
    ],
)
def test_deep_images_keep_their_levels(images, array, name, settings):
    expected = np.rint(LEVELS[0] * 255)
    assert np.abs(gradient(images, array, name, **settings) - expected).max() <= 1


@pytest.mark.parametrize(
    ("array", "settings", "message"),
    [
        ((LEVELS * 9).astype(np.float32), {}, "real numbers, values from 0 to 9.* value_range"),
        ((LEVELS * 10**6).astype(np.int32), {}, "32 bits, values from 0 to 1e.06.* value_range"),
        (LEVELS.astype(np.float32), {"value_range": (0.0, 0.5)}, "outside value_range"),
        (np.full((4, 8), np.nan, np.float32), {}, "NaN"),
    ],
)
def test_deep_images_of_unknown_range_are_refused(images, array, settings, message):
    with pytest.raises(DataError, match=message):
        gradient(images, array, "a.tif", **settings)


def test_opacity_is_kept_as_a_fourth_channel(images):
    save(images / "a.png", (*RED, 128), mode="RGBA")
    assert np.array_equal(only(images, size=4, channels=4), flat((*RED, 128)))


def test_an_image_is_cropped_padded_or_squashed(images):
    save(images / "a.png", RED, size=(16, 8))
    assert np.array_equal(only(images, size=8, fit="crop"), flat(RED, 8))
    assert np.array_equal(only(images, size=8, fit="squash"), flat(RED, 8))
    padded = only(images, size=8, fit="pad")
    assert np.array_equal(padded[:, 2:6], np.broadcast_to(flat(RED, 8)[:, :4], (3, 4, 8)))
    assert (padded[:, :2] == 255).all()


def test_broken_exif_data_do_not_matter(images):
    save(images / "a.jpg", RED)
    content = (images / "a.jpg").read_bytes()
    # orientation 6, and a resolution that is text
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x011A, 2, 2, 0x363636)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + b"\0\0\0\0"
    header = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (images / "a.jpg").write_bytes(content[:2] + header + content[2:])
    assert only(images, size=4).shape == (3, 4, 4)


def test_hidden_folders_are_passed_over_and_links_are_followed(images, tmp_path):
    save(images / "cats" / "a.png", RED)
    save(images / ".ipynb_checkpoints" / "a.png", GREEN)
    save(tmp_path / "store" / "b.png", BLUE)
    (images / "dogs").symlink_to(tmp_path / "store")
    (images / "cats" / "loop").symlink_to(images)
    data = folder(str(images), size=4, test_fraction=0.0)
    assert sorted(data.train["x"].mean(axis=(2, 3)).argmax(axis=1)) == [0, 2]


def test_images_that_cannot_be_read_here_are_counted(images):
    save(images / "a.png", RED)
    for i in range(3):
        (images / f"{i}.NEF").write_bytes(b"raw")
    (images / "gone.png").symlink_to("nowhere")
    with pytest.warns(UserWarning, match=r"1 images. Skipped: 3 .nef files"):
        assert folder(str(images), size=4, test_fraction=0.0).rows() == 1


def test_all_unreadable_images_are_named_or_skipped(images):
    for i in range(5):
        save(images / f"{i}.png", (50 * i, 0, 0))
    for name in ("bad1.png", "bad2.jpg"):
        (images / name).write_bytes(b"broken")
    with pytest.raises(DataError, match=r"(?s)2 of 7 images.*on_error = .*bad\d.*bad\d"):
        folder(str(images), size=4)
    with pytest.warns(UserWarning, match="2 images were skipped: .*bad"):
        data = folder(str(images), size=4, test_fraction=0.0, on_error="skip")
    assert sorted(data.train["x"][:, 0, 0, 0].tolist()) == [0, 50, 100, 150, 200]
    with pytest.warns(UserWarning, match="2 images were skipped"):  # also from the cache
        again = folder(str(images), size=4, test_fraction=0.0, on_error="skip")
    assert np.array_equal(again.train["x"], data.train["x"])
    assert sorted(again.skipped) == ["bad1.png", "bad2.jpg"]


def split_of_reds(images, **settings):
    """Return the red levels of the rows of each split."""
    data = folder(str(images), size=4, **settings)
    return [
        set(split["x"][:, 0, 0, 0].tolist()) if split else set()
        for split in (data.train, data.test)
    ]


def test_a_new_file_moves_no_other_file_between_the_splits(images):
    for i in range(40):
        save(images / f"{i}.png", (5 * i, 0, 0))
    train, test = split_of_reds(images, test_fraction=0.3)
    assert 4 < len(test) < 20
    save(images / "new.png", (255, 0, 0))
    (images / "7.png").unlink()
    (images / "8.png").rename(images / "renamed.png")
    now_train, now_test = split_of_reds(images, test_fraction=0.3)
    assert now_train - {255} == train - {35}
    assert now_test - {255} == test - {35}
    (images / "copy.png").write_bytes((images / "9.png").read_bytes())
    train, test = split_of_reds(images, test_fraction=0.3)
    assert not train & test  # equal images are in one split
    assert split_of_reds(images, test_fraction=0.3, seed=1)[1] != test


def test_folders_of_splits_are_honored(images):
    for name, reds in (("train", (1, 2, 3)), ("val", (4, 5)), ("test", (6,))):
        for red in reds:
            save(images / name / f"{red}.png", (red, 0, 0))
    data = folder(str(images), size=4, test_fraction=0.5)
    splits = [sorted(data.splits[name]["x"][:, 0, 0, 0].tolist()) for name in data.splits]
    assert splits == [[1, 2, 3], [6], [4, 5]]
    shutil.rmtree(images / "test")
    data = folder(str(images), size=4)
    assert (data.rows("train"), data.rows("test"), data.validation) == (3, 2, {})
    assert folder(str(images), size=4, splits="content", test_fraction=0.0).rows() == 5
    save(images / "extra.png", RED)
    with pytest.raises(DataError, match=r"1 images are in none of them, such as .*extra\.png"):
        folder(str(images), size=4)
    with pytest.raises(SettingError, match='splits = "folders"'):
        folder(str(images / "val"), size=4, splits="folders")


def test_folders_of_classes_are_labels(images):
    for name, reds in (("cats", (1, 2)), ("dogs", (3,))):
        for red in reds:
            save(images / name / "deep" / f"{red}.png", (red, 0, 0))
    data = folder(str(images), size=4, test_fraction=0.0)
    assert data.metadata["class_names"] == ("cats", "dogs")
    assert data.train["y"].dtype == np.int64
    labels = dict(zip(data.train["x"][:, 0, 0, 0].tolist(), data.train["y"].tolist(), strict=True))
    assert labels == {1: 0, 2: 0, 3: 1}
    assert "y" not in folder(str(images), size=4, labels=None).train
    assert "y" not in folder(str(images / "cats"), size=4).train
    with pytest.raises(SettingError, match='labels = "folders": some images'):
        folder(str(images / "cats" / "deep"), size=4, labels="folders")


def test_labels_come_from_a_table(images):
    for red in (1, 2, 3):
        save(images / f"{red}.png", (red, 0, 0))
    (images / "labels.csv").write_text("file,label\n1.png,10\n2.png,9\n3.png,10\n")
    data = folder(str(images), size=4, test_fraction=0.0, labels="labels.csv")
    assert data.metadata["class_names"] == ("9", "10")
    labels = dict(zip(data.train["x"][:, 0, 0, 0].tolist(), data.train["y"].tolist(), strict=True))
    assert labels == {1: 1, 2: 0, 3: 1}
    (images / "labels.csv").write_text("1.png,10\n2.png,\n")
    with pytest.raises(DataError, match=r'no label for 2 of 3 images, such as "2.png"'):
        folder(str(images), size=4, labels="labels.csv")
    with pytest.raises(DataError, match="cannot be read"):
        folder(str(images), size=4, labels="none.csv")


@pytest.mark.parametrize(
    "table",
    [
        "file,width,label\n1.png,6,10\n2.png,7,9\n",
        "Class;id;path\n10;1,5;./1.png\n9;2;2.png\n",
        "1.png\t10\n./2.png\t9\n",
        '2.png;9\r\n"1.png";"10"\r\n',
    ],
)
def test_columns_of_a_table_are_found_by_the_head(images, table):
    files = [images / name for name in ("1.png", "2.png")]
    (images / "labels.csv").write_text(table)
    assert labels_from_file(images / "labels.csv", images, files) == ["10", "9"]


def test_paths_of_windows_name_files(images):
    files = [images / name / "0.png" for name in ("lab", "map")]
    (images / "labels.csv").write_text("lab\\0.png,a\n.\\map\\0.png,b\n")
    assert labels_from_file(images / "labels.csv", images, files) == ["a", "b"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,width,label\n1.png,6,10\n", r"row 1 .* has 3 columns; expected 2, a file and its"),
        ("1.png;cat\n2.png\n", r"row 2 .* has 1 columns; expected 2"),
        ("file,label\n1.png,a,b\n", r"row 2 .* has 3 columns; expected 2, as in the first row"),
    ],
)
def test_tables_that_are_not_clear_are_refused(images, table, message):
    (images / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        labels_from_file(images / "labels.csv", images, [images / "1.png"])


def entries(home):
    """Return the names of the files of stored images."""
    return [path.name for path in (home / "folder").iterdir() if path.is_file()]


def test_a_folder_has_one_stored_copy(images, tmp_path):
    for i in range(3):
        save(images / f"{i}.png", (i, 0, 0))
        folder(str(images), size=4)
    (name,) = entries(tmp_path / "home")
    assert name.startswith("images-")


@pytest.mark.parametrize("size", [0, 40, 150])
def test_a_damaged_copy_is_made_again(images, tmp_path, size):
    for i in range(9):
        save(images / f"{i}.png", (i, 0, 0))
    whole = np.array(folder(str(images), size=4).train["x"])
    (path,) = (tmp_path / "home" / "folder").glob("*.npy")
    path.write_bytes(path.read_bytes()[:size])
    assert np.array_equal(folder(str(images), size=4).train["x"], whole)


def test_an_interrupted_build_continues(images, tmp_path, monkeypatch):
    for i in range(9):
        save(images / f"{i}.png", (i, 0, 0))
    monkeypatch.setattr(image_cache, "_CHUNK", 2)
    real, calls = image_cache._read, []

    def interrupted(reader, file):
        calls.append(file)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(reader, file)

    monkeypatch.setattr(image_cache, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        folder(str(images), size=4, test_fraction=0.0)
    assert entries(tmp_path / "home")[0].endswith(".partial")
    before = len(calls)
    data = folder(str(images), size=4, test_fraction=0.0)
    assert sorted(data.train["x"][:, 0, 0, 0].tolist()) == list(range(9))
    assert len(calls) - before == 9 - 4
    assert not entries(tmp_path / "home")[0].endswith(".partial")


def test_a_large_image_needs_a_setting(images):
    save(images / "a.png", 0, size=(400, 300), mode="1")
    with pytest.raises(DataError, match=r"too large .*set max_pixels"):
        folder(str(images), size=4, max_pixels=100_000)
    assert folder(str(images), size=4, max_pixels=120_000, test_fraction=0.0).rows() == 1


def test_no_space_is_an_error_before_anything_is_written(images, tmp_path, monkeypatch):
    save(images / "a.png", RED)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(DataError, match=r"needs 0 MiB, and the disk has .*GENZOO_DATA"):
        folder(str(images), size=64)
    assert entries(tmp_path / "home") == []


def test_an_error_is_the_same_the_second_time(images):
    for i in range(3):
        save(images / f"{i}.png", (i, 0, 0))
    (images / "bad.png").write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(DataError, match="1 of 4 images cannot be read"):
            folder(str(images), size=4)


def test_a_build_does_not_continue_with_the_images_of_another(images, monkeypatch):
    for i in range(8):
        save(images / f"{i}.png", (20 * i, 0, 0))
    expected = np.array(folder(str(images), size=4, test_fraction=0.0).train["x"])
    (images / "7.png").touch()  # read again from here on
    monkeypatch.setattr(image_cache, "_CHUNK", 2)
    real = image_cache._read

    def stop_after(number):
        calls = []

        def read(reader, file):
            calls.append(file)
            if len(calls) > number:
                raise KeyboardInterrupt
            return real(reader, file)

        monkeypatch.setattr(image_cache, "_read", read)

    # seed 0 stops after some chunks, seed 1 in its first chunk
    for seed, number in ((0, 5), (1, 1)):
        stop_after(number)
        with pytest.raises(KeyboardInterrupt):
            folder(str(images), size=4, test_fraction=0.0, seed=seed)
    monkeypatch.setattr(image_cache, "_read", real)
    again = folder(str(images), size=4, test_fraction=0.0).train["x"]
    assert np.array_equal(again, expected)


def test_builds_of_folders_with_equal_names_do_not_disturb_each_other(images, tmp_path):
    save(images / "A" / "a.png", RED)
    save(images / "B" / "A" / "b.png", BLUE)
    partial = image_cache._Entry(images / "A", "other").partial
    folder(str(images / "A"), size=4, test_fraction=0.0)
    partial.write_bytes(b"")
    folder(str(images / "B" / "A"), size=4, test_fraction=0.0)
    assert partial.exists()
    folder(str(images / "A"), size=5, test_fraction=0.0)
    assert not partial.exists()


def test_ambiguous_labels_are_refused(images):
    save(images / "cats" / "1.png", RED)
    save(images / "dogs" / "1.png", BLUE)
    table = images / "labels.csv"
    table.write_text("1.png,cat\n")
    with pytest.raises(DataError, match=r'"1.png", and 2 images have this name'):
        folder(str(images), size=4, labels=str(table))
    table.write_text("cats/1.png,cat\ndogs/1.png,dog\ncats/1.png,dog\n")
    with pytest.raises(DataError, match="'cat' and 'dog'"):
        folder(str(images), size=4, labels=str(table))
