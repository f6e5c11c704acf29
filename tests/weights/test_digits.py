"""The pretrained weights that come with genzoo, and the page that lists them."""

import json
import re
from pathlib import Path

import pytest

import genzoo
from genzoo.registry.kinds import BUILT_IN
from genzoo.registry.lookup import registry
from genzoo.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
NAMES = list(BUILT_IN["weights"])
FOLDERS = {
    path.name: path
    for base in (
        ROOT / "genzoo" / "weights" / "entries",
        ROOT / "plugins" / "genzoo-weights" / "genzoo_weights" / "entries",
    )
    for path in sorted(base.glob("[!.]*"))
}


def test_every_folder_is_registered_by_its_name():
    assert {name for name in FOLDERS if name.endswith(".digits")} == set(NAMES)
    for name in NAMES:
        assert genzoo.weights.get(name).folder == FOLDERS[name]


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_complete_and_states_where_it_comes_from(name):
    entry = genzoo.weights.get(name)
    entry.check()
    recipe = RunFolder(entry.folder).recipe()
    assert recipe["data"]["name"] == "digits"
    facts = RunFolder(entry.folder).facts()
    assert facts["threads"] == 1
    assert facts["device"].startswith("cpu")
    assert facts["cpu_capability"] in entry.card
    assert entry.sha256 in entry.card
    assert 'license: "apache-2.0"' in entry.card


def test_loading_returns_models_that_sample():
    for name in NAMES:
        model = genzoo.load(name)
        assert model.sample(2).shape == (2, 1, 8, 8)
        assert registry("models").name_of(type(model)) is not None


def _cells(name):
    """Return the numbers of an entry as the page shows them."""
    report = json.loads((FOLDERS[name] / "report" / "evaluation.json").read_text())
    rows = {(row["metric"], row["quantity"]): row for row in report["measurements"]}
    frechet = rows["frechet", "distance"]
    value, error, floor = (frechet[key] for key in ("value", "standard_error", "floor"))
    return f"{value:.2f} ± {error:.2f}", f"{floor:.2f}"


@pytest.mark.parametrize("name", FOLDERS)
def test_the_page_states_the_measurements_of_the_files(name):
    """The page lists what the files say; `make weights` writes the table."""
    (row,) = re.findall(rf"^\| `{re.escape(name)}` \|(.*)\|$", PAGE, re.MULTILINE)
    cells = [cell.strip() for cell in row.split("|")]
    assert tuple(cells[:2]) == _cells(name)


def test_the_page_lists_nothing_else():
    assert set(re.findall(r"^\| `([\w.-]+\.[\w-]+)` \|", PAGE, re.MULTILINE)) - {
        "model.safetensors", "recipe.toml", "card.md", "sha256.json", "samples.png",
    } == set(FOLDERS)  # fmt: skip
