"""Draw the diagrams of the model pages: `python docs/assets/diagrams.py`.

Each is an SVG of 420 units in width whose smallest text has 14, so it can be read on a phone. It
follows the color scheme of the page that shows it. A test compares the files with this script.
"""

from collections.abc import Callable
from pathlib import Path

from drawings.adversarial import dcgan, game, lsgan
from drawings.autoencoders import autoencoder
from drawings.autoregressive import eonade, nade, pixel_rnn, pixels
from drawings.picture import Picture
from drawings.translation import pix2pix, two_way

FOLDER = Path(__file__).parent / "diagrams"
PICTURES: dict[str, Callable[[], Picture]] = {
    **{name: lambda name=name: autoencoder(name) for name in ("vae", "wae-mmd", "wae-gan", "swae")},
    **{name: lambda name=name: game(name) for name in ("gan", "wgan", "wgan-gp", "char-wgan-gp")},
    "dcgan": dcgan,
    "lsgan": lsgan,
    "nade": lambda: nade(real=False),
    "rnade": lambda: nade(real=True),
    "eonade": eonade,
    "pixel-rnn": pixel_rnn,
    "pixels": pixels,
    "pix2pix": pix2pix,
    "cyclegan": lambda: two_way(narrow=False),
    "discogan": lambda: two_way(narrow=True),
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
