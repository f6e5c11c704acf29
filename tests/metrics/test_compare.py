"""Runs are grouped by their settings, and differences count only beyond chance."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import sem

import genzoo
from genzoo.contract import Measurement
from genzoo.errors import RunError, SettingError
from genzoo.metrics import Comparison, Evaluation, Group, Summary

VAE = {"name": "vae", "encoder": {"hidden": [8]}, "decoder": {"hidden": [8]}}


def group(name, values, **fields):
    """Return a group of runs that were measured before."""
    fields = {"metric": "frechet", "quantity": "distance", "higher_is_better": False, **fields}
    rows = [Measurement(value=value, n=100, **fields) for value in values]
    return Group(
        name=name,
        recipe={"model": {"name": name}, "data": None, "train": {}, "players": {}},
        runs=tuple(f"{name}/{number}" for number in range(len(values))),
        evaluations=tuple(Evaluation(rows=(row,), n=100) for row in rows),
    )


def verdict(*groups):
    comparison = Comparison(groups)
    return comparison.verdict(comparison.quantities()[0])


def test_a_summary_is_the_mean_with_the_standard_error_over_runs():
    values = [3.0, 3.5, 4.5, 2.0]
    summary = group("a", values).summary(("frechet", "distance", ""))
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.standard_error == pytest.approx(sem(values))
    assert summary.values == tuple(values)
    assert group("a", [3.0]).summary(("frechet", "distance", "")).standard_error is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        # standard errors 0.1 and 0.1: differences up to 0.283 are ties
        ([[1.0, 1.0 - 0.1 * 3**0.5, 1.0 + 0.1 * 3**0.5]] * 2, "tie: a, b"),
        ([[1.0, 0.9, 1.1], [2.0, 1.9, 2.1]], "best: a"),
        ([[1.0, 0.9, 1.1], [0.5, 0.4, 0.6]], "best: b"),
        ([[1.0, 0.9, 1.1], [2.0, 1.9]], "no verdict: it needs 3 seeds of each"),
        ([[1.0], [2.0]], "no verdict: it needs 3 seeds of each"),
        ([[1.0, 0.9, 1.1], [math.nan, 1.9, 2.1]], "no verdict: it needs 3 seeds of each"),
        ([[1.0, 0.9, 1.1]], ""),
    ],
)
def test_a_verdict_needs_three_seeds_and_a_difference_beyond_chance(values, words):
    assert verdict(*(group(name, numbers) for name, numbers in zip("ab", values))) == words  # noqa: B905


@pytest.mark.parametrize("gap", [0.27, 0.29])
def test_the_limit_of_a_tie(gap):
    values = torch.tensor([-1.0, 0.0, 1.0]).double() * 0.1 * 3**0.5  # standard error 0.1
    a, b = (Summary(values=tuple((values + m).tolist())) for m in (0, gap))
    assert a.differs(b) is b.differs(a) is (gap > 2 * math.hypot(0.1, 0.1))


def test_higher_values_can_be_better_and_some_have_no_direction():
    a, b = [1.0, 1.0, 1.1], [3.0, 3.0, 3.1]
    assert verdict(group("a", a, higher_is_better=True), group("b", b)) == "best: b"
    fields = {"higher_is_better": None}
    assert verdict(group("a", a, **fields), group("b", b, **fields)) == ""


def test_different_quantities_and_networks_are_not_compared():
    comparison = Comparison(
        [group("a", [1.0] * 3, network="pixels-v1"), group("b", [2.0] * 3, network="cnn-v1")]
    )
    assert [comparison.verdict(q) for q in comparison.quantities()] == ["", ""]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"basis": "density"}, {"basis": "probability of bits"}, "a: density; b: probability of"),
        ({"basis": "density"}, {}, "a: density; b: no basis"),
        ({"estimator": "k = 5"}, {"estimator": "k = 9"}, "not comparable (a: k = 5; b: k = 9)"),
    ],
)
def test_values_of_different_meanings_are_not_ranked(first, second, words):
    a, b = group("a", [1.0, 0.9, 1.1], **first), group("b", [2.0, 1.9, 2.1], **second)
    comparison = Comparison([a, b])
    (quantity,) = comparison.quantities()
    assert comparison.leaders(quantity) == []
    assert comparison.verdict(quantity).startswith("no ranking: the values are not comparable")
    assert words in comparison.verdict(quantity)
    assert "**" not in comparison.to_markdown()
    assert words in comparison.table()


def test_values_without_an_upper_limit_are_not_ranked():
    fields = {"basis": "density of levels", "higher_is_better": None}
    a, b = group("a", [1.0, 0.9, 1.1], **fields), group("b", [2.0, 1.9, 2.1], **fields)
    assert verdict(a, b) == "no ranking: density of levels"


def test_bounds_are_not_ranked_with_exact_likelihoods():
    fields = {"basis": "probability of bits", "higher_is_better": True}
    a = group("a", [1.0, 0.9, 1.1], quantity="log_prob", **fields)
    b = group("b", [2.0, 1.9, 2.1], quantity="elbo", **fields)
    comparison = Comparison([a, b])
    for quantity, other in zip(comparison.quantities(), "ba", strict=True):
        words = comparison.verdict(quantity)
        assert words.startswith("no ranking: exact likelihoods and bounds are not comparable")
        assert words.endswith(f"{other} has no {quantity.quantity}")
    c = group("c", [5.0, 4.9, 5.1], quantity="elbo", **fields)
    comparison = Comparison([a, b, c])
    assert [comparison.verdict(q) for q in comparison.quantities()][1] == "best: c"


def test_a_quantity_of_one_group_is_no_bound_of_another_quantity():
    fields = {"basis": "probability of bits", "higher_is_better": True}
    a = group("a", [1.0, 0.9, 1.1], quantity="lower_bound", **fields)
    b = group("b", [2.0, 1.9, 2.1], quantity="elbo", **fields)
    comparison = Comparison([a, b])
    assert [comparison.verdict(q) for q in comparison.quantities()] == ["", ""]


def test_markdown_has_the_leader_in_bold_and_escapes_names():
    text = Comparison([group("a|b", [1.0, 0.9, 1.1]), group("c", [2.0, 1.9, 2.1])]).to_markdown()
    assert "| a\\|b | **1** | ± 0.058 | 0.9 to 1.1 | 3 seeds | best: a\\|b |" in text
    assert "**2**" not in text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of two seeds of a recipe, and one run with another setting."""
    folder = tmp_path_factory.mktemp("runs")
    for name, beta, seed in (("small/seed-0", 1.0, 0), ("small/seed-1", 1.0, 1), ("large", 9.0, 0)):
        model = {**VAE, "beta": beta}
        genzoo.fit(model, "digits", folder / name, steps=2, seed=seed, progress=False)
    return folder


def test_runs_that_differ_in_the_seed_are_one_group(folder, tmp_path):
    comparison = genzoo.compare([folder / "large", folder / "small"], None, "reconstruction", n=50)
    assert [(g.name, len(g.runs)) for g in comparison.groups] == [("large", 1), ("small", 2)]
    assert comparison.settings == {"model.beta": [9.0, 1.0]}
    (quantity,) = comparison.quantities()
    for one in comparison.groups:
        expected = [
            genzoo.evaluate(run, None, "reconstruction", n=50)["reconstruction"][0].value
            for run in one.runs
        ]
        assert one.summary(quantity).values == tuple(expected)
    table = comparison.table()
    assert "reconstruction: squared_error, lower is better" in table
    assert "model.beta: 9.0, 1.0" in table
    assert max(map(len, table.splitlines())) <= 80
    files = [path.name for path in comparison.save(tmp_path / "out")]
    assert files[:3] == ["comparison.md", "comparison.json", "samples.png"]
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [len(g["evaluations"]) for g in content["groups"]] == [1, 2]
    shown = comparison._repr_html_()
    assert "<pre>" in shown
    assert "<figcaption>Samples of each group</figcaption>" in shown


@pytest.mark.figures
def test_the_figure_has_a_row_for_each_group(folder, tmp_path):
    comparison = genzoo.compare([folder / "large", folder / "small"], None, "reconstruction", n=50)
    (axes,) = comparison._figure().axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["large", "small"]
    assert [p.name for p in comparison.save(tmp_path / "x")][-1] == "comparison.png"


def test_groups_of_equal_names_are_told_apart(folder, tmp_path):
    for name, beta in (("a/run", 2.0), ("b/run", 3.0)):
        genzoo.fit({**VAE, "beta": beta}, "digits", tmp_path / name, steps=1, progress=False)
    comparison = genzoo.compare([tmp_path / "a", tmp_path / "b"], None, "reconstruction", n=20)
    assert [g.name for g in comparison.groups] == ["a/run", "b/run"]


def test_runs_on_different_data_are_refused_unless_the_data_are_given(folder, tmp_path):
    data = {"name": "digits", "binarize": "threshold"}
    genzoo.fit(VAE, data, tmp_path / "binary", steps=1, progress=False)
    runs = [folder / "large", tmp_path / "binary"]
    with pytest.raises(SettingError, match=r"different data .*binarize.*pass the data"):
        genzoo.compare(runs, n=20)
    assert len(genzoo.compare(runs, "digits", "reconstruction", n=20).groups) == 2


def test_errors(tmp_path):
    with pytest.raises(SettingError, match="at least one run folder"):
        genzoo.compare([])
    with pytest.raises(RunError, match=r"nowhere is not a run folder"):
        genzoo.compare([Path("nowhere")])
    with pytest.raises(SettingError, match=r"without a folder.*genzoo\.fit"):
        genzoo.compare([genzoo.fit(VAE, "digits", steps=1, progress=False)])


def test_the_command_prints_and_writes_the_comparison(folder, tmp_path, genzoo_):
    code, text = genzoo_(
        "compare", str(folder / "small"), str(folder / "large"), "--metric", "reconstruction",
        "-n", "50", "-o", str(tmp_path / "out"),
    )  # fmt: skip
    assert code == 0, text
    assert "2 seeds" in text
    assert "no verdict: it needs 3 seeds of each" in text
    assert (tmp_path / "out" / "comparison.md").read_text().startswith("| metric | group |")
    code, text = genzoo_("compare", str(folder / "small"), "--device", "tpu")
    assert (code, "tpu" in text) == (2, True)
