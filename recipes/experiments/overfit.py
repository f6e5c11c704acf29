"""Plot the critic's loss on training and held-out images to show that the critic overfits.

This experiment follows figure 5b of Improved Training of Wasserstein GANs (Gulrajani, Ahmed,
Arjovsky, Dumoulin, and Courville, 2017, https://arxiv.org/abs/1704.00028). A large WGAN and a large
WGAN-GP without regularization are trained on a random subset of 1,000 images. Differences from the
paper:

- The data are scikit-learn's digits instead of MNIST, which leaves 797 held-out images.
- Networks have three layers. The paper does not state their size.
- Training takes 2,000 generator steps instead of 20,000, with five times the learning rates.

    python recipes/experiments/overfit.py
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from figure import METHOD_COLORS, Cells, Watch, common_parser, figure, round_to, write
from torch import Tensor

import genzoo
from genzoo.contract.dataset import Dataset
from genzoo.plots.theme import WIDTH
from recipes.pages import table

MODELS = {"WGAN": "wgan", "WGAN-GP": "wgan-gp"}
LEARNING_RATES = {"wgan": 5e-5, "wgan-gp": 1e-4}
"""The learning rates of the papers."""


def train(name: str, data: Dataset, rate: float, settings: dict[str, Any]) -> dict[str, Any]:
    """Train on few images, and record the negative critic loss on training and held-out images."""
    net = {"name": "mlp", "hidden": [settings["width"]] * 3, "activation": "relu"}
    model = genzoo.build(
        {"name": name, "generator": net, "critic": net, "critic_steps": 5}, shape=data.shape
    )
    known, held_out = (
        data.prepare(torch.as_tensor(columns["x"])) for columns in (data.train, data.test)
    )

    def negative_loss(x: Tensor) -> float:
        torch.manual_seed(0)  # use the same samples for both sets of images
        return round_to(-model.critic_loss(x)["loss"].item())

    watch = Watch(
        model,
        max(1, settings["steps"] // settings["looks"]),
        lambda: {"training": negative_loss(known), "held out": negative_loss(held_out)},
    )
    players = {player.name: {"lr": rate * LEARNING_RATES[name]} for player in model.players()}
    genzoo.fit(
        model,
        data,
        players=players,
        steps=settings["steps"],
        batch_size=64,
        progress=False,
        **watch.settings,
    )
    return {"seen": watch.seen}


def draw(path: Path, cells: dict[str, dict[str, Any]]) -> None:
    """Draw one panel per model, each with its own scale, because clipping leaves K unknown."""
    with figure(path, WIDTH, 2.5) as fig:
        for axes, (label, cell) in zip(
            fig.subplots(1, len(cells), sharex=True), cells.items(), strict=True
        ):
            steps = [line["step"] for line in cell["seen"]]
            for key, style in (("training", "-"), ("held out", "--")):
                axes.plot(
                    steps,
                    [line[key] for line in cell["seen"]],
                    style,
                    color=METHOD_COLORS[label],
                    label=f"{key} images",
                )
            axes.set(title=label, xlabel="generator steps")
            axes.legend()
        fig.axes[0].set_ylabel("negative critic loss")


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    parser = common_parser(__doc__ or "")
    parser.add_argument("--data", default="digits", help="a dataset of images")
    parser.add_argument(
        "--rows",
        type=int,
        default=1000,
        help="number of training images, and maximum number of held-out images",
    )
    parser.add_argument("--steps", type=int, default=2000, help="generator steps")
    parser.add_argument("--width", type=int, default=256, help="units per layer")
    parser.add_argument(
        "--rate",
        type=float,
        default=5.0,
        help="factor on the models' learning rates, for short runs",
    )
    parser.add_argument("--looks", type=int, default=25)
    options = parser.parse_args(arguments)
    settings = {
        key: getattr(options, key) for key in ("data", "rows", "steps", "width", "rate", "looks")
    }
    whole = genzoo.build(options.data, "datasets")
    images = torch.cat([torch.as_tensor(columns["x"]) for columns in (whole.train, whole.test)])
    images = images[
        torch.randperm(len(images), generator=torch.Generator().manual_seed(options.seed))
    ]
    data = Dataset(
        {"x": images[: options.rows]},
        {"x": images[options.rows :][: options.rows]},
        levels=whole.levels,
    )
    keep = Cells(options, "overfit", settings)
    cells = {
        label: keep(label, partial(train, name, data, options.rate, settings))
        for label, name in MODELS.items()
    }
    draw(options.out / "overfit.png", cells)
    rows = []
    for label, cell in cells.items():
        best, last = max(cell["seen"], key=lambda line: line["held out"]), cell["seen"][-1]
        rows.append(
            [
                label,
                best["held out"],
                best["step"],
                last["training"],
                last["held out"],
                f"{cell['cpu_seconds']:.0f}",
            ]
        )
    head = ["model", "largest, held out", "at step", "last, training", "last, held out", "CPU s"]
    write(options, "overfit", settings, cells, table(head, rows))


if __name__ == "__main__":
    main()
