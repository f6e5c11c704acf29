"""The figures of a report: the right rows, in the right places, and in the right files."""

import base64
import re

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo import Dataset
from genzoo.contract import Figure
from genzoo.metrics import Evaluation
from genzoo.plots.sheets import halves
from tests.metrics.stand_in import evidence_of, replay

GENERATOR = torch.Generator().manual_seed(0)
TRAIN = torch.rand(90, 1, 6, 6, generator=GENERATOR)
TEST = torch.rand(60, 1, 6, 6, generator=GENERATOR)


@pytest.fixture
def evaluation():
    samples = torch.rand(60, 6, 6, generator=torch.Generator().manual_seed(1))
    metrics = ["texture", "memorization"]
    return genzoo.evaluate(samples, Dataset({"x": TRAIN}, {"x": TEST}, name="noise"), metrics)


def test_rows_are_those_of_the_examples():
    evidence = evidence_of(replay(TEST + 1), TEST, TRAIN, batch_size=7)
    indices = torch.tensor([30, 2, 59, 2, 0, 13])
    for source in ("samples", "test", "train"):
        everything = torch.cat(list(evidence.examples(source)))
        assert torch.equal(evidence.rows(source, indices), everything[indices])


def tiles(path, columns, rows, side):
    """Return the gray tiles of a sheet below its titles, in [0, 1], without their borders."""
    pixels = np.asarray(Image.open(path).convert("L")) / 255
    height = width = pixels.shape[1] // columns
    pixels = pixels[-rows * height :]
    factor = width // side
    border = (width - factor * side) // 2
    grid = pixels.reshape(rows, height, columns, width).transpose(0, 2, 1, 3)
    inner = grid[..., border:-border, border:-border]
    return inner[..., factor // 2 :: factor, factor // 2 :: factor]


def test_samples_are_left_and_held_out_images_right(tmp_path):
    samples = torch.rand(60, 1, 6, 6, generator=GENERATOR)
    evaluation = genzoo.evaluate(samples, Dataset({"x": TRAIN}, {"x": TEST}), "texture")
    evaluation.save(tmp_path)
    shown = tiles(tmp_path / "samples.png", columns=17, rows=6, side=6)
    chosen = np.arange(48) * 60 // 48
    left = shown[:, :8].reshape(48, 6, 6)
    right = shown[:, 9:].reshape(48, 6, 6)
    np.testing.assert_allclose(left, samples[chosen, 0].numpy(), atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(right, TEST[chosen, 0].numpy(), atol=0.5 / 255 + 1e-6)
    assert (shown[:, 8] == 1).all()


@pytest.mark.parametrize("limit", [5000, 25])
def test_copies_are_shown_next_to_their_training_images(limit):
    """Ten samples are training rows of the evidence with little noise."""
    samples = torch.rand(60, 1, 6, 6, generator=GENERATOR)
    probe = evidence_of(replay(samples), TEST, TRAIN)
    train = torch.cat(list(probe.examples("train")))
    kept = torch.arange(min(limit, 60)) * 60 // min(limit, 60)
    rows, copied = kept[torch.arange(10) * 2], kept[torch.arange(10) * 2 + 1]
    samples[rows] = (train[copied] + 0.001 * torch.rand(10, 1, 6, 6)).clamp(0, 1)
    evidence = evidence_of(replay(samples), TEST, TRAIN)
    metric = genzoo.build({"name": "memorization", "network": "pixels", "limit": limit}, "metrics")
    list(metric(evidence))
    shown, nearest = evidence.figures["nearest-neighbors"].draw.args
    assert shown.shape == nearest.shape == (min(24, len(kept)), 1, 6, 6)
    assert (shown[:10] - nearest[:10]).abs().max() < 0.002
    assert (shown[10:] - nearest[10:]).abs().amax(dim=(1, 2, 3)).min() > 0.05
    expected = sorted(train[copied].flatten(1).tolist())
    assert sorted(nearest[:10].flatten(1).tolist()) == expected


def test_the_spectrum_equals_a_transform_of_numpy(evaluation):
    figure = evaluation.figures["spectrum"]
    profiles, lowest = figure.draw.args
    assert lowest == 0.4
    power = np.abs(np.fft.fft2(TEST[:, 0].double().numpy())) ** 2 / 36**2
    u = np.abs(np.fft.fftfreq(6))
    ring = np.maximum(u[:, None], u)
    profile = profiles["held-out images"]
    assert [round(f, 4) for f in profile] == [0.1667, 0.3333, 0.5]
    for frequency, value in profile.items():
        mask = np.isclose(ring, frequency, atol=1e-6)
        assert value == pytest.approx(power.mean(axis=0)[mask].mean(), rel=1e-5)
    assert list(profiles) == ["held-out images", "samples"]


@pytest.mark.figures
def test_the_report_holds_tables_and_figures(evaluation, tmp_path):
    written = evaluation.save(tmp_path / "report")
    names = [
        "evaluation.json", "evaluation.md", "evaluation.html", "samples.png", "spectrum.png",
        "spectrum.svg", "nearest-neighbors.png",
    ]  # fmt: skip
    assert [path.name for path in written] == names
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted(names)
    text = (tmp_path / "report" / "evaluation.md").read_text(encoding="utf-8")
    assert text == evaluation.to_markdown()
    links = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert links == [name for name in names if name.endswith(".png")]
    svg = (tmp_path / "report" / "spectrum.svg").read_bytes()
    assert svg.startswith(b"<?xml")
    evaluation.save(tmp_path / "again")
    assert (tmp_path / "again" / "spectrum.svg").read_bytes() == svg


def test_without_matplotlib_plots_are_left_out(evaluation, tmp_path, monkeypatch):
    monkeypatch.setattr("genzoo.metrics.report.can_plot", lambda: False)
    names = {path.name for path in evaluation.save(tmp_path)}
    assert names == {
        "evaluation.json", "evaluation.md", "evaluation.html", "samples.png",
        "nearest-neighbors.png",
    }  # fmt: skip
    assert "spectrum" not in evaluation.to_markdown()
    assert evaluation._repr_html_().count("<img") == 2


def test_a_notebook_shows_the_figures(evaluation):
    page = evaluation._repr_html_()
    sources = re.findall(r'<img src="data:image/[^;]+;base64,([^"]+)" alt="([^"]+)">', page)
    assert [caption for _, caption in sources] == [f.caption for f in evaluation.figures.values()]
    starts = {base64.b64decode(content)[:4] for content, _ in sources}
    assert starts == {b"\x89PNG", b"<svg"}
    bold = Figure("<b>", lambda: Image.new("L", (1, 1)))
    assert "<b>" not in Evaluation(n=1, figures={"x": bold})._repr_html_()


def test_points_are_scattered_and_other_vectors_have_no_figure(tmp_path):
    for dim, names in ((2, ["samples"]), (5, [])):
        x = torch.rand(40, dim, generator=GENERATOR)
        evaluation = genzoo.evaluate(x, Dataset({"x": x}, {"x": x}), "kernel-distance")
        assert list(evaluation.figures) == names
        evaluation.save(tmp_path / str(dim))
    assert (tmp_path / "2" / "samples.svg").is_file()


def build(name, **settings):
    """Return a small model of the images above."""
    torch.manual_seed(0)
    return genzoo.build({"name": name, "latent_dim": 2, **settings}, shape=(1, 6, 6)).eval()


def test_samples_are_not_generated_for_a_figure():
    data = Dataset({"x": TRAIN}, {"x": TEST})
    figures = genzoo.evaluate(build("vae"), data, "reconstruction").figures
    assert list(figures) == ["reconstructions"]


def test_originals_are_shown_beside_their_reconstructions():
    vae = build("vae", classes=3)
    y = torch.arange(60) % 3
    data = Dataset({"x": TRAIN, "y": torch.arange(90) % 3}, {"x": TEST, "y": y})
    figure = genzoo.evaluate(vae, data, "reconstruction").figures["reconstructions"]
    originals, reconstructions = figure.draw.args
    assert torch.equal(originals, TEST[:24])
    with torch.no_grad():
        expected = vae.reconstruct(TEST[:24], y[:24])
    torch.testing.assert_close(reconstructions, expected)
    texts = figure.draw().figure().axes[0].texts
    assert [text.get_text() for text in texts[:2]] == ["original", "reconstruction"]


@pytest.mark.parametrize("classes", [0, 3])
def test_interpolations_join_held_out_images(classes):
    vae, columns = build("vae", classes=classes), {"x": TEST}
    if classes:
        columns["y"] = torch.arange(60) % classes
    data = Dataset({name: column[:50] for name, column in columns.items()}, columns)
    figure = genzoo.evaluate(vae, data, "sharpness").figures["interpolation"]
    images, steps = figure.draw.args
    labels = (columns["y"][:12],) if classes else ()
    with torch.no_grad():
        codes = vae.encode(TEST[:12], *labels)
        ends = vae.decode(codes[6:], *(y[:6] for y in labels))
        torch.testing.assert_close(images[::steps], vae.decode(codes[:6], *(y[:6] for y in labels)))
    torch.testing.assert_close(images[steps - 1 :: steps], ends)
    assert "held-out images" in figure.caption


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_a_small_batch_gives_fewer_interpolations(name):
    data = Dataset({"x": TRAIN}, {"x": TEST})
    evaluation = genzoo.evaluate(build(name), data, "sharpness", batch_size=5)
    assert evaluation.figures["interpolation"].draw.args[0].shape == (20, 1, 6, 6)


def test_codes_that_are_not_finite_have_no_figure(monkeypatch):
    wae = build("wae-mmd")
    encode = wae.encode
    monkeypatch.setattr(
        wae, "encode", lambda x: encode(x).index_fill(0, torch.tensor([0]), torch.nan)
    )
    data = Dataset({"x": TRAIN}, {"x": TEST})
    assert "latent-codes" not in genzoo.evaluate(wae, data).figures


def test_a_model_without_an_encoder_interpolates_between_samples():
    data = Dataset({"x": TRAIN}, {"x": TEST})
    gan = build("gan")
    first, second = (genzoo.evaluate(gan, data, "sharpness").figures for _ in range(2))
    assert first["interpolation"].caption.endswith("samples")
    images = [figures["interpolation"].draw.args[0] for figures in (first, second)]
    assert torch.equal(*images)
    assert images[0].shape == (60, 1, 6, 6)


def test_a_figure_that_fails_is_noted(monkeypatch):
    def decode(z, given=None):
        raise ValueError("not today")

    gan = build("gan")
    monkeypatch.setattr(gan, "decode", decode)
    monkeypatch.setattr(gan, "sample", lambda n, given=None: torch.rand(n, 1, 6, 6))
    evaluation = genzoo.evaluate(gan, Dataset({"x": TRAIN}, {"x": TEST}), "sharpness")
    assert list(evaluation.figures) == ["samples"]
    assert any("'interpolation'" in note and "not today" in note for note in evaluation.notes)


def test_latent_codes_are_shown_with_the_names_of_their_classes():
    names, y = ("cat", "dog"), torch.arange(60) % 2
    data = Dataset({"x": TRAIN}, {"x": TEST, "y": y}, metadata={"class_names": names})
    wae = build("wae-mmd")
    figure = genzoo.evaluate(wae, data, "codes").figures["latent-codes"]
    codes, labels, shown, prior = figure.draw.args
    with torch.no_grad():
        torch.testing.assert_close(codes, wae.encode(TEST))
    assert torch.equal(labels, y)
    assert (shown, prior) == (names, wae.prior)
    assert figure.is_plot
    line = genzoo.evaluate(build("wae-mmd", latent_dim=1), data, "codes")
    assert line.figures == {}


def test_the_page_is_whole_and_loads_nothing(evaluation, tmp_path):
    evaluation.save(tmp_path)
    text = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert text == evaluation.to_html()
    assert "<h1>Samples on noise</h1>" in text
    assert not re.search(r"https?://|<script|<link|src=\"(?!data:)", text)
    for figure in evaluation.figures.values():
        assert f"<figcaption>{figure.caption}</figcaption>" in text
    # the samples come before the table, and the other figures after it
    order = [text.index("Samples (left)"), text.index("<table>"), text.index("Power of samples")]
    assert order == sorted(order)


@pytest.mark.parametrize("n", [1, 5, 8, 20])
def test_halves_of_any_number_of_images(n):
    picture = halves(torch.zeros(n, 3, 4, 4), torch.zeros(n, 3, 4, 4))
    columns = min(n, 8)
    assert picture.size[0] % (2 * columns + 1) == 0
    width = picture.size[0] // (2 * columns + 1)
    assert picture.size[1] == width * (n // columns)
