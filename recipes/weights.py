"""Train recipes and store the runs as pretrained weights: `make weights ENTRIES="vae.digits"`.

Without names, all entries are made. An entry NAME=RUN stores an existing run folder. Runs are kept
in `runs/weights/`: a killed run continues, and a finished one is used again. Entries on digits are
part of genzoo, the others of the package genzoo-weights. The tables of docs/weights.md and of the
leaderboard are renewed.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

import genzoo
from genzoo.runs.folder import RunFolder
from genzoo.runs.recipe import read, shipped, training_seconds
from recipes import gallery
from recipes.pages import fill_page

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

COLUMNS = {
    "Fréchet": "frechet/distance",
    "density": "precision-recall/clipped_density",
    "coverage": "precision-recall/clipped_coverage",
    "nearer to train": "memorization/nearer_to_train",
}
"""A column of the leaderboard -> the METRIC/QUANTITY in it."""
HEAD = {head: COLUMNS[head] for head in ("Fréchet", "coverage")}
"""The columns of the short table on the first pages."""

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


def measurements(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the measurements of an entry by METRIC/QUANTITY."""
    report = json.loads((folder / "report" / "evaluation.json").read_text(encoding="utf-8"))
    return {f"{row['metric']}/{row['quantity']}": row for row in report["measurements"]}


def cells(folder: Path) -> tuple[str, ...]:
    """Return an entry as the cells of a table: distance, floor, likelihood, and size."""
    rows = measurements(folder)
    distance, floor, nats = "", "", ""
    if row := rows.get("frechet/distance"):
        distance = f"{row['value']:.2f} ± {row['standard_error']:.2f}"
        floor = f"{row['floor']:.2f}"
    if row := rows.get("likelihood/log_prob"):
        nats = f"{row['value']:.2f} ± {row['standard_error']:.2f}"
    size = (folder / "model.safetensors").stat().st_size
    return distance, floor, nats, f"{size / 1e6:.2f}"


def write_table() -> None:
    """Write the table of all entries into the page."""
    lines = [
        "| name | Fréchet distance | its floor | log-likelihood, nats | MB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in ENTRIES:
        folder = (DIGITS if name.endswith(".digits") else OTHERS) / name
        if folder.exists():
            lines.append(f"| `{name}` | {' | '.join(cells(folder))} |")
    fill_page(ROOT / "docs" / "weights.md", "weights", "\n".join(lines))


def ranking(page: Path, columns: dict[str, str], *, binary: bool, models: int = 99) -> str:
    """Return a table of the models of Fashion-MNIST, the smallest Fréchet distance first.

    Arguments:
        page: the page of the table; links to the models start there.
        columns: a column of the table -> the METRIC/QUANTITY in it.
        binary: list the models of binary images instead of those of gray images.
        models: the number of models to list.
    """
    listed = {}
    for name, (caption, target) in gallery.ENTRIES.items():
        if not name.endswith(".fashion-mnist") or "translation" in target:
            continue
        rows = measurements(OTHERS / name)
        if ("likelihood/log_prob" in rows) != binary:
            continue
        link = os.path.relpath(ROOT / "docs" / target, page.parent)
        seconds = training_seconds(shipped()[ENTRIES[name][0]])
        values = [_number(rows[key]["value"], key) for key in columns.values()]
        values[0] += f" ± {rows[columns['Fréchet']]['standard_error']:.2f}"
        listed[f"| [{caption}]({link}) | {' | '.join(values)} | {seconds:,} |"] = rows
    order = sorted(listed, key=lambda line: listed[line]["frechet/distance"]["value"])
    floors = [_number(listed[order[0]][key]["floor"], key) for key in columns.values()]
    return "\n".join(
        [
            f"| model | {' | '.join(columns)} | CPU s |",
            f"| --- | {'--: | ' * len(columns)}--: |",
            *order[:models],
            f"| floor | {' | '.join(floors)} |  |",
        ]
    )


def _number(value: float | None, key: str) -> str:
    decimals = {"frechet/distance": 2, "likelihood/log_prob": 1}.get(key, 3)
    return "" if value is None else f"{value:z.{decimals}f}"


def write_leaderboard() -> None:
    """Write the tables of full training into the leaderboard, and its head into the first pages."""
    page = ROOT / "docs" / "leaderboard.md"
    for binary in (False, True):
        columns = COLUMNS | ({"log-likelihood, nats": "likelihood/log_prob"} if binary else {})
        title = "full-training-binary" if binary else "full-training"
        fill_page(page, title, ranking(page, columns, binary=binary))
    for page in (ROOT / "README.md", ROOT / "docs" / "index.md"):
        fill_page(page, "leaderboard-head", ranking(page, HEAD, binary=False, models=5))


def main(arguments: list[str]) -> None:
    """Make entries."""
    # the weights depend on the number of threads
    torch.set_num_threads(1)
    for argument in arguments or ENTRIES:
        name, _, run = argument.partition("=")
        run = Path(run) if run else train(name)
        folder = (DIGITS if name.endswith(".digits") else OTHERS) / name
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
