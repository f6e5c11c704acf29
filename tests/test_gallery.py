"""The gallery of the first page: pictures show samples pixel by pixel, and pages list them once."""

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from recipes import gallery, weights
from recipes.pages import fill, names

MARKED = "# Title\n\n<!-- gallery -->\n<!-- end -->\n\n<!-- other -->\nkept\n<!-- end -->\n"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_enlarges_each_pixel(channels):
    first = torch.tensor([0, 1, 0.2, 0.4, 0.6, 0.8, 1, 1]).view(8, 1, 1, 1)
    pixels = np.asarray(gallery.tiles(first.expand(8, channels, 28, 28)))
    assert pixels.shape == (2 * 56 + 2, 4 * 56 + 6, channels + 1)
    assert pixels[0, [0, 55, 58, 116], 0].tolist() == [0, 0, 255, 51]
    assert pixels[0, [55, 56, 57, 58], -1].tolist() == [255, 0, 0, 255], "gaps are transparent"


def test_the_script_writes_each_picture_once_however_often_it_runs(monkeypatch, tmp_path):
    pages = (tmp_path / "README.md", tmp_path / "docs" / "index.md")
    (tmp_path / "docs" / "assets").mkdir(parents=True)
    for page in pages:
        page.write_text(MARKED)
    monkeypatch.setattr(gallery, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(gallery, "PAGES", pages)
    monkeypatch.setattr(gallery, "DATA", {"digits": "digits"})
    chosen = {"gan.digits": ("GAN", "models/gan.md"), "nade.digits": ("NADE", "models/nade.md")}
    monkeypatch.setattr(gallery, "ENTRIES", chosen)
    gallery.main()
    texts = [page.read_text() for page in pages]
    gallery.main()
    assert [page.read_text() for page in pages] == texts
    for text, prefix in zip(texts, ("docs/", ""), strict=True):
        for name, (_, target) in chosen.items():
            assert text.count(f"{prefix}assets/gallery/{name}.png") == 1
            assert text.count(f"]({prefix}{target})") == 1
        assert text.endswith("<!-- end -->\n\n<!-- other -->\nkept\n<!-- end -->\n")
    gan = genzoo.load("gan.digits")
    torch.manual_seed(0)
    first = (255 * gan.sample(8)[0, 0]).round().byte()
    picture = np.asarray(Image.open(tmp_path / "docs" / "assets" / "gallery" / "gan.digits.png"))
    assert (picture[:64:8, :64:8, 0] == first.numpy()).all()


@pytest.mark.slow
def test_translations_follow_their_inputs(tmp_path):
    small = {"width": 4}
    table = {"translator": {"name": "unet", **small}, "critic": {"name": "patch", **small}}
    data = {"name": "edges", "of": "digits"}
    run = genzoo.fit({"name": "pix2pix", **table}, data, tmp_path / "run", steps=1)
    images = gallery.samples(str(run.folder))
    assert images.shape == (8, 1, 8, 8)
    edges = genzoo.build(data, "datasets").test["x"][:4]
    assert (images[::2] * 255).round().byte().equal(torch.as_tensor(edges))


def test_the_pages_state_what_the_entries_measure(monkeypatch):
    """The tables of the entries and of the leaderboard agree with the stored measurements."""

    def compare(page, name, content):
        text = page.read_text(encoding="utf-8")
        assert name in names(text)
        assert fill(text, name, content) == text, f"run recipes/weights.py: {page.name}, {name}"

    monkeypatch.setattr(weights, "fill_page", compare)
    weights.write_table()
    weights.write_leaderboard()
