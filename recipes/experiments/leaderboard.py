"""Train each core model with several seeds on Fashion-MNIST, and rank the models.

Each model is trained with its quick recipe, in about three minutes of CPU time on one thread.
Autoregressive models learn binary images, so they have a table of their own: a distance between
binary images does not compare with one between gray images.

    python recipes/experiments/leaderboard.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from figure import Cells, common_parser, figure, round_to, write

import genzoo
from genzoo.contract import Measurement
from genzoo.contract.capabilities import has_capability
from genzoo.metrics import Comparison, Evaluation, Group
from genzoo.metrics.comparison import Quantity
from genzoo.plots.theme import WIDTH
from genzoo.runs.recipe import Recipe, read
from recipes.columns import COLUMNS, number
from recipes.pages import table

RECIPES = Path(__file__).parents[1]
MODELS = {
    "VAE": "vae-quick-fashion-mnist",
    "WAE-MMD": "wae-mmd-quick-fashion-mnist",
    "WAE-GAN": "wae-gan-quick-fashion-mnist",
    "GAN, R1": "gan-r1-quick-fashion-mnist",
    "WGAN": "wgan-quick-fashion-mnist",
    "WGAN-GP": "wgan-gp-quick-fashion-mnist",
    "NADE": "nade-quick-fashion-mnist",
    "PixelRNN": "pixel-rnn-quick-fashion-mnist",
}
"""The name in the tables -> the recipe."""
METRICS = ("frechet", "kernel-distance", "precision-recall", "memorization")
SAMPLES = 12
"""The number of samples of each model in the picture."""


def measure(recipe: Recipe, seed: int, n: int) -> dict[str, Any]:
    """Train and evaluate a model; return its measurements, its samples, and its training time."""
    start = time.process_time()
    run = genzoo.fit(
        recipe["model"],
        recipe["data"],
        players=recipe["players"],
        **{**recipe["train"], "seed": seed, "progress": False},
    )
    seconds = time.process_time() - start
    exact = ["likelihood"] if has_capability(run.model, "log_prob") else []
    evaluation = genzoo.evaluate(run, metrics=[*METRICS, *exact], n=n, seed=seed)
    torch.manual_seed(seed)
    samples = (255 * run.model.sample(SAMPLES)).round().byte()
    return {
        "rows": [asdict(row) for row in evaluation],
        "n": evaluation.n,
        "train_seconds": round_to(seconds, 3),
        "samples": samples.tolist() if seed == 0 else None,
    }


def group(name: str, recipe: Recipe, cells: Sequence[Mapping[str, Any]]) -> Group:
    """Return the runs of one model as a group."""
    evaluations = [
        Evaluation(rows=tuple(Measurement(**row) for row in cell["rows"]), n=cell["n"])
        for cell in cells
    ]
    return Group(name=name, recipe=recipe, runs=(), evaluations=tuple(evaluations))


def ranking(comparison: Comparison, seconds: Mapping[str, Sequence[float]]) -> str:
    """Return a table of a comparison. The best value is bold if it leads beyond chance.

    Arguments:
        comparison: the groups.
        seconds: the name of a group -> the training time of each run.
    """
    quantities = {(q.metric, q.quantity): q for q in comparison.quantities()}
    columns = {head: quantities[key] for head, key in COLUMNS.items() if key in quantities}
    leaders = {head: comparison.leaders(quantity) for head, quantity in columns.items()}

    def cell(head: str, quantity: Quantity, one: Group) -> str:
        summary = one.summary(quantity)
        if summary is None:
            return ""
        values = (min(summary.values), summary.mean, max(summary.values))
        low, mean, high = (number(head, value) for value in values)
        text = f"**{mean}**" if leaders[head] == [one.name] else mean
        return f"{text}<br><small>{low} to {high}</small>"

    frechet = quantities["frechet", "distance"]
    groups = sorted(comparison.groups, key=lambda one: _mean(one, frechet))
    floors = {head: groups[0].rows(quantity)[0].floor for head, quantity in columns.items()}
    rows = [
        [
            one.name,
            *(cell(head, quantity, one) for head, quantity in columns.items()),
            f"{max(seconds[one.name]):.0f}",
        ]
        for one in groups
    ]
    rows.append(["floor", *(number(head, floor) for head, floor in floors.items()), ""])
    return table(["model", *columns, "CPU s"], rows)


def _mean(one: Group, quantity: Quantity) -> float:
    summary = one.summary(quantity)
    assert summary is not None
    return summary.mean


def draw(path: Path, samples: Mapping[str, Any]) -> None:
    """Draw a row of samples of each model."""
    with figure(path, WIDTH, 0.54 * len(samples)) as fig:
        rows = fig.subplots(len(samples), 1, squeeze=False)[:, 0]
        for axes, (name, images) in zip(rows, samples.items(), strict=True):
            row = torch.cat([torch.tensor(image)[0] for image in images], dim=1)
            axes.imshow(row, cmap="gray", vmin=0, vmax=255, aspect="auto")
            axes.set_xticks([])
            axes.set_yticks([row.shape[0] / 2], [name])
            axes.tick_params(length=0)


def _runs(options: argparse.Namespace, name: str, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the result of each seed of a model. A changed recipe is trained again."""
    keep = Cells(options, "leaderboard", {"n": options.n, "recipe": recipe})
    return [
        keep(f"{name} {seed}", partial(measure, recipe, seed, options.n))
        for seed in range(options.seeds)
    ]


def main(arguments: Iterable[str] | None = None) -> None:
    """Run the experiment."""
    parser = common_parser(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each model")
    parser.add_argument("--n", type=int, default=10_000, help="held-out images, and samples")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--override", nargs="*", default=[], help="settings, as in train.steps=2")
    options = parser.parse_args(None if arguments is None else list(arguments))
    settings = {"n": options.n, "seeds": options.seeds, "override": options.override}
    recipes = {
        name: read(RECIPES / f"{MODELS[name]}.toml", options.override) for name in options.models
    }
    cells = {name: _runs(options, name, recipe) for name, recipe in recipes.items()}
    samples = {name: runs[0].pop("samples") for name, runs in cells.items()}
    draw(options.out / "leaderboard.png", samples)
    seconds = {name: [run["train_seconds"] for run in runs] for name, runs in cells.items()}
    tables = []
    for binary in (False, True):
        groups = [
            group(name, recipe, cells[name])
            for name, recipe in recipes.items()
            if bool(recipe["data"].get("binarize")) == binary
        ]
        if groups:
            title = "Binary images:" if binary else "Gray images:"
            tables.append(f"{title}\n\n{ranking(Comparison(groups), seconds)}")
    write(options, "leaderboard", settings, cells, "\n".join(tables))


if __name__ == "__main__":
    main()
