"""Sheets: images and texts are where they belong, and other settings are refused."""

import numpy as np
import pytest
import torch

from genzoo.errors import SettingError
from genzoo.plots import pairs, sheet

GRAY = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]).view(6, 1, 1, 1).expand(6, 1, 4, 4)


def test_a_sheet_places_images_row_by_row():
    images = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]).view(6, 1, 1, 1).expand(6, 1, 4, 4)
    pixels = np.asarray(sheet(images, columns=3, side=12))
    assert pixels.shape == (12, 18)
    assert pixels[3::6, 3::6].tolist() == [[0, 51, 102], [153, 204, 255]]


def test_the_border_is_optional():
    assert sheet(torch.rand(1, 1, 4, 4), side=0, border=0).size == (4, 4)


def dark(picture):
    """Return True for each pixel of text on a sheet of white images."""
    return np.asarray(picture) < 128


def test_labels_of_rows_are_on_their_left():
    white = torch.ones(6, 1, 4, 4)
    plain = sheet(white, columns=3, side=600)
    labeled = sheet(white, columns=3, side=600, labels=["one", "two"])
    margin = labeled.size[0] - plain.size[0]
    assert margin > 0
    assert labeled.size[1] == plain.size[1]
    text = dark(labeled)
    assert not text[:, margin:].any()
    height = plain.size[1] // 2
    for half in (text[:height], text[height:]):
        rows = np.flatnonzero(half.any(axis=1))
        assert abs(rows.mean() - height / 2) < 6


def test_labels_of_images_are_below_them():
    white = torch.ones(5, 1, 4, 4)
    plain = sheet(white, columns=3, side=600)
    labeled = sheet(white, columns=3, side=600, labels=["a", "b", "c", "d", "e"])
    assert labeled.size[0] == plain.size[0]
    strip = (labeled.size[1] - plain.size[1]) // 2
    side = plain.size[0] // 3
    text = dark(labeled)
    for row in range(2):
        top = row * (side + strip)
        assert not text[top : top + side].any()
        below = text[top + side : top + side + strip]
        shown = [below[:, i * side : (i + 1) * side].any() for i in range(3)]
        assert shown == [True, True, row == 0]


def test_equal_titles_of_adjacent_columns_are_one_text():
    white = torch.ones(8, 1, 4, 4)
    both = sheet(white, columns=4, side=400, titles=["left", "left", "", "right"])
    columns = np.flatnonzero(dark(both).any(axis=0)) / both.size[0]
    left, right = columns[columns < 0.5], columns[columns > 0.5]
    assert left.mean() == pytest.approx(1 / 4, abs=0.02)
    assert right.mean() == pytest.approx(7 / 8, abs=0.02)
    repeated = sheet(white, columns=4, side=400, titles=["a", "b"])
    quarters = np.array_split(dark(repeated).any(axis=0), 4)
    assert all(quarter.any() for quarter in quarters)


def test_long_texts_are_cut_and_control_characters_are_shown():
    white = torch.ones(4, 1, 4, 4)
    for texts in (["x" * 500, "b"], ["x" * 500, "b", "", "c"]):
        picture = sheet(white, columns=2, labels=texts)
        assert picture.size[0] <= 2 * 1300
        assert dark(picture).any()
    texts = picture.figure().axes[0].texts
    assert texts[0].get_text().endswith("x…")
    figure = sheet(white, columns=2, labels=["a\nb", "$x$"]).figure()
    assert [text.get_text() for text in figure.axes[0].texts] == ["a\\nb", "$x$"]


def test_a_figure_of_a_sheet_has_its_images_and_texts():
    x = torch.rand(5, 3, 4, 4)
    picture = sheet(x, columns=2, labels=["one", "two", "three"], titles=["left", "right"])
    figure = picture.figure()
    axes = figure.axes[0]
    assert len(axes.images) == 5
    pixels = np.asarray(picture)
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        expected = pixels[top:bottom, left:right]
        assert np.array_equal(image.get_array(), expected)
    assert [text.get_text() for text in axes.texts] == ["left", "right", "one", "two", "three"]
    assert {text.get_fontsize() for text in axes.texts} == {8}
    # the images alone are 6.4 inches wide
    margin = picture.size[0] - 2 * (left_of(axes.images[1]) - left_of(axes.images[0]))
    inches = figure.get_size_inches()[0] * (1 - margin / picture.size[0])
    assert inches == pytest.approx(6.4, abs=0.2)


def left_of(image):
    return image.get_extent()[0]


def test_pairs_alternate():
    left, right = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    pixels = np.asarray(pairs(left, right))
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 4
    centers = pixels[height // 2 :: height, width // 2 :: width]
    assert centers.tolist() == [[0, 255, 0, 255], [0, 255, 255, 255]]


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"labels": ["a", "b", "c", "d"]}, ("4 labels", "6 images in 2 rows")),
        ({"titles": ["a", "b"]}, ("2 titles", "3 columns")),
        ({"columns": 0}, ("columns = 0",)),
    ],
)
def test_other_settings_are_refused(settings, parts):
    with pytest.raises(SettingError) as error:
        sheet(GRAY, **{"columns": 3, **settings})
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (4, 4), (4, 1, 4, 0)])
def test_a_sheet_needs_images(shape):
    with pytest.raises(SettingError, match="images of shape"):
        sheet(torch.zeros(shape))


def test_a_sheet_needs_floats():
    with pytest.raises(SettingError, match=r"uint8.*divide bytes by 255"):
        sheet(torch.full((4, 1, 4, 4), 128, dtype=torch.uint8))


@pytest.mark.parametrize("images", [np.zeros((4, 1, 8, 8)), torch.nn.Identity(), [1.0]])
def test_a_sheet_of_something_else_says_what_it_needs(images):
    with pytest.raises(SettingError, match=r"images of type \w+: a sheet needs a tensor"):
        sheet(images)


def test_empty_columns_are_left_out():
    wide, fitting = sheet(GRAY, columns=10_000), sheet(GRAY, columns=len(GRAY))
    assert wide.size == fitting.size
    both = sheet(GRAY[:3], columns=8, titles=["left", "right"])  # titles stay above both columns
    assert len(both.figure().axes[0].texts) == 4
