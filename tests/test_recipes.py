"""Every recipe trains, and its head states measured results, the time, and the machine."""

import math
import re
from pathlib import Path

import pytest
import torch

import genzoo
from genzoo.runs.recipe import read

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))
GRAY, COLOR, TEXT = (1, 28, 28), (3, 32, 32), (16, 20)
SHAPES = {
    "fashion-mnist": GRAY,
    "digits": (1, 8, 8),
    "toy": (2,),
    "emoji": COLOR,
    "words": TEXT,
    "python-help": TEXT,
}
TRANSLATED = {
    "edges": lambda shape: (1, *shape[1:]),
    "mapped": lambda shape: shape,
    "classes": lambda shape: shape,
}
"""Datasets of two columns that transform another dataset: from the shape of y to that of x."""


def random_dataset(table, classes=0):
    """Return random rows with the columns, shapes, and groups of a recipe's dataset."""
    generator, name = torch.Generator().manual_seed(0), table["name"]
    if name == "icons":
        columns = {"x": COLOR, "y": COLOR}
    elif name in TRANSLATED:
        source = table.get("of", "fashion-mnist")
        y = SHAPES[source if isinstance(source, str) else source["name"]]
        columns = {"x": TRANSLATED[name](y), "y": y}
    else:
        columns = {"x": SHAPES[name]}
    if columns["x"] == TEXT:
        rows = torch.randint(TEXT[1], (64, TEXT[0]), generator=generator, dtype=torch.uint8)
        return genzoo.Dataset({"x": rows}, symbols=TEXT[1])
    rows = {name: torch.rand(200, *shape, generator=generator) for name, shape in columns.items()}
    if classes:
        rows["y"] = torch.randint(classes, (200,), generator=generator)
    is_unpaired = name in ("mapped", "classes", "icons")
    groups = tuple((column,) for column in columns) if is_unpaired else ()
    return genzoo.Dataset(rows, groups=groups, binarize=table.get("binarize"))


FAST = ("vae-digits", "wgan-gp-toy", "nade-digits")
"""Recipes that a run without the slow tests trains."""


def recipe_marks(path):
    return () if path.stem in FAST else pytest.mark.slow


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem, marks=recipe_marks(path)) for path in RECIPES]
)
def test_a_recipe_trains(path, tmp_path):
    recipe = read(path, ["train.steps=2", "train.batch_size=16", "train.sample_every=2"])
    recipe["train"].pop("epochs", None)
    if recipe["model"]["name"] not in genzoo.available():
        pytest.skip(f"{recipe['model']['name']} comes with a plugin that is not installed")
    data = random_dataset(recipe["data"], recipe["model"].get("classes", 0))
    settings = {"players": recipe["players"], **recipe["train"]}
    run = genzoo.fit(recipe["model"], data, tmp_path / "run", **settings)
    assert run.steps == 2
    values = [item for line in run.history for item in line.items()]
    losses = [value for name, value in values if name.split("/")[-1] == "loss"]
    assert losses
    assert all(map(math.isfinite, losses))
    assert torch.equal(genzoo.load(run.folder).reference_tensor, run.model.reference_tensor)


def results(head):
    """Return the decimal numbers that follow "Expected" in a recipe's head, without versions."""
    text = " ".join(line.removeprefix("#").strip() for line in head.splitlines())
    expected = text.partition("Expected")[2]
    without_versions = re.sub(r"\b(torch|Python|genzoo) \d[\d.]*", "", expected)
    return re.findall(r"\d+\.\d+", without_versions)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_head_of_a_recipe_states_measured_results(path):
    head = re.match(r"(?:#.*\n)+", path.read_text())
    assert head, "a recipe starts with a comment"
    for word in ("genzoo train", "genzoo evaluate", "CPU", "thread"):
        assert word in head[0], word
    assert re.search(r"\d+\s+(# )?s\b", head[0]), "the time in seconds"
    assert results(head[0]), "a measured number"
    assert "TODO" not in path.read_text()


def test_versions_do_not_count_as_results():
    head = "# A VAE at 0.5.\n#\n# Expected: a low loss. Training took 7\n# s with torch 2.13."
    assert results(head) == []
    assert results(f"{head}\n# The loss is 0.25.") == ["0.25"]


def test_a_recipe_is_named_after_its_model_and_data():
    for path in RECIPES:
        recipe = read(path)
        name = recipe["model"]["name"]
        # Conditional models have a c before the name, such as cgan, or "classes" after it.
        assert path.stem.startswith((name, f"c{name}") if "classes" in recipe["model"] else name)
        assert path.stem.endswith(recipe["data"]["name"])
