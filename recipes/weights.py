"""Train recipes and store the runs as pretrained weights: `make weights ENTRIES="vae.digits"`.

Without names, all entries are made. An entry NAME=RUN stores an existing run folder. Runs are kept
in `runs/weights/`: a killed run continues, and a finished one is used again. Entries on digits are
part of genzoo, the others of the package genzoo-weights. The tables of docs/weights.md and of the
leaderboard are renewed.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import genzoo
from genzoo.runs.folder import RunFolder
from genzoo.runs.recipe import read, shipped, training_seconds
from recipes import gallery
from recipes.columns import COLUMNS, number
from recipes.pages import fill_page, table

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "weights"
DIGITS = ROOT / "genzoo" / "weights" / "entries"
OTHERS = ROOT / "plugins" / "genzoo-weights" / "genzoo_weights" / "entries"
LICENSE = "apache-2.0"
METRICS = (
    "frechet",
    "precision-recall",
    "likelihood",
    "reconstruction",
    "memorization",
    "class-consistency",
)

FULL_COLUMNS = ("Fréchet", "density", "coverage", "nearer to train")
"""The columns of the leaderboard's tables of full training."""

# entry -> its recipe, and what is different
ENTRIES = {
    "vae.digits": ["vae-digits"],
    "wae-mmd.digits": ["wae-mmd-digits"],
    "wae-gan.digits": ["wae-gan-digits"],
    "gan.digits": ["gan-digits"],
    "dcgan.digits": ["dcgan-digits"],
    "lsgan.digits": ["lsgan-digits"],
    "wgan.digits": ["wgan-digits"],
    "wgan-gp.digits": ["wgan-gp-digits"],
    "nade.digits": ["nade-digits"],
    "pixel-rnn.digits": ["pixel-rnn-digits"],
    "cvae.digits": ["cvae-digits"],
    "cgan.digits": ["cgan-digits"],
    "nade-classes.digits": ["nade-classes-digits"],
    "pixel-rnn-classes.digits": ["pixel-rnn-classes-digits"],
    "wae-gan-classes.digits": ["wae-gan-classes-digits"],
    "vae.fashion-mnist": ["vae-fashion-mnist"],
    "wae-mmd.fashion-mnist": ["wae-mmd-fashion-mnist"],
    "wae-gan.fashion-mnist": ["wae-gan-fashion-mnist"],
    "gan.fashion-mnist": ["gan-r1-fashion-mnist"],
    "dcgan.fashion-mnist": ["dcgan-fashion-mnist"],
    "lsgan.fashion-mnist": ["lsgan-r1-fashion-mnist"],
    "wgan.fashion-mnist": ["wgan-fashion-mnist"],
    "wgan-gp.fashion-mnist": ["wgan-gp-fashion-mnist"],
    "nade.fashion-mnist": ["nade-fashion-mnist"],
    "pixel-rnn.fashion-mnist": ["pixel-rnn-fashion-mnist"],
    "cdcgan.fashion-mnist": ["cdcgan-fashion-mnist"],
    "gan.emoji": ["gan-r1-emoji"],
    "cyclegan.fashion-mnist": ["cyclegan-fashion-mnist-mapped"],
    "discogan.fashion-mnist": ["discogan-fashion-mnist-mapped"],
    "pix2pix.fashion-mnist": ["pix2pix-fashion-mnist-edges"],
}


def train(name: str) -> Path:
    """Train the recipe of an entry, continue its run, or use its finished run."""
    if name not in ENTRIES:
        sys.exit(f"error: no entry is named {name!r}; one of {', '.join(ENTRIES)}")
    recipe, *overrides = ENTRIES[name]
    table = read(shipped()[recipe], overrides)
    folder = RUNS / name
    genzoo.fit(
        table["model"],
        table["data"],
        folder,
        players=table["players"],
        resume=RunFolder(folder).is_run(),
        **table["train"],
    )
    return folder


def folder_of(name: str) -> Path:
    """Return the folder of an entry."""
    return (DIGITS if name.endswith(".digits") else OTHERS) / name


def measurements(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the measurements of an entry by metric and quantity."""
    report = json.loads((folder / "report" / "evaluation.json").read_text(encoding="utf-8"))
    return {(row["metric"], row["quantity"]): row for row in report["measurements"]}


def cells(folder: Path) -> tuple[str, ...]:
    """Return an entry as the cells of a table: distance, floor, likelihood, and size."""
    rows = measurements(folder)
    distance, floor, nats = "", "", ""
    if row := rows.get(("frechet", "distance")):
        distance = f"{row['value']:.2f} ± {row['standard_error']:.2f}"
        floor = f"{row['floor']:.2f}"
    if row := rows.get(("likelihood", "log_prob")):
        nats = f"{row['value']:.2f} ± {row['standard_error']:.2f}"
    size = (folder / "model.safetensors").stat().st_size
    return distance, floor, nats, f"{size / 1e6:.2f}"


def write_table() -> None:
    """Write the table of all entries into the page."""
    head = ["name", "Fréchet distance", "its floor", "log-likelihood, nats", "MB"]
    rows = [[f"`{name}`", *cells(folder_of(name))] for name in ENTRIES if folder_of(name).exists()]
    fill_page(ROOT / "docs" / "weights.md", "weights", table(head, rows))


def ranking(page: Path, columns: Sequence[str], *, binary: bool, models: int | None = None) -> str:
    """Return a table of the models of Fashion-MNIST, the smallest Fréchet distance first.

    Arguments:
        page: the page of the table; links to the models start there.
        columns: columns of the leaderboard.
        binary: list the models of binary images instead of those of gray images.
        models: the number of the best models to list, by default all.
    """
    ranked = []
    for name, (caption, target) in gallery.ENTRIES.items():
        if not name.endswith(".fashion-mnist") or "translation" in target:
            continue
        found = measurements(folder_of(name))
        if (("likelihood", "log_prob") in found) == binary:
            link = os.path.relpath(ROOT / "docs" / target, page.parent)
            seconds = training_seconds(shipped()[ENTRIES[name][0]])
            values = [measured(column, found[COLUMNS[column]]) for column in columns]
            ranked.append((found, [f"[{caption}]({link})", *values, f"{seconds:,}"]))
    ranked.sort(key=lambda entry: entry[0]["frechet", "distance"]["value"])
    floors = [number(column, ranked[0][0][COLUMNS[column]]["floor"]) for column in columns]
    rows = [row for _, row in ranked[:models]]
    return table(["model", *columns, "CPU s"], [*rows, ["floor", *floors, ""]])


def measured(column: str, row: dict[str, Any]) -> str:
    """Return a measurement as a column shows it; a Fréchet distance has its standard error."""
    error = f" ± {row['standard_error']:.2f}" if column == "Fréchet" else ""
    return number(column, row["value"]) + error


def write_leaderboard() -> None:
    """Write the tables of full training into the leaderboard, and its head into the first pages."""
    page = ROOT / "docs" / "leaderboard.md"
    fill_page(page, "full-training", ranking(page, FULL_COLUMNS, binary=False))
    exact = (*FULL_COLUMNS, "log-likelihood, nats")
    fill_page(page, "full-training-binary", ranking(page, exact, binary=True))
    for page in (ROOT / "README.md", ROOT / "docs" / "index.md"):
        head = ranking(page, ("Fréchet", "coverage"), binary=False, models=5)
        fill_page(page, "leaderboard-head", head)


def main(arguments: list[str]) -> None:
    """Make entries."""
    # the weights depend on the number of threads
    torch.set_num_threads(1)
    for argument in arguments or ENTRIES:
        name, _, run = argument.partition("=")
        run = Path(run) if run else train(name)
        folder = folder_of(name)
        model = genzoo.load(run)
        metrics = [
            metric for metric in METRICS if not genzoo.build(metric, "metrics").lacking(model)
        ]
        entry = genzoo.weights.store(
            run, folder, metrics=metrics, license=LICENSE, overwrite=folder.exists()
        )
        size = (folder / "model.safetensors").stat().st_size
        print(f"{folder.relative_to(ROOT)}: {size:,} bytes, sha256 {entry.sha256}", flush=True)
    write_table()
    write_leaderboard()


if __name__ == "__main__":
    main(sys.argv[1:])
