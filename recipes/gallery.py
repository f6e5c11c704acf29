"""Draw samples of the pretrained weights, and list them in the README and on the home page.

The samples are the first ones of seed 0, not selected.

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
from genzoo.cli.inputs import held_out
from recipes.pages import fill_page

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS.parent / "README.md", DOCS / "index.md")
ENTRIES = {
    "vae.fashion-mnist": ("VAE", "models/vae.md"),
    "wae-mmd.fashion-mnist": ("WAE-MMD", "models/wae-mmd.md"),
    "wae-gan.fashion-mnist": ("WAE-GAN", "models/wae-gan.md"),
    "gan.fashion-mnist": ("GAN", "models/gan.md"),
    "gan.emoji": ("GAN in color", "models/gan.md"),
    "dcgan.fashion-mnist": ("DCGAN", "models/dcgan.md"),
    "cdcgan.fashion-mnist": ("DCGAN by class", "concepts/labels.md"),
    "lsgan.fashion-mnist": ("LSGAN", "models/lsgan.md"),
    "wgan.fashion-mnist": ("WGAN", "models/wgan.md"),
    "wgan-gp.fashion-mnist": ("WGAN-GP", "models/wgan-gp.md"),
    "nade.fashion-mnist": ("NADE", "models/nade.md"),
    "pixel-rnn.fashion-mnist": ("PixelRNN", "models/pixel-rnn.md"),
    "pix2pix.fashion-mnist": ("Pix2Pix", "plugins/translation.md"),
    "cyclegan.fashion-mnist": ("CycleGAN", "plugins/translation.md"),
    "discogan.fashion-mnist": ("DiscoGAN", "plugins/translation.md"),
}
"""The name of an entry -> the caption of its picture, and its page."""
COLUMNS, ROWS = 4, 2
SIDE = 64
"""The height and width of a sample in pixels, at most."""
README_COLUMNS, README_WIDTH = 4, 180
"""The number of pictures in a row of the README, and the width of a picture in pixels."""
DATA = {"fashion-mnist": "Fashion-MNIST", "emoji": "emoji"}


def samples(entry: str) -> Tensor:
    """Return samples, `(n, C, H, W)`. Translations follow their inputs."""
    model: Any = genzoo.load(entry)
    n = COLUMNS * ROWS
    if hasattr(model, "translate"):
        inputs = held_out(entry, model, n // 2, model.given)
        torch.manual_seed(0)
        return torch.stack([inputs, model.translate(inputs)], dim=1).flatten(0, 1)
    torch.manual_seed(0)
    if model.given:
        return model.sample(n, given=torch.arange(n))
    return model.sample(n)


def tiles(images: Tensor) -> Image.Image:
    """Return images on a grid with transparent gaps, enlarged by an integer factor."""
    factor = SIDE // images.shape[-1]
    pixels = (255 * images).round().byte().permute(0, 2, 3, 1).numpy()
    mode = "RGBA" if images.shape[1] == 3 else "LA"
    height, width = (side * factor for side in images.shape[2:])
    rows = len(images) // COLUMNS
    grid = Image.new(mode, (COLUMNS * (width + 2) - 2, rows * (height + 2) - 2))
    for i, image in enumerate(pixels):
        tile = Image.fromarray(image if mode == "RGBA" else image[:, :, 0])
        tile = tile.resize((width, height), Image.Resampling.NEAREST).convert(mode)
        grid.paste(tile, (i % COLUMNS * (width + 2), i // COLUMNS * (height + 2)))
    return grid


def cell(entry: str, page: Path) -> tuple[str, str]:
    """Return the picture and the caption of an entry, in Markdown and HTML."""
    caption, target = ENTRIES[entry]
    picture = os.path.relpath(DOCS / "assets" / "gallery" / f"{entry}.png", page.parent)
    link = os.path.relpath(DOCS / target, page.parent)
    data = DATA[entry.partition(".")[2]]
    kind = "Inputs and translations" if "translation" in target else "Samples"
    alt = f"{kind} of {caption} on {data}"
    if page.name == "README.md":
        return f'<img src="{picture}" alt="{alt}" width="{README_WIDTH}">', f"[{caption}]({link})"
    return f"![{alt}]({picture}){{ .sheet }}", f"[{caption}]({link})"


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
    items = [f"- {picture}\n    {caption}" for picture, caption in cells]
    return '<div class="gallery" markdown>\n\n' + "\n".join(items) + "\n\n</div>"


def main() -> None:
    """Draw the pictures and renew the pages."""
    folder = DOCS / "assets" / "gallery"
    folder.mkdir(exist_ok=True)
    for entry in ENTRIES:
        tiles(samples(entry)).save(folder / f"{entry}.png", optimize=True)
    for page in PAGES:
        cells = [cell(entry, page) for entry in ENTRIES]
        fill_page(page, "gallery", table(cells) if page.name == "README.md" else grid(cells))


if __name__ == "__main__":
    main()
