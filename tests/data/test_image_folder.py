import os

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data import image_folder as module
from genzoo.data.image_folder import folder
from genzoo.data.stream import once
from genzoo.errors import DataError
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
    data = folder(str(images), size=4, test_fraction=0.4)
    assert (data.shape, data.rows("train"), data.rows("test")) == ((3, 4, 4), 2, 1)
    colors = np.concatenate([data.train["x"], data.test["x"]]).mean(axis=(2, 3))
    assert sorted(colors.argmax(axis=1)) == [0, 1, 2]


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
    first = folder(str(images), size=4)
    assert (first.rows("train"), first.rows("test")) == (9, 1)
    assert isinstance(first.train["x"], np.memmap)
    reds = [int(x[0, 0, 0]) for part in (first.train, first.test) for x in part["x"]]
    assert sorted(reds) == [25 * k for k in range(10)]
    assert reds != sorted(reds)
    other = folder(str(images), size=4, seed=1)
    assert not np.array_equal(first.train["x"], other.train["x"])

    def refuse(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(module, "read_image", refuse)
    assert np.array_equal(folder(str(images), size=4).train["x"], first.train["x"])
    assert folder(str(images), size=4, test_fraction=0.5).rows("test") == 5
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
    assert not list((tmp_path / "home" / "folder").iterdir())
    (images / "broken.png").unlink()
    assert folder(str(images)).rows() == 1


def test_missing_and_empty_folders_are_refused(images):
    with pytest.raises(DataError, match=r"has no images; they end in \.bmp"):
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
