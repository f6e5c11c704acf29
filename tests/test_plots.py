"""Pictures: the matplotlib artists have the expected data."""

import numpy as np
import pytest
import torch

from genzoo.plots import columns_for, curves, draw, save, scatter, sheet, side_by_side

pytestmark = pytest.mark.figures
DATA = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([4.0, 1.0]) - 1
POINTS = 10 * torch.rand(30, 2, generator=torch.Generator().manual_seed(1))


def test_a_sheet_places_images_row_by_row():
    images = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]).view(6, 1, 1, 1).expand(6, 1, 4, 4)
    pixels = np.asarray(sheet(images, columns=3, side=12))
    assert pixels.shape == (12, 18)
    assert pixels[3::6, 3::6].tolist() == [[0, 51, 102], [153, 204, 255]]


def test_a_scatter_plot_holds_the_data_and_the_samples():
    axes = scatter(POINTS, DATA).axes[0]
    data, samples = (np.asarray(collection.get_offsets()) for collection in axes.collections)
    np.testing.assert_allclose(data, DATA)
    np.testing.assert_allclose(samples, POINTS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_score_is_plotted_over_the_square_of_the_data(dtype):
    center = torch.tensor([2.0, -0.7])
    seen = []

    def score(x):
        seen.append(x)
        return -(x - center.to(x)).square().sum(1)

    axes = scatter(POINTS.to(dtype), DATA, score).axes[0]
    filled, lines, data, samples = axes.collections
    assert len(seen) == 1
    assert seen[0].dtype == dtype
    assert max(filled.zorder, lines.zorder) < min(data.zorder, samples.zorder)
    assert 15 <= len(filled.levels) <= 25
    assert axes.get_aspect() == 1
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert right - left == pytest.approx(top - bottom, rel=0.02)
    low, high = DATA.amin(0), DATA.amax(0)
    assert left < low[0] < high[0] < right < high[0] + 1
    assert bottom < low[1] < high[1] < top
    # The level sets of a squared distance are circles, so each line has a constant radius.
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        if len(path.vertices):
            radii = np.linalg.norm(path.vertices - center.numpy(), axis=1)
            np.testing.assert_allclose(
                radii, (-level) ** 0.5, rtol=0.05 if dtype is not torch.bfloat16 else 0.3, atol=0.05
            )


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_constant_score_is_not_plotted(value, tmp_path):
    picture = draw(POINTS, DATA, score=lambda x: x.new_full((len(x),), value))
    save(picture, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_gradient_norms_share_a_panel():
    history = [
        {"step": i, "seconds": 0.1, "loss": 1.0 / i, "gradient/a": 2.0 / i, "gradient/b": 3.0 / i}
        for i in (1, 2, 3)
    ]
    loss, norms = curves(history).axes
    assert (loss.get_title(), norms.get_title()) == ("loss", "gradient norms")
    assert [line.get_label() for line in norms.lines] == ["a", "b"]
    np.testing.assert_allclose(norms.lines[1].get_ydata(), [3, 1.5, 1])


def test_learning_rates_share_a_panel():
    history = [
        {"step": i, "a/loss": 1.0, "a/lr": 0.1 * i, "b/lr": 0.2, "b/lr/1": 0.3} for i in (1, 2)
    ]
    loss, rates = curves(history).axes
    assert (loss.get_title(), rates.get_title()) == ("a/loss", "learning rate")
    assert [text.get_text() for text in rates.get_legend().get_texts()] == [
        "a/lr",
        "b/lr",
        "b/lr/1",
    ]


def test_images_side_by_side_share_their_channels():
    gray, color = torch.rand(2, 1, 3, 3), torch.rand(2, 3, 3, 3)
    tiles = side_by_side(gray, color)
    assert tiles.shape == (4, 3, 3, 3)
    assert torch.equal(tiles[2], gray[1].expand(3, 3, 3))
    assert torch.equal(tiles[3], color[1])


@pytest.mark.parametrize(("n", "side", "columns"), [(1, 3, 3), (5, 3, 6), (24, 3, 9), (64, 2, 12)])
def test_groups_stay_together(n, side, columns):
    assert columns_for(n, side) == columns
    assert columns % side == 0


def test_the_border_is_optional():
    assert sheet(torch.rand(1, 1, 4, 4), side=0, border=0).size == (4, 4)


def test_a_matplotlib_settings_file_is_ignored(tmp_path):
    """Figures use matplotlib's default settings, because a file could ask to call tex."""
    import matplotlib

    with matplotlib.rc_context({"text.usetex": True}):
        save(curves([{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
