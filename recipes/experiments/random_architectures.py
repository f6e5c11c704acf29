"""Train many architectures with one set of settings, to compare WGAN-GP with other methods.

This experiment follows Improved Training of Wasserstein GANs (Gulrajani, Ahmed, Arjovsky, Dumoulin,
and Courville, 2017, https://arxiv.org/abs/1704.00028). It has three parts:

- `table` follows the table of 200 random architectures. It samples networks from the paper's space,
  trains each as a GAN and as a WGAN-GP, and counts how many succeed. Differences: layers are fully
  connected, with units instead of filters, so that deep networks do not need large images. The
  Fréchet distance in genzoo's feature network replaces the Inception score, so success is a small
  value.
- `curves` follows the figure of scores on CIFAR-10. It plots the distance by generator steps and by
  time. Differences: the data are Fashion-MNIST, and time is CPU time instead of wall-clock time.
- `variants` follows the figure of LSUN bedrooms. It trains DCGAN and six variants that are hard to
  train with four methods. Differences: the data are digits. SiLU, which multiplies a unit by its
  gate, replaces gates with separate weights. 20 fully connected layers with norms replace ResNets
  of 101 layers.

In all parts, images are smaller, and runs take hundreds of generator steps instead of 100,000 or
200,000. Learning rates are those of the paper multiplied by `--rate`, the same for all methods.

    python recipes/experiments/random_architectures.py --part table
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Any

import torch
from figure import METHOD_COLORS, Cells, common_parser, figure, write
from methods import GAN, METHODS, WGANGP, Real, architecture, train, variants

from genzoo.plots import sheet
from genzoo.plots.theme import WIDTH
from recipes.pages import table

CURVES = {**METHODS, "WGAN-GP, RMSprop": {**WGANGP, "optimizer": {"name": "RMSprop", "lr": 1e-4}}}
del CURVES["LSGAN"]
THRESHOLDS = (8, 16, 32, 64, 128)
"""Thresholds of the Fréchet distance, as multiples of the floor."""


def shown(distance: float | None) -> str:
    """Format a distance for a table."""
    return "failed" if distance is None else f"{distance:.3g}"


def run_table(options: Namespace, keep: Cells, real: Real) -> tuple[Any, str]:
    """Count the random architectures that succeed as GAN, as WGAN-GP, as both, or as neither."""
    by_method: dict[str, list[float]] = {"GAN": [], "WGAN-GP": []}
    for number in range(options.n):
        nets = architecture(options.seed, number)
        for label, method in (("GAN", GAN), ("WGAN-GP", WGANGP)):
            cell = keep(
                f"{number} {label}",
                partial(train, method, *nets, real, options.steps, options.rate, decay=1e-3),
            )
            by_method[label].append(float("inf") if cell["distance"] is None else cell["distance"])
    rows = []
    for threshold in THRESHOLDS:
        pairs = [
            (gan <= threshold * real.floor, gp <= threshold * real.floor)
            for gan, gp in zip(*by_method.values(), strict=True)
        ]
        rows.append(
            [
                f"{threshold} floors ({threshold * real.floor:.3g})",
                *(pairs.count(p) for p in ((1, 0), (0, 1), (1, 1), (0, 0))),
            ]
        )
    draw_table(options.out / "random-architectures.png", by_method, real.floor)
    nets = [
        dict(zip(("generator", "critic"), architecture(options.seed, number), strict=True))
        for number in range(options.n)
    ]
    finite = {
        label: [None if d == float("inf") else d for d in distances]
        for label, distances in by_method.items()
    }
    return {"architectures": nets, "distances": finite}, table(
        ["distance at most", "GAN only", "WGAN-GP only", "both", "neither"], rows
    )


def draw_table(path: Path, by_method: Mapping[str, list[float]], floor: float) -> None:
    """Draw the share of architectures within each distance."""
    with figure(path, 4.2, 2.8) as fig:
        axes = fig.subplots()
        for label, distances in by_method.items():
            axes.ecdf([min(d, 1e6) for d in distances], color=METHOD_COLORS[label], label=label)
        axes.axvline(floor, color="0.7", linewidth=0.8)
        axes.annotate(
            "real images",
            (floor, 0.98),
            (3, 0),
            textcoords="offset points",
            color="0.5",
            va="top",
        )
        axes.set(
            xscale="log",
            xlabel="Fréchet distance, at most",
            ylabel="share of architectures",
            ylim=(0, 1.02),
        )
        axes.legend(loc=(0.12, 0.55))


def run_curves(options: Namespace, keep: Cells, real: Real) -> tuple[Any, str]:
    """Track the distance for clipping, for the penalty with two optimizers, and for a GAN."""
    generator, critic = variants(options.width)["baseline"]
    cells = {
        label: keep(
            label,
            partial(train, method, generator, critic, real, options.steps, options.rate, looks=15),
        )
        for label, method in CURVES.items()
    }
    draw_curves(options.out / "curves.png", cells)
    rows = [
        [label, shown(cell["distance"]), f"{cell['seen'][-1]['cpu_seconds']:.0f}"]
        for label, cell in cells.items()
    ]
    seen = {
        label: {"distance": cell["distance"], "seen": cell["seen"]} for label, cell in cells.items()
    }
    return seen, table(["method", "distance", "CPU s"], rows)


def draw_curves(path: Path, cells: Mapping[str, Any]) -> None:
    """Draw the distance by steps and by time."""
    from matplotlib.ticker import LogFormatter

    with figure(path, WIDTH, 2.6) as fig:
        for axes, key, xlabel in zip(
            fig.subplots(1, 2, sharey=True),
            ("step", "cpu_seconds"),
            ("generator steps", "CPU seconds"),
            strict=True,
        ):
            for label, cell in cells.items():
                xs, ys = ([line[name] for line in cell["seen"]] for name in (key, "distance"))
                axes.plot(
                    xs,
                    ys,
                    "--" if "RMS" in label else "-",
                    color=METHOD_COLORS[label.split(",")[0]],
                    label=label,
                )
            axes.set(xlabel=xlabel, yscale="log")
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter())
        fig.axes[0].set_ylabel("Fréchet distance")
        fig.axes[1].legend()


def run_variants(options: Namespace, keep: Cells, real: Real) -> tuple[Any, str]:
    """Train hard architectures with four methods, and show samples and distances."""
    by_architecture: dict[str, dict[str, Any]] = {}
    for name, nets in variants(options.width).items():
        for label, method in METHODS.items():
            cell = keep(
                f"{name} {label}",
                partial(train, method, *nets, real, options.steps, options.rate),
            )
            by_architecture.setdefault(name, {})[label] = cell
    draw_variants(options.out / "variants.png", by_architecture)
    rows = [
        [name, *(shown(cell["distance"]) for cell in cells.values())]
        for name, cells in by_architecture.items()
    ]
    result = {
        name: {label: cell["distance"] for label, cell in cells.items()}
        for name, cells in by_architecture.items()
    }
    return result, table(["architecture", *METHODS], rows)


def draw_variants(path: Path, by_architecture: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw samples of each architecture, a row, by each method, a column."""
    with figure(path, WIDTH, 4.9) as fig:
        grid = fig.subplots(len(by_architecture), len(METHODS))
        for axes, label in zip(grid[0], METHODS, strict=True):
            axes.set_title(label)
        for row, (name, cells) in zip(grid, by_architecture.items(), strict=True):
            for axes, cell in zip(row, cells.values(), strict=True):
                axes.set(xticks=(), yticks=())
                axes.spines[:].set_visible(False)
                if cell["samples"]:
                    axes.imshow(sheet(torch.tensor(cell["samples"]) / 100, columns=6), cmap="gray")
                axes.set_xlabel(shown(cell["distance"]), labelpad=1)
            row[0].set_ylabel("\n".join(wrap(name, 20)), rotation=0, ha="right", va="center")


PARTS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "table": (run_table, "random-architectures", {"data": "digits", "steps": 400, "rate": 5.0}),
    "curves": (run_curves, "curves", {"data": "fashion-mnist", "steps": 300, "rate": 5.0}),
    "variants": (run_variants, "variants", {"data": "digits", "steps": 600, "rate": 2.0}),
}
"""Each part's function, the name of its output files, and its defaults."""


def main(arguments: list[str] | None = None) -> None:
    """Run one part of the experiment."""
    parser = common_parser(__doc__ or "")
    parser.add_argument("--part", choices=PARTS, default="table")
    parser.add_argument("--data", help='"digits" or "fashion-mnist" (default: depends on the part)')
    parser.add_argument("--n", type=int, default=8, help="number of architectures in the table")
    parser.add_argument("--steps", type=int, help="generator steps (default: depends on the part)")
    parser.add_argument(
        "--width",
        type=int,
        default=16,
        help="channels of the layer closest to the data, in curves and variants",
    )
    parser.add_argument(
        "--rate",
        type=float,
        help="factor on the learning rates, for short runs (default: depends on the part)",
    )
    options = parser.parse_args(arguments)
    run, name, defaults = PARTS[options.part]
    for key, value in defaults.items():
        setattr(options, key, getattr(options, key) or value)
    settings = {key: getattr(options, key) for key in ("data", "steps", "rate", "width")}
    real = Real(options.data)
    keep = Cells(options, options.part, settings)
    result, page = run(options, keep, real)
    content = {"floor": real.floor, "network": real.network.version, "images": real.n, **result}
    version = real.network.version
    page += (
        f"\nOther real images: {real.floor:.3g}. Compared with {real.n:,} images, by {version}.\n"
    )
    write(options, name, settings, content, page)


if __name__ == "__main__":
    main()
