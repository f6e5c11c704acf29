"""Detect images that are unlike Fashion-MNIST, and show where the likelihood fails.

A generative model often gives a higher likelihood to images of another dataset than to held-out
images of its own (Nalisnick et al., 2019, https://arxiv.org/abs/1810.09136). Simple images are
likely under every model of images. Then the area under the ROC curve (AUROC) is below 1/2. The
other scores of `genzoo.outliers` compare the likelihood with a typical one (typicality, Nalisnick
et al., 2019, https://arxiv.org/abs/1906.02994), with a background model (Ren et al., 2019,
https://arxiv.org/abs/1906.02845), or with the length of a PNG file (Serrà et al., 2020,
https://arxiv.org/abs/1909.11480).

The models are a small PixelCNN, which has an exact likelihood, and a VAE, which has a bound. The
digits are those of scikit-learn, resized from 8 to 20 pixels within a black frame as in MNIST. The
sharp ones have four times the contrast around middle gray, so that strokes are white with gray
edges as in MNIST. The dark garments have 30 % of their brightness. Differences from the papers:
models are trained for minutes, images have 32 gray levels, typicality is that of single images
instead of batches, and background models count pixels instead of being trained on noisy images.

    python recipes/experiments/outliers.py
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figure import Cells, common_parser, figure, round_to, write
from torch import Tensor

import genzoo
from genzoo import Dataset
from genzoo.metrics import auroc
from genzoo.plots.theme import COLORS, WIDTH
from recipes.pages import table

FITS: Mapping[str, Mapping[str, Any]] = {
    "PixelCNN": {
        "model": {"name": "pixel-rnn", "layer": "conv", "depth": 3, "hidden": 12},
        "batch_size": 16,
        "clip_grad_norm": 1.0,
        "players": {"model": {"lr": 4e-3}},
    },
    "VAE": {"model": {"name": "vae", "encoder": "mlp", "decoder": "mlp"}, "batch_size": 64},
}
SCORES = {
    "likelihood": ("negative_log_likelihood", "negative_elbo"),
    "typicality": ("typicality",),
    "independent": ("independent_ratio",),
    "Markov": ("markov_ratio",),
    "PNG": ("complexity_corrected",),
    "reconstruction": ("reconstruction_error",),
}
"""The head of a column -> the score, by its names for an exact likelihood and for a bound."""
DRAWN = ("held out", "sharp digits", "blurred digits", "dark garments")
"""The images whose likelihoods are drawn."""


def inliers(name: str, levels: int) -> Dataset:
    """Return the images of a dataset in some gray levels."""
    data = genzoo.build(name, "datasets")
    train, test = (
        torch.as_tensor(np.asarray(split["x"])).long() * levels // data.levels
        for split in (data.train, data.test)
    )
    return Dataset({"x": train.byte()}, {"x": test.byte()}, levels=levels, name=name)


def others(data: Dataset, rows: int, seed: int) -> dict[str, Tensor]:
    """Return sets of images that are not in a dataset, in [0, 1]."""
    _, height, width = data.shape
    generator = torch.Generator().manual_seed(seed)
    gray = torch.arange(rows).remainder(data.levels) / (data.levels - 1)
    slopes = 2 * torch.rand(2, rows, 1, 1, 1, generator=generator) - 1
    down = torch.linspace(-0.5, 0.5, height)[:, None]
    across = torch.linspace(-0.5, 0.5, width)
    garments = torch.as_tensor(data.test["x"][-rows:]) / (data.levels - 1)
    blurred = digits(height, width)[:rows]
    return {
        "sharp digits": (4 * (blurred - 0.5) + 0.5).clamp(0, 1),
        "blurred digits": blurred,
        "dark garments": 0.3 * garments,
        "uniform gray": gray[:, None, None, None].expand(-1, 1, height, width),
        "gradients": (0.5 + slopes[0] * down + slopes[1] * across).clamp(0, 1),
        "upside down": garments.flip(2),
        "noise": torch.rand(rows, 1, height, width, generator=generator),
    }


def digits(height: int, width: int) -> Tensor:
    """Return the digits of scikit-learn, resized to 5/7 of an image within a black frame."""
    from PIL import Image

    source = genzoo.build("digits", "datasets")
    images = np.concatenate([np.asarray(source.train["x"]), np.asarray(source.test["x"])])
    inner = (round(width * 5 / 7), round(height * 5 / 7))
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    resized = torch.zeros(len(images), 1, height, width)
    for target, image in zip(resized, images, strict=True):
        picture = Image.fromarray(np.round(image[0] * (255 / 16)).astype(np.uint8))
        pixels = np.asarray(picture.resize(inner, Image.Resampling.BICUBIC)) / 255
        target[0, top : top + inner[1], left : left + inner[0]] = torch.as_tensor(pixels)
    return resized


def detect(name: str, data: Dataset, options: Any) -> dict[str, Any]:
    """Train a model, and return the AUROC of each score for each set of images."""
    settings = dict(FITS[name])
    model = dict(settings.pop("model"))
    if name == "PixelCNN":
        model["levels"] = data.levels
    steps = options.steps * (1 if name == "PixelCNN" else 2)
    run = genzoo.fit(
        model, data, steps=steps, schedule="cosine", seed=options.seed, log_every=200, **settings
    )
    sets = others(data, options.rows, options.seed)
    scores = genzoo.outliers(run, torch.cat(list(sets.values())), n=options.rows, seed=options.seed)
    likelihood = next(iter(scores.scores))
    result: dict[str, Any] = {
        "likelihood": {"held out": _rounded(-scores.inliers[likelihood])},
        "auroc": {label: {} for label in sets},
    }
    sizes = [len(images) for images in sets.values()]
    for score, inliers in scores.inliers.items():
        for label, values in zip(sets, scores[score].split(sizes), strict=True):
            result["auroc"][label][score] = [round_to(x) for x in auroc(inliers, values)]
            if score == likelihood:
                result["likelihood"][label] = _rounded(-values)
    return result


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 1) for value in values.tolist()]


def draw(path: Path, results: Mapping[str, Any]) -> None:
    """Draw the likelihoods of the PixelCNN, and the AUROC of each score with its interval."""
    likelihood = results["PixelCNN"]["likelihood"]
    sets = list(results["PixelCNN"]["auroc"])
    with figure(path, WIDTH, 3) as fig:
        axes, *panels = fig.subplots(1, 3, width_ratios=(1.3, 1, 1))
        low = float(np.quantile(likelihood["held out"], 0.01)) * 1.5
        bins = np.linspace(low, 0, 41)
        for label, color in zip(DRAWN, ("black", *COLORS), strict=False):
            axes.hist(
                likelihood[label],
                bins=bins,
                density=True,
                histtype="step",
                color=color,
                label=label,
            )
        axes.set(xlabel="log-likelihood, nats", yticks=[], title="PixelCNN")
        axes.legend(loc="upper left")
        for axes, (model, result) in zip(panels, results.items(), strict=True):
            for number, (score, color) in enumerate(zip(SCORES, COLORS, strict=False)):
                areas = {row: _area(result["auroc"][name], score) for row, name in enumerate(sets)}
                for row, area in areas.items():
                    if area is not None:
                        value, _, *ends = area
                        y = row + (number - 2.5) / 8
                        axes.plot(ends, [y, y], color=color, linewidth=0.8)
                        axes.plot(value, y, "o", color=color, markersize=3)
                axes.plot([], [], "o", color=color, markersize=3, label=score)
            axes.axvline(0.5, color="0.8", linewidth=0.8, zorder=0)
            axes.set(xlabel="AUROC", xlim=(-0.03, 1.03), yticks=range(len(sets)), title=model)
            axes.set_yticklabels(sets if axes is panels[0] else [])
            axes.invert_yaxis()
        fig.legend(*axes.get_legend_handles_labels(), loc="outside right center")


def _area(areas: Mapping[str, Any], column: str) -> Any:
    """Return the AUROC of a column of the table, or None."""
    return next((areas[name] for name in SCORES[column] if name in areas), None)


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    parser = common_parser(__doc__ or "")
    parser.add_argument("--data", default="fashion-mnist", help="the dataset of the inliers")
    parser.add_argument("--steps", type=int, default=1500, help="steps of the PixelCNN")
    parser.add_argument("--levels", type=int, default=32, help="gray levels of all images")
    parser.add_argument("--rows", type=int, default=1000, help="images of each set")
    options = parser.parse_args(arguments)
    settings = {name: getattr(options, name) for name in ("data", "levels", "steps", "rows")}
    keep = Cells(options, "outliers", settings)
    data = inliers(options.data, options.levels)
    results = {name: keep(name, partial(detect, name, data, options)) for name in FITS}
    draw(options.out / "outliers.png", results)
    rows = []
    for name, result in results.items():
        for label, areas in result["auroc"].items():
            cells = [_area(areas, column) for column in SCORES]
            rows.append(
                [name, label, *("" if area is None else f"{area[0]:.3f}" for area in cells)]
            )
    lines = table(["model", "images", *SCORES], rows)
    content = {
        name: {
            "mean_log_likelihood": {
                label: round_to(float(np.mean(values)), 6)
                for label, values in result["likelihood"].items()
            },
            "auroc": result["auroc"],
            "cpu_seconds": result["cpu_seconds"],
        }
        for name, result in results.items()
    }
    write(options, "outliers", settings, content, lines)


if __name__ == "__main__":
    main()
