"""Every recipe runs, and states what it is expected to give, in what time and on what."""

import math
import re
from pathlib import Path

import pytest
import torch

import genzoo
from genzoo.runs.recipe import read

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))
GREY, COLOUR, TEXT = (1, 28, 28), (3, 32, 32), (16, 20)
SHAPES = {
    "fashion-mnist": GREY,
    "digits": (1, 8, 8),
    "toy": (2,),
    "emoji": COLOUR,
    "words": TEXT,
    "python-help": TEXT,
}
TRANSLATED = {
    "edges": lambda shape: (1, *shape[1:]),
    "mapped": lambda shape: shape,
    "classes": lambda shape: shape,
}
"""Data sets of two columns that are made from another: the shape of y -> that of x."""


def stand_in(table):
    """Random rows in the place of a recipe's data set, of the same columns, shapes and groups."""
    noise, name = torch.Generator().manual_seed(0), table["name"]
    if name == "icons":
        columns = {"x": COLOUR, "y": COLOUR}
    elif name in TRANSLATED:
        source = table.get("of", "fashion-mnist")
        y = SHAPES[source if isinstance(source, str) else source["name"]]
        columns = {"x": TRANSLATED[name](y), "y": y}
    else:
        columns = {"x": SHAPES[name]}
    if columns["x"] == TEXT:
        rows = torch.randint(TEXT[1], (64, TEXT[0]), generator=noise, dtype=torch.uint8)
        return genzoo.Dataset({"x": rows}, symbols=TEXT[1])
    rows = {column: torch.rand(64, *shape, generator=noise) for column, shape in columns.items()}
    groups = (
        tuple((column,) for column in columns) if name in ("mapped", "classes", "icons") else ()
    )
    return genzoo.Dataset(rows, groups=groups, binarize=table.get("binarize"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(path, tmp_path):
    recipe = read(path, ["train.steps=2", "train.batch_size=16", "train.sample_every=2"])
    recipe["train"].pop("epochs", None)
    if recipe["model"]["name"] not in genzoo.available():
        pytest.skip(f"{recipe['model']['name']} comes with a plugin that is not installed")
    data = stand_in(recipe["data"])
    run = genzoo.fit(
        recipe["model"], data, tmp_path / "run", players=recipe["players"], **recipe["train"]
    )
    assert run.steps == 2
    losses = [
        value
        for line in run.history
        for name, value in line.items()
        if name.split("/")[-1] == "loss"
    ]
    assert losses
    assert all(map(math.isfinite, losses))
    assert torch.equal(genzoo.load(run.folder).reference_tensor, run.model.reference_tensor)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipes_head_states_its_measured_result(path):
    head = re.match(r"(?:#.*\n)+", path.read_text())
    assert head, "a recipe begins with what it gives"
    for word in ("genzoo train", "genzoo evaluate", "CPU", "thread"):
        assert word in head[0], word
    assert re.search(r"\d+\.\d+", head[0]), "a measured number"
    assert "TODO" not in path.read_text()


def test_a_recipe_is_named_after_its_model_and_data():
    for path in RECIPES:
        recipe = read(path)
        assert path.stem.startswith(recipe["model"]["name"])
        assert path.stem.endswith(recipe["data"]["name"])
