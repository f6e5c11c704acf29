"""Picture files are read without a loss, or refused by name."""

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.errors import DataError
from genzoo.metrics.outliers.pictures import picture_files, read_pictures

RAMP = (np.arange(64, dtype=np.uint8) * 4).reshape(8, 8)
COLOR = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=2)


def saved(folder, name, pixels, mode=None, **settings):
    image = Image.fromarray(pixels)
    image = image.convert(mode) if mode else image
    image.save(folder / name, **settings)
    return folder / name


@pytest.mark.parametrize(
    ("name", "pixels", "mode"),
    [
        ("gray.png", RAMP, None),
        ("gray.bmp", RAMP, None),
        ("gray.pgm", RAMP, None),
        ("gray.tif", RAMP, None),
        ("palette.png", RAMP, "P"),
        ("colors.png", RAMP, "RGB"),
        ("opaque.png", RAMP, "LA"),
        ("opaque-colors.png", RAMP, "RGBA"),
        ("clear-on-white.png", np.stack([0 * RAMP, 255 - RAMP], axis=2), None),
        ("sixteen-bits.png", RAMP.astype(np.uint16) * 257, None),
    ],
)
def test_every_way_to_store_a_gray_picture_gives_its_pixels(name, pixels, mode, tmp_path):
    file = saved(tmp_path, name, pixels, mode)
    pictures, failed = read_pictures([file], (1, 8, 8))
    assert failed == {}
    assert torch.equal(pictures[str(file)], torch.from_numpy(RAMP)[None])


def test_two_levels_are_black_and_white(tmp_path):
    file = saved(tmp_path, "bits.png", (RAMP > 99).astype(np.uint8) * 255, "1")
    pictures, _ = read_pictures([file], (1, 8, 8))
    assert torch.equal(pictures[str(file)][0], torch.from_numpy(RAMP > 99).byte() * 255)


def test_color_pictures_keep_their_colors_and_gray_ones_have_three_equal_channels(tmp_path):
    color, gray = saved(tmp_path, "a.png", COLOR), saved(tmp_path, "b.png", RAMP)
    pictures, _ = read_pictures([color, gray], (3, 8, 8))
    assert torch.equal(pictures[str(color)], torch.from_numpy(COLOR).permute(2, 0, 1))
    assert torch.equal(pictures[str(gray)], torch.from_numpy(RAMP).expand(3, 8, 8))


@pytest.mark.parametrize(
    ("pixels", "shape", "message"),
    [
        (RAMP[:7], (1, 8, 8), r"gray picture of 7 x 8 pixels, .* gray pictures of 8 x 8"),
        (COLOR, (1, 8, 8), r"color picture of 8 x 8 pixels, .* gray pictures of 8 x 8"),
        (COLOR, (3, 8, 9), r"color picture of 8 x 8 pixels, .* color pictures of 8 x 9"),
    ],
)
def test_other_pictures_are_refused_by_name_unless_they_are_resized(
    pixels, shape, message, tmp_path
):
    fitting = saved(tmp_path, "a.png", np.zeros(shape[1:], np.uint8))
    other = saved(tmp_path, "b.png", pixels)
    with pytest.raises(DataError, match=rf"b\.png is a {message}.*--resize"):
        read_pictures([fitting, other], shape)
    pictures, _ = read_pictures([fitting, other], shape, resize=True)
    assert [tuple(x.shape) for x in pictures.values()] == [shape, shape]


def test_unreadable_files_do_not_stop_the_others(tmp_path):
    good, broken = saved(tmp_path, "a.png", RAMP), tmp_path / "b.png"
    broken.write_bytes(good.read_bytes()[:40])
    text = tmp_path / "c.png"
    text.write_text("not a picture")
    number = saved(tmp_path, "d.tif", RAMP.astype(np.float32))
    files = picture_files([tmp_path, good])
    assert files == [good, broken, text, number]
    for resize in (False, True):
        known = files[: 4 - resize]  # resizing accepts floats
        pictures, failed = read_pictures(known, (1, 8, 8), resize=resize)
        assert list(pictures) == [str(good)]
        assert list(failed) == list(map(str, known[1:]))
        assert all(file in reason for file, reason in failed.items())
    with pytest.raises(DataError, match=r"No picture can be read.*b\.png"):
        read_pictures([broken, text], (1, 8, 8))


@pytest.mark.parametrize("shape", [(2,), (2, 8, 8)])
def test_only_images_are_read_from_files(shape, tmp_path):
    with pytest.raises(DataError, match="not gray or color pictures"):
        read_pictures([saved(tmp_path, "a.png", RAMP)], shape)
