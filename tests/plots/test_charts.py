"""Plots: the matplotlib artists have the expected data."""

import numpy as np
import pytest
import torch

from genzoo.errors import SettingError
from genzoo.plots import curves, draw, save, scatter
from genzoo.plots.charts import values

pytestmark = pytest.mark.figures
DATA = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([4.0, 1.0]) - 1
POINTS = 10 * torch.rand(30, 2, generator=torch.Generator().manual_seed(1))


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


def lines(axes):
    """Return the lines of a panel: label -> (values, line style)."""
    return {line.get_label(): (list(line.get_ydata()), line.get_linestyle()) for line in axes.lines}


def test_gradient_norms_share_a_panel():
    history = [
        {"step": i, "seconds": 0.1, "loss": 1.0 / i, "gradient/a": 2.0 / i, "gradient/b": 3.0 / i}
        for i in (1, 2, 3)
    ]
    loss, norms = curves(history).axes
    assert (loss.get_title(), norms.get_title()) == ("loss", "gradient norms")
    assert list(lines(norms)) == ["a", "b"]
    np.testing.assert_allclose(norms.lines[1].get_ydata(), [3, 1.5, 1])


def test_changing_learning_rates_share_the_last_panel():
    history = [
        {"step": i, "a/lr": 0.1 * i, "b/lr": 0.2, "b/lr/1": 0.3 * i, "a/loss": 1.0, "b/loss": 2.0}
        for i in (1, 2)
    ]
    loss, rates = curves(history).axes
    assert (loss.get_title(), rates.get_title()) == ("loss", "learning rate")
    assert lines(rates) == {"a": ([0.1, 0.2], "-"), "b 1": ([0.3, 0.6], "-")}
    assert len(curves([{"step": i, "loss": 1.0, "lr": 0.1} for i in (1, 2)]).axes) == 1


def test_players_share_a_panel():
    history = [
        {
            "step": i,
            "critic/loss": i,
            "critic/gap": 2 * i,
            "generator/loss": -i,
            "critic/real": 3 * i,
        }
        for i in (1, 2)
    ]
    loss, gap, real = curves(history).axes
    assert lines(loss) == {"critic": ([1, 2], "-"), "generator": ([-1, -2], "-")}
    assert [axes.get_title() for axes in (gap, real)] == ["gap (critic)", "real and fake (critic)"]
    colors = {line.get_label(): line.get_color() for line in loss.lines}
    assert gap.lines[0].get_color() == colors["critic"] != colors["generator"]


def test_held_out_values_are_dashed_lines_beside_those_of_training():
    history = [
        {"step": 1, "loss": 3.0, "kl": 1.0},
        {
            "step": 2,
            "loss": 2.0,
            "kl": 1.5,
            "validation/loss": 2.5,
            "validation/frechet/distance": 9.0,
        },
        {
            "step": 3,
            "loss": 1.0,
            "kl": 2.0,
            "validation/loss": 1.5,
            "validation/frechet/distance": 8.0,
        },
    ]
    loss, kl, distance = curves(history).axes
    assert lines(loss) == {"training": ([3, 2, 1], "-"), "held-out": ([2.5, 1.5], "--")}
    assert list(loss.lines[1].get_xdata()) == [2, 3]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "held-out"]
    assert kl.get_legend() is None
    assert distance.get_title() == "frechet distance (held-out)"
    assert lines(distance)["held-out"] == ([9, 8], "--")


@pytest.mark.parametrize(
    ("numbers", "scale"),
    [
        ((1.0, 2.0, 40.0), "linear"),
        ((0.01, 2.0, 400.0), "log"),
        ((-3.0, 1.0, 5.0), "linear"),
        ((-1.0, 1.0, 2.0, 5000.0), "symlog"),
        ((0.0, 0.0, 0.0), "linear"),
        ((1.0, float("nan"), 900.0), "log"),
        ((-1.0, float("inf"), 2.0), "linear"),
    ],
)
def test_the_axis_fits_the_values(numbers, scale):
    (axes,) = curves([{"step": i, "loss": value} for i, value in enumerate(numbers, 1)]).axes
    assert axes.get_yscale() == scale


def test_a_log_without_values_has_no_panels(tmp_path):
    figure = curves([{"step": 1, "seconds": 2.0, "loss": float("nan")}])
    assert figure.axes == []
    save(figure, tmp_path / "curves.png")


def test_values_have_a_row_for_each_group():
    panels = {"distance": {"vae": [4.0, 5.0], "gan": [3.0]}, "error": {"gan": [0.5]}}
    distance, error = values(panels).axes
    assert [text.get_text() for text in distance.get_yticklabels()] == ["vae", "gan"]
    points, means = distance.lines[::2], distance.lines[1::2]
    assert [list(line.get_xdata()) for line in points] == [[4, 5], [3]]
    assert [line.get_xdata()[0] for line in means] == [4.5, 3]
    assert list(error.lines[0].get_ydata()) == [1]


def test_no_text_is_smaller_than_eight_points():
    from matplotlib.text import Text

    history = [{"step": i, "a/loss": i, "b/loss": -i, "a/lr": i, "b/lr": i} for i in (1, 2)]
    for figure in (curves(history), scatter(POINTS, DATA), values({"x": {"a": [1.0]}})):
        figure.draw_without_rendering()
        sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
        assert len(sizes) > 3
        assert min(sizes) >= 8


def test_dollar_signs_in_names_are_no_formulas(tmp_path):
    save(values({"a $x^{ $": {"$b^{$": [1.0, 2.0]}}), tmp_path / "values.png")


@pytest.mark.parametrize("name", ["points", "data"])
def test_a_scatter_plot_needs_points_in_the_plane(name):
    points = {"points": POINTS, "data": DATA, name: torch.rand(5, 3)}
    with pytest.raises(SettingError, match=rf"{name} of shape \(5, 3\).*\(n, 2\)"):
        scatter(**points)
