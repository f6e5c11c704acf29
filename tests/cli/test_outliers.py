"""The command `outliers`: its file, its exit codes, and its one-line errors."""

import csv

import numpy as np
import pytest
from PIL import Image

import genzoo


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of bits of digits; it is trained in closed form."""
    folder = tmp_path_factory.mktemp("runs") / "markov"
    genzoo.fit("markov", {"name": "digits", "binarize": "threshold"}, folder)
    return folder


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        noise = np.random.RandomState(number).randint(0, 256, (8, 8)).astype(np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return folder


def names(path):
    with path.open(newline="") as file:
        return [line["name"] for line in csv.DictReader(file)]


def test_scores_of_a_folder_are_written(genzoo_, run, pictures, tmp_path):
    out = tmp_path / "scores.csv"
    code, text = genzoo_("outliers", run, pictures, "-o", out)
    assert code == 0, text
    assert names(out) == [str(pictures / f"{number}.png") for number in range(3)]
    for part in ("typicality", "AUROC", "2.png", f"{out}: 3 rows"):
        assert part in text.replace("\n", " ")


def test_a_dataset_several_files_and_chosen_scores(genzoo_, run, pictures, tmp_path):
    out = tmp_path / "scores.csv"
    code, text = genzoo_("outliers", run, "digits", "--score", "markov_ratio", "-o", out)
    assert code == 0, text
    assert len(names(out)) == 297
    assert "typicality" not in text
    two = [pictures / "2.png", pictures / "0.png"]
    assert genzoo_("outliers", run, *two, "-o", out)[0] == 0
    assert names(out) == list(map(str, two))


def test_unreadable_pictures_are_named_and_the_others_are_scored(genzoo_, run, pictures, tmp_path):
    broken = pictures / "1.png"
    broken.write_bytes(broken.read_bytes()[:50])
    code, text = genzoo_("outliers", run, pictures, "-o", tmp_path / "scores.csv")
    assert code == 1
    assert f"{broken} cannot be read" in text
    assert names(tmp_path / "scores.csv") == [str(pictures / "0.png"), str(pictures / "2.png")]


def test_pictures_of_another_size_are_refused_or_resized(genzoo_, run, pictures, tmp_path):
    large = pictures / "9.png"
    Image.new("RGB", (28, 20), "red").save(large)
    out = tmp_path / "scores.csv"
    code, text = genzoo_("outliers", run, pictures, "-o", out)
    assert (code, text.startswith(f"error: {large} is a color picture of 20 x 28")) == (2, True)
    assert "--resize" in text
    assert not out.exists()
    assert genzoo_("outliers", run, pictures, "--resize", "-o", out)[0] == 0
    assert len(names(out)) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{run} digitz", "Did you mean 'digits'"),
        ("{run} nowhere.png", "is not a file"),
        ("markov digits", "not a run folder"),
        ("{run} digits --score typical", "Did you mean 'typicality'"),
        ("{run}", "Missing argument"),
    ],
)
def test_refusals_are_one_line(genzoo_, run, arguments, message):
    code, text = genzoo_("outliers", *arguments.format(run=run).split())
    assert (code, len(text.strip().splitlines())) == (2, 1), text
    assert message in text
