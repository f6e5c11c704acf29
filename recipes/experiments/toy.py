"""Plot samples over the critic's value surface for a GAN, a WGAN, and a WGAN-GP.

This experiment follows figure 1a of Improved Training of Wasserstein GANs (Gulrajani, Ahmed,
Arjovsky, Dumoulin, and Courville, 2017, https://arxiv.org/abs/1704.00028). The figure shows value
surfaces of Wasserstein critics on three distributions in the plane. Differences from the paper:

- The paper fixes the generator at the data with added noise. Here, the generator is trained, as in
  the authors' gan_toy.py.
- A GAN is included for comparison.
- Networks are narrower, and runs are far shorter than the authors' 100,000 iterations.

    python recipes/experiments/toy.py
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from figure import ROOT, Cells, common_parser, figure, round_to, write

import genzoo
from genzoo.plots.theme import COLORS, WIDTH
from genzoo.runs.recipe import Recipe, read
from recipes.pages import table

MODELS = {"GAN": "gan", "WGAN": "wgan", "WGAN-GP": "wgan-gp"}
DISTRIBUTIONS = ("8-gaussians", "25-gaussians", "swiss-roll")
SIDE, REACH = 61, 2.2
"""Score the critic on a grid of SIDE x SIDE points over [-REACH, REACH]^2."""


def train(recipe: Recipe, distribution: str, samples: int) -> dict[str, Any]:
    """Train a recipe on a distribution and return metrics, samples, and critic scores on a grid."""
    data = genzoo.build({**recipe["data"], "distribution": distribution}, "datasets")
    model = genzoo.fit(
        recipe["model"], data, players=recipe["players"], progress=False, **recipe["train"]
    ).model
    evaluation = genzoo.evaluate(model, data, {"name": "modes", "samples": samples})
    measured = {row.quantity: round_to(row.value) for row in evaluation}
    floors = {f"{row.quantity}_floor": row.floor for row in evaluation if row.floor is not None}
    measured |= {name: round_to(floor) for name, floor in floors.items()}
    line = torch.linspace(-REACH, REACH, SIDE)
    with torch.no_grad():
        surface = model.score(torch.cartesian_prod(line, line)).view(SIDE, SIDE).T
    return {
        "measured": measured,
        "samples": [[round(value, 3) for value in point] for point in model.sample(1000).tolist()],
        "data": [[round(float(value), 3) for value in point] for point in data.test["x"][:1000]],
        "surface": [[round_to(value) for value in row] for row in surface.tolist()],
    }


def draw(path: Path, cells: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Draw a grid of plots with one row per distribution and one column per model."""
    line = torch.linspace(-REACH, REACH, SIDE).tolist()
    with figure(path, WIDTH, 6.7) as fig:
        grid = fig.subplots(len(DISTRIBUTIONS), len(MODELS), sharex=True, sharey=True)
        for (model, distribution), cell in cells.items():
            axes = grid[DISTRIBUTIONS.index(distribution)][list(MODELS).index(model)]
            axes.contourf(line, line, cell["surface"], levels=16, cmap="Blues", alpha=0.55)
            axes.contour(
                line, line, cell["surface"], levels=16, colors=COLORS[0], alpha=0.45, linewidths=0.4
            )
            for key, color, size in (("data", "0.35", 2.5), ("samples", COLORS[1], 1.2)):
                axes.plot(
                    *zip(*cell[key], strict=True),
                    ".",
                    color=color,
                    markersize=size,
                    markeredgewidth=0,
                    label=key,
                )
            axes.set(
                xlim=(-REACH, REACH),
                ylim=(-REACH, REACH),
                aspect="equal",
                xticks=(-2, 0, 2),
                yticks=(-2, 0, 2),
            )
        for place, model in enumerate(MODELS):
            grid[0][place].set_title(model)
        for place, distribution in enumerate(DISTRIBUTIONS):
            grid[place][0].set_ylabel(distribution)
        handles, labels = grid[0][0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=2, markerscale=5)


def row(model: str, distribution: str, cell: dict[str, Any]) -> list[str]:
    """Return a row of the table, with floors in parentheses."""
    measurements = cell["measured"]

    def of(name: str, digits: int) -> str:
        return (
            f"{measurements[name]:.{digits}f} ({measurements[f'{name}_floor']:.{digits}f})"
            if name in measurements
            else ""
        )

    modes = (
        f"{measurements['modes']:.0f} of {measurements['modes_of']:.0f}"
        if "modes" in measurements
        else ""
    )
    return [
        distribution,
        model,
        modes,
        of("high_quality", 3),
        of("reverse_kl", 4),
        of("w1", 3),
        f"{cell['cpu_seconds']:.0f}",
    ]


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    parser = common_parser(__doc__ or "")
    parser.add_argument("--steps", type=int, help="generator steps (default: those of the recipe)")
    parser.add_argument(
        "--samples", type=int, default=2500, help="number of samples for the metrics"
    )
    options = parser.parse_args(arguments)
    overrides = [
        f"train.seed={options.seed}",
        *([f"train.steps={options.steps}"] if options.steps else []),
    ]
    recipes = {
        model: read(ROOT / "recipes" / f"{name}-toy.toml", overrides)
        for model, name in MODELS.items()
    }
    cells = {}
    for distribution in DISTRIBUTIONS:
        for model, recipe in recipes.items():
            keep = Cells(options, "toy", {"recipe": recipe, "samples": options.samples})
            cells[model, distribution] = keep(
                f"{distribution} {model}",
                partial(train, recipe, distribution, options.samples),
            )
    draw(options.out / "toy.png", cells)
    head = ["distribution", "model", "modes", "high quality", "reverse KL, nats", "W1", "CPU s"]
    kept = ("measured", "cpu_seconds")
    result = {
        distribution: {
            model: {key: cells[model, distribution][key] for key in kept} for model in MODELS
        }
        for distribution in DISTRIBUTIONS
    }
    rows = [
        row(model, distribution, cells[model, distribution])
        for distribution in DISTRIBUTIONS
        for model in MODELS
    ]
    write(
        options, "toy", {"recipes": recipes, "samples": options.samples}, result, table(head, rows)
    )


if __name__ == "__main__":
    main()
