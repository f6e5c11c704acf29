"""Draw samples of the pretrained weights, and list them in the README and on the home page.

For each model, the weights on Fashion-MNIST are used if there are any, else those on digits. The
samples are the first ones of seed 0, not selected.

    python recipes/gallery.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import genzoo
from genzoo.cli.common import held_out
from recipes.pages import fill_page

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS.parent / "README.md", DOCS / "index.md")
MODELS = {
    "vae": ("VAE", "models/vae.md"),
    "wae-mmd": ("WAE-MMD", "models/wae-mmd.md"),
    "wae-gan": ("WAE-GAN", "models/wae-gan.md"),
    "gan": ("GAN", "models/gan.md"),
    "dcgan": ("DCGAN", "models/dcgan.md"),
    "lsgan": ("LSGAN", "models/lsgan.md"),
    "wgan": ("WGAN", "models/wgan.md"),
    "wgan-gp": ("WGAN-GP", "models/wgan-gp.md"),
    "cdcgan": ("DCGAN by class", "concepts/labels.md"),
    "nade": ("NADE", "models/nade.md"),
    "pixel-rnn": ("PixelRNN", "models/pixel-rnn.md"),
    "pix2pix": ("Pix2Pix", "plugins/translation.md"),
    "cyclegan": ("CycleGAN", "plugins/translation.md"),
    "discogan": ("DiscoGAN", "plugins/translation.md"),
}
"""The first part of the name of an entry -> the caption of its picture, and its page."""
COLUMNS, ROWS = 3, 2
SIDE = 56
"""The height and width of a sample in pixels, at most."""
README_COLUMNS = 4
NAMES = {"fashion-mnist": "Fashion-MNIST", "digits": "digits"}


def entries() -> dict[str, str]:
    """Return the model -> the name of its entry."""
    available = genzoo.weights.available()
    choices = {
        model: [name for data in NAMES if (name := f"{model}.{data}") in available]
        for model in MODELS
    }
    return {model: names[0] for model, names in choices.items() if names}


def samples(entry: str) -> Tensor:
    """Return samples, `(n, C, H, W)`. Translations follow their inputs."""
    model: Any = genzoo.load(entry)
    n = COLUMNS * ROWS
    if hasattr(model, "translate"):
        n = ROWS * 2
        inputs = held_out(entry, model, n, model.given)
        torch.manual_seed(0)
        return torch.stack([inputs, model.translate(inputs)], dim=1).flatten(0, 1)
    torch.manual_seed(0)
    if model.given:
        return model.sample(n, given=torch.arange(n))
    return model.sample(n)


def tiles(images: Tensor, columns: int) -> Image.Image:
    """Return images on a grid with transparent gaps, enlarged by an integer factor."""
    factor = SIDE // images.shape[-1]
    gray = (255 * images.mean(dim=1)).round().byte().numpy()
    height, width = (side * factor for side in gray.shape[1:])
    rows = len(gray) // columns
    grid = Image.new("LA", (columns * (width + 2) - 2, rows * (height + 2) - 2))
    for i, pixels in enumerate(gray):
        tile = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
        grid.paste(tile.convert("LA"), (i % columns * (width + 2), i // columns * (height + 2)))
    return grid


def cell(model: str, entry: str, page: Path) -> tuple[str, str]:
    """Return the picture and the caption of a model, in Markdown."""
    caption, target = MODELS[model]
    picture = os.path.relpath(DOCS / "assets" / "gallery" / f"{model}.png", page.parent)
    link = os.path.relpath(DOCS / target, page.parent)
    data = NAMES[entry.partition(".")[2]]
    kind = "Inputs and translations" if "translation" in target else "Samples"
    return f"![{kind} of {caption} on {data}]({picture})", f"[{caption}]({link})"


def table(cells: list[tuple[str, str]]) -> str:
    """Return a table with a row of pictures above a row of captions, and so on."""
    cells = cells + [("", "")] * (-len(cells) % README_COLUMNS)
    lines = []
    for start in range(0, len(cells), README_COLUMNS):
        pictures, captions = zip(*cells[start : start + README_COLUMNS], strict=True)
        lines += [f"| {' | '.join(pictures)} |", f"| {' | '.join(captions)} |"]
    lines.insert(1, "| :-: " * README_COLUMNS + "|")
    return "\n".join(lines)


def grid(cells: list[tuple[str, str]]) -> str:
    """Return a list whose items flow into as many columns as fit the page."""
    items = [f"- {picture}{{ .sheet }}\n    {caption}" for picture, caption in cells]
    return '<div class="gallery" markdown>\n\n' + "\n".join(items) + "\n\n</div>"


def main() -> None:
    """Draw the pictures and renew the pages."""
    folder = DOCS / "assets" / "gallery"
    folder.mkdir(exist_ok=True)
    chosen = entries()
    for model, entry in chosen.items():
        images = samples(entry)
        columns = 4 if len(images) == ROWS * 4 else COLUMNS
        tiles(images, columns).save(folder / f"{model}.png", optimize=True)
    for page in PAGES:
        cells = [cell(model, entry, page) for model, entry in chosen.items()]
        content = table(cells) if page.name == "README.md" else grid(cells)
        fill_page(page, "gallery", content)


if __name__ == "__main__":
    main()
