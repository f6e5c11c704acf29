"""Every recipe runs, and states what it is expected to give, in what time and on what."""

import math
import re
from pathlib import Path

import pytest
import torch

import genzoo
from genzoo.recipe import read

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))
SHAPES = {"fashion-mnist": (1, 28, 28), "digits": (1, 8, 8), "toy": (2,)}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(path, tmp_path):
    recipe = read(path, ["train.steps=2", "train.batch_size=16", "train.samples=2"])
    recipe["train"].pop("epochs", None)
    rows = torch.rand(64, *SHAPES[recipe["data"]["name"]], generator=torch.Generator().manual_seed(0))
    stand_in = genzoo.Dataset({"x": rows}, binarize=recipe["data"].get("binarize"))
    run = genzoo.fit(recipe["model"], stand_in, tmp_path / "run", players=recipe["players"], **recipe["train"])
    assert run.steps == 2
    losses = [value for line in run.history for name, value in line.items() if name.split("/")[-1] == "loss"]
    assert losses
    assert all(map(math.isfinite, losses))
    assert torch.equal(genzoo.load(run.folder).like, run.model.like)


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
