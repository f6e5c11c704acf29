"""The result of an evaluation in all its forms."""

import json
import math
from html.parser import HTMLParser

import pytest

from genzoo.contract import Measurement
from genzoo.errors import SettingError
from genzoo.metrics import Evaluation

ROWS = (
    Measurement(
        metric="frechet", quantity="distance", value=12.34567891, floor=0.5, n=10_000,
        network="digits-cnn-v1", estimator="plug-in", higher_is_better=False,
    ),
    Measurement(
        metric="frechet", quantity="distance", value=3.0, n=10_000,
        network="pixels-v1", higher_is_better=False,
    ),
    Measurement(
        metric="likelihood", quantity="elbo", value=-7.25, standard_error=0.125, n=300,
        estimator="mean", higher_is_better=True, basis="probability of bits",
    ),
    Measurement(metric="odd", quantity="<b>|\n\x1b[31m", value=math.nan, floor=math.inf, n=1),
    Measurement(metric="odd", quantity="a quantity with a very long name " * 4, value=1e-17, n=1),
)  # fmt: skip


@pytest.fixture
def evaluation():
    skipped = {"texture": "DataError: there is nothing to compare with."}
    return Evaluation(rows=ROWS, n=10_000, seed=3, data="digits", skipped=skipped)


def test_lookup_by_metric_quantity_and_network(evaluation):
    assert list(evaluation) == list(ROWS)
    assert len(evaluation) == 5
    assert evaluation["frechet"] == ROWS[:2]
    assert evaluation["likelihood", "elbo"] is ROWS[2]
    assert evaluation["frechet", "distance", "pixels-v1"] is ROWS[1]
    with pytest.raises(SettingError, match=r"2 measurements.*digits-cnn-v1, pixels-v1"):
        evaluation["frechet", "distance"]
    with pytest.raises(SettingError, match=r"'frechet distanc'.*'frechet distance'"):
        evaluation["frechet", "distanc"]
    with pytest.raises(SettingError, match="'kid'"):
        evaluation["kid"]


def test_the_table_fits_into_80_columns(evaluation):
    lines = evaluation.table().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["distance", "12.3457", "0.5", "10,000", "lower"] for line in lines)
    assert "frechet, digits-cnn-v1" in lines
    assert any(line.split() == ["elbo", "-7.25", "0.125", "300", "higher"] for line in lines)
    heading = lines.index("likelihood")
    assert lines[heading + 1] == "  basis: probability of bits"
    assert lines[heading + 2].split()[0] == "elbo"
    assert evaluation.table().count("basis") == 1
    assert "\x1b" not in evaluation.table()
    assert str(evaluation) == evaluation.table()
    assert repr(evaluation) == "<Evaluation of 5 measurements on 10,000 held-out examples>"


def test_json_is_strict_and_complete(evaluation):
    content = json.loads(evaluation.to_json(), parse_constant=pytest.fail)
    assert (content["data"], content["n"], content["seed"]) == ("digits", 10_000, 3)
    assert content["skipped"] == evaluation.skipped
    assert content["measurements"][0] == {
        "metric": "frechet",
        "quantity": "distance",
        "value": 12.34567891,
        "standard_error": None,
        "floor": 0.5,
        "n": 10_000,
        "network": "digits-cnn-v1",
        "estimator": "plug-in",
        "split": "test",
        "higher_is_better": False,
        "basis": None,
    }
    assert (content["measurements"][3]["value"], content["measurements"][3]["floor"]) == (
        "nan",
        "inf",
    )


def test_markdown_has_one_line_per_measurement(evaluation):
    lines = evaluation.to_markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(ROWS)
    cells = ["frechet", "distance", "12.3457", "", "0.5", "10,000", "digits-cnn-v1", "lower"]
    assert table[2] == f"| {' | '.join([*cells, 'plug-in', 'test', ''])} |"
    assert table[4].endswith("| higher | mean | test | probability of bits |")
    assert lines[0] == "Measured on 10,000 held-out examples of digits."
    assert lines[-1] == "- texture: not measured. DataError: there is nothing to compare with."


def test_html_escapes_every_name(evaluation):
    tags, texts = [], []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)

        def handle_data(self, data):
            texts.append(data)

    Parser().feed(evaluation._repr_html_())
    assert "b" not in tags
    headings = {(row.metric, row.network, row.basis) for row in ROWS}
    assert tags.count("tr") == 1 + len(ROWS) + len(headings)
    assert {"frechet, digits-cnn-v1", "plug-in", "likelihood, probability of bits"} <= set(texts)


def test_both_files_are_written(evaluation, tmp_path):
    evaluation.save(tmp_path / "report")
    assert (tmp_path / "report" / "evaluation.json").read_text() == evaluation.to_json()
    assert (tmp_path / "report" / "evaluation.md").read_text() == evaluation.to_markdown()
