"""Datasets, compared with SciPy and with the files that the tests write."""

import numpy as np
import pytest
from genzoo_translation import art, derived
from genzoo_translation.derived import classes, edges, mapped
from genzoo_translation.folders import domains, pairs
from PIL import Image
from scipy import ndimage

from genzoo import Dataset, build
from genzoo.data.sklearn_digits import digits
from genzoo.errors import DataError


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "data"))


def test_edges_match_scipy():
    data, source = edges("digits", threshold=0.3), digits()
    y = np.stack([image[0] for image in data.train["y"].numpy()[:50]])
    x = y / 255
    length = np.stack(
        [
            np.hypot(ndimage.sobel(i, 0, mode="nearest"), ndimage.sobel(i, 1, mode="nearest")) / 4
            for i in x
        ]
    )
    clear = np.abs(length - 0.3) > 1e-6
    assert np.array_equal((data.train["x"].numpy()[:50, 0] == 255)[clear], (length > 0.3)[clear])
    assert np.allclose(
        x, np.asarray(source.train["x"])[:50, 0] / (source.levels - 1), atol=0.5 / 255
    )
    soft = edges("digits", threshold=None).train["x"].numpy()[:50, 0] / 255
    assert np.allclose(soft, np.minimum(length, 1), atol=0.51 / 255)


def test_edges_of_color_images_are_those_of_the_mean_color(monkeypatch):
    colors = np.random.default_rng(0).integers(0, 256, (5, 3, 9, 7), dtype=np.uint8)
    monkeypatch.setattr(derived, "as_dataset", lambda of: Dataset({"x": colors}))
    data = edges("anything", threshold=None)
    gray = colors.mean(axis=1) / 255
    length = np.stack(
        [
            np.hypot(ndimage.sobel(i, 0, mode="nearest"), ndimage.sobel(i, 1, mode="nearest")) / 4
            for i in gray
        ]
    )
    assert np.allclose(data.train["x"].numpy()[:, 0] / 255, np.minimum(length, 1), atol=0.51 / 255)
    assert data.shape_of("x") == (1, 9, 7)
    assert data.test == {}


@pytest.mark.parametrize(
    ("transform", "oracle"),
    [
        ("invert", lambda x: 255 - x),
        ("flip", lambda x: x[..., ::-1, :]),
        ("mirror", lambda x: x[..., ::-1]),
        ("rotate", lambda x: np.rot90(x, 1, (-2, -1))),
    ],
)
def test_y_contains_maps_of_images_that_are_not_in_x(transform, oracle):
    data = mapped("digits", transform)
    test = data.test["x"].numpy()
    assert np.array_equal(data.test["truth"].numpy(), oracle(test))
    assert np.array_equal(data.test["y"].numpy(), oracle(test))
    x, y = data.train["x"].numpy(), data.train["y"].numpy()
    source = edges("digits").train["y"].numpy()
    # four applications of a map are the identity
    back = {image.tobytes() for image in np.ascontiguousarray(oracle(oracle(oracle(y))))}
    assert {image.tobytes() for image in x} | back == {image.tobytes() for image in source}
    assert len(x) == len(y) == len(source) // 2


def test_another_seed_gives_different_halves():
    one, same, other = (mapped("digits", seed=seed).train["x"] for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_floats_are_converted_to_levels(monkeypatch):
    x = np.array([0.0, 0.5, 1.0], dtype=np.float32).reshape(3, 1, 1, 1).repeat(8, 2).repeat(8, 3)
    monkeypatch.setattr(derived, "as_dataset", lambda of: Dataset({"x": x}))
    assert sorted(edges("anything").train["y"][:, 0, 0, 0].tolist()) == [0, 128, 255]


def test_classes_match_the_labels():
    data, source = classes("digits", 3, 8), digits()
    x = edges("digits").train["y"].numpy()
    labels = np.asarray(source.train["y"])
    assert np.array_equal(data.train["x"].numpy(), x[labels == 3])
    assert np.array_equal(data.train["y"].numpy(), x[labels == 8])
    assert "truth" not in data.test


def picture(path, value, size=(6, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def test_pairs_with_equal_names_stay_together(tmp_path):
    for i in range(10):
        picture(tmp_path / "A" / f"{i}.png", i)
        picture(tmp_path / "B" / f"{i}.png", 100 + i)
    data = pairs(str(tmp_path), size=6, channels=1, test_fraction=0.3)
    assert data.rows("train") + data.rows("test") == 10
    assert data.groups == (("x", "y"),)
    for split in (data.train, data.test):
        assert np.array_equal(split["x"] + 100, split["y"])
    assert np.array_equal(data.test["truth"], data.test["y"])
    back = pairs(str(tmp_path), size=6, channels=1, reverse=True)
    assert np.array_equal(back.train["x"], back.train["y"] + 100)


def test_pairs_in_one_image_are_split(tmp_path):
    for i in range(4):
        image = Image.new("L", (12, 6), i)
        image.paste(200 + i, (6, 0, 12, 6))
        image.save(tmp_path / f"{i}.png")
    data = pairs(str(tmp_path), size=6, channels=1, layout="side-by-side", test_fraction=0.0)
    assert np.array_equal(data.train["x"] + 200, data.train["y"])
    assert data.shape == (1, 6, 6)
    assert data.test == {}


def test_folders_of_splits_are_kept(tmp_path):
    for name, n, first in (("train", 3, 0), ("val", 2, 10), ("test", 1, 20)):
        for i in range(n):
            picture(tmp_path / name / f"{i}.png", first + i, size=(12, 6))
    data = pairs(str(tmp_path), size=6, channels=1, layout="side-by-side")
    values = [
        sorted(split["x"][:, 0, 0, 0].tolist())
        for split in (data.train, data.validation, data.test)
    ]
    assert values == [[0, 1, 2], [10, 11], [20]]


def test_halves_are_split_before_they_are_resized(tmp_path):
    """Wide black and white halves do not mix, and each keeps its center."""
    image = Image.new("L", (96, 16), 0)
    image.paste(255, (48, 0, 96, 16))
    for left in (0, 48):
        image.paste(100, (left + 20, 0, left + 28, 16))  # in the middle of each half
    image.save(tmp_path / "one.png")
    data = pairs(str(tmp_path), size=8, channels=1, layout="side-by-side", test_fraction=0.0)
    x, y = data.train["x"][0, 0], data.train["y"][0, 0]
    for half in (x, y):
        assert (abs(half[:, 3:5].astype(int) - 100) < 5).all()
    assert x[:, :1].max() <= 1
    assert y[:, -1:].min() >= 254


def test_pairs_are_matched_by_name_and_not_by_suffix(tmp_path):
    for side, suffix, offset in (("A", "png", 0), ("B", "bmp", 100)):
        for i, name in enumerate(("a", "a.k", "a-b", "b")):
            picture(tmp_path / side / f"{name}.{suffix}", offset + i)
    data = pairs(str(tmp_path), size=6, channels=1, test_fraction=0.0)
    assert np.array_equal(data.train["x"] + 100, data.train["y"])


def test_held_out_images_come_from_both_domains_or_neither(tmp_path):
    picture(tmp_path / "A" / "one.png", 0)
    for i in range(40):
        picture(tmp_path / "B" / f"{i}.png", 100 + i)
    data = domains(str(tmp_path), size=6, channels=1, test_fraction=0.3)
    assert data.test == {}
    assert (len(data.train["x"]), len(data.train["y"])) == (1, 40)


def test_an_image_without_a_partner_is_named(tmp_path):
    for name in ("1", "2"):
        picture(tmp_path / "A" / f"{name}.png", 0)
        picture(tmp_path / "B" / f"{name}.png", 0)
    picture(tmp_path / "B" / "lonely.png", 0)
    with pytest.raises(DataError, match="lonely must occur once in"):
        pairs(str(tmp_path))
    picture(tmp_path / "A" / "lonely.png", 0)
    picture(tmp_path / "A" / "lonely.bmp", 0)
    with pytest.raises(DataError, match="lonely must occur once in"):
        pairs(str(tmp_path))


def test_domains_are_read_from_folders(tmp_path):
    for i in range(5):
        picture(tmp_path / "A" / f"{i}.png", i)
    for i in range(20):
        picture(tmp_path / "B" / f"{i}.png", 100 + i)
    data = domains(str(tmp_path), size=6, channels=1, test_fraction=0.4)
    for name, first, n in (("x", 0, 5), ("y", 100, 20)):
        both = np.concatenate([data.train[name], data.test[name]])[:, 0, 0, 0]
        assert sorted(both.tolist()) == list(range(first, first + n))
        assert 0 < len(data.test[name]) < n
    assert data.groups == (("x",), ("y",))


def test_domains_may_have_separate_test_folders(tmp_path):
    for folder, value in (("trainA", 1), ("trainB", 2), ("testA", 3), ("testB", 4)):
        picture(tmp_path / folder / "one.png", value)
    data = domains(str(tmp_path), size=6, channels=1, reverse=True)
    values = [int(split[name].max()) for split in (data.train, data.test) for name in "xy"]
    assert values == [2, 1, 4, 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: edges({"name": "toy", "distribution": "moons"}), "translation is between images"),
        (
            lambda: classes("digits", 3, 11),
            r"y = 11: no image of digits.* has this label; labels are \[0, 1",
        ),
        (lambda: classes({"name": "edges", "of": "digits"}), "labels"),
        (
            lambda: edges({"name": "digits", "binarize": "threshold"}),
            "binarize = 'threshold'.*would be lost",
        ),
        (lambda: mapped({"name": "digits", "dequantize": True}), "dequantize = True would be lost"),
        (lambda: edges({"name": "digits", "augment": ["flip"]}), "augment = .* would be lost"),
        (lambda: art.icons(folder="nowhere"), "tango-icon-theme"),
        (lambda: art.emoji(font=__file__), "cannot be read as a font"),
    ],
)
def test_unsuitable_images_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.skipif(
    not art._FONT.exists(), reason="the Debian package fonts-noto-color-emoji is not installed"
)
def test_emoji_are_rendered_in_two_styles():
    data = art.emoji(16)
    rows = data.rows("train") + data.rows("test")
    assert data.shape == (3, 16, 16)
    assert rows > 1000
    everything = art.emoji(16, glyphs="all").rows("train")
    assert everything > 2 * data.rows("train")
    # Each person and hand has five skin tones.
    tones = art.emoji(16, glyphs="skin-tones", test_fraction=0.0).rows("train")
    assert tones % 5 == 0
    assert 1000 < tones < everything / 2
    both = np.concatenate([data.train["x"], data.test["x"]])
    assert np.median(both[:, :, 0, 0]) == 255  # corners are white
    pairs_of = build({"name": "edges", "of": {"name": "emoji", "size": 16}}, "datasets")
    assert (pairs_of.shape_of("x"), pairs_of.shape_of("y")) == ((1, 16, 16), (3, 16, 16))


@pytest.mark.skipif(
    not (art._ICONS / "oxygen").exists(),
    reason="the Debian package oxygen-icon-theme is not installed",
)
def test_icons_are_read_in_two_styles():
    data, side_by_side = art.icons(), art.icons(paired=True)
    assert data.shape == (3, 32, 32)
    assert data.groups == (("x",), ("y",))
    assert len(data.train["y"]) > 4 * len(data.train["x"])
    assert len(side_by_side.train["x"]) == len(side_by_side.train["y"])
