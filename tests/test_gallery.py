"""The gallery of the first page: pictures show samples pixel by pixel, and pages list them once."""

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from recipes import gallery

MARKED = "# Title\n\n<!-- gallery -->\n<!-- end -->\n\n<!-- other -->\nkept\n<!-- end -->\n"


def test_weights_on_fashion_mnist_come_first(monkeypatch):
    names = ["gan.digits", "gan.fashion-mnist", "vae.digits", "wgan.kmnist"]
    monkeypatch.setattr(genzoo.weights, "available", lambda: names)
    assert gallery.entries() == {"vae": "vae.digits", "gan": "gan.fashion-mnist"}


def test_a_picture_enlarges_each_pixel():
    images = torch.tensor([0, 1, 0.2, 0.4, 0.6, 0.8]).view(6, 1, 1, 1).expand(6, 1, 28, 28)
    pixels = np.asarray(gallery.tiles(images, columns=3))
    assert pixels.shape == (2 * 56 + 2, 3 * 56 + 4, 2)
    assert pixels[0, [0, 55, 58, 116], 0].tolist() == [0, 0, 255, 51]
    assert pixels[0, [55, 56, 57, 58], 1].tolist() == [255, 0, 0, 255], "gaps are transparent"


def test_the_script_writes_each_picture_once_however_often_it_runs(monkeypatch, tmp_path):
    pages = (tmp_path / "README.md", tmp_path / "docs" / "index.md")
    (tmp_path / "docs" / "assets").mkdir(parents=True)
    for page in pages:
        page.write_text(MARKED)
    monkeypatch.setattr(gallery, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(gallery, "PAGES", pages)
    chosen = {"gan": "gan.digits", "nade": "nade.digits"}
    monkeypatch.setattr(gallery, "entries", lambda: chosen)
    gallery.main()
    texts = [page.read_text() for page in pages]
    gallery.main()
    assert [page.read_text() for page in pages] == texts
    for text, prefix in zip(texts, ("docs/", ""), strict=True):
        for name in chosen:
            assert text.count(f"]({prefix}assets/gallery/{name}.png)") == 1
            assert text.count(f"]({prefix}models/{name}.md)") == 1
        assert text.endswith("<!-- end -->\n\n<!-- other -->\nkept\n<!-- end -->\n")
    gan = genzoo.load("gan.digits")
    torch.manual_seed(0)
    first = (255 * gan.sample(6)[0, 0]).round().byte()
    picture = np.asarray(Image.open(tmp_path / "docs" / "assets" / "gallery" / "gan.png"))
    assert (picture[:56:7, :56:7, 0] == first.numpy()).all()


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
