"""Pictures as files: the suffix selects the format, and equal pictures are equal files."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.errors import SettingError
from genzoo.plots import curves, save, scatter, sheet
from genzoo.plots.files import as_html

pytestmark = pytest.mark.figures
STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".PNG": b"\x89PNG"}
SHEET = sheet(torch.rand(6, 1, 4, 4), columns=3, labels=["one", "two"])


@pytest.mark.parametrize("suffix", STARTS)
@pytest.mark.parametrize("kind", ["sheet", "pillow", "plot"])
def test_the_suffix_selects_the_format(kind, suffix, tmp_path):
    picture = {"sheet": SHEET, "pillow": SHEET.image}.get(kind)
    for name in ("a", "b"):
        drawn = scatter(torch.arange(6.0).view(3, 2)) if picture is None else picture
        save(drawn, tmp_path / f"{name}{suffix}")
    content = (tmp_path / f"a{suffix}").read_bytes()
    assert content.startswith(STARTS[suffix])
    assert content == (tmp_path / f"b{suffix}").read_bytes()


def test_a_png_of_a_sheet_has_exactly_its_pixels(tmp_path):
    SHEET.save(tmp_path / "sheet.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), np.asarray(SHEET))
    assert SHEET._repr_png_() == (tmp_path / "sheet.png").read_bytes()


def test_an_svg_of_a_sheet_has_exactly_its_images(tmp_path):
    save(SHEET, tmp_path / "sheet.svg")
    text = (tmp_path / "sheet.svg").read_text()
    images = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("L"))
        for content in re.findall(r'href="data:image/png;base64,([^"]+)"', text)
    ]
    assert len(images) == 6
    boxes = [image.get_extent() for image in SHEET.figure().axes[0].images]
    for image, (left, right, bottom, top) in zip(images, boxes, strict=True):
        assert np.array_equal(image, np.asarray(SHEET)[top:bottom, left:right])


@pytest.mark.parametrize("name", ["picture.jpg", "picture", "png"])
def test_other_suffixes_are_refused(name, tmp_path):
    with pytest.raises(SettingError, match=r"\.png, \.svg, or \.pdf"):
        save(SHEET, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_page_shows_plots_as_svg_and_sheets_as_png():
    page = as_html(scatter(torch.rand(3, 2)), "<b> points")
    kind, content, alt = re.search(
        r'src="data:image/([^;]+);base64,([^"]+)" alt="([^"]+)"', page
    ).groups()
    assert kind == "svg+xml"
    assert base64.b64decode(content).startswith(b"<?xml")
    assert alt == "&lt;b&gt; points"
    assert 'src="data:image/png;base64,' in as_html(SHEET, "Samples")


def test_a_matplotlib_settings_file_is_ignored(tmp_path):
    """Figures use matplotlib's default settings, because a file could ask to call tex."""
    import matplotlib

    with matplotlib.rc_context({"text.usetex": True}):
        save(curves([{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
