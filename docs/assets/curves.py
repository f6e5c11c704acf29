"""Draw the training curves of the model pages: `python docs/assets/curves.py PICTURE=RUN ...`.

PICTURE is a name of `CURVES`, and RUN is the folder of a finished run.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from drawings.picture import Picture

FOLDER = Path(__file__).parent / "curves"
Panel = tuple[str, str, Mapping[str, float]]
"""The name of a value in the log, the title of its panel, and horizontal lines for comparison."""
BASELINES = {"independent": 24.5, "markov": 23.6}
CURVES: dict[str, tuple[Panel, Panel] | tuple[Panel]] = {
    "vae": (("reconstruction", "reconstruction, nats", {}), ("kl", "KL, nats", {})),
    "wae-mmd": (("reconstruction", "squared error", {}), ("mmd", "MMD", {"0": 0.0})),
    "wae-gan": (
        ("critic/loss", "critic/loss, nats", {"log 4": math.log(4)}),
        ("autoencoder/reconstruction", "squared error", {}),
    ),
    "swae": (
        ("reconstruction", "squared error", {}),
        ("sliced", "sliced", {"floor": 0.045}),
    ),
    "gan": (
        ("critic/js", "critic/js, nats", {"log 2": math.log(2)}),
        ("critic/gap", "critic/gap", {}),
    ),
    "dcgan": (
        ("critic/js", "critic/js, nats", {"log 2": math.log(2)}),
        ("critic/gap", "critic/gap", {}),
    ),
    "lsgan": (
        ("critic/loss", "critic/loss", {"1/4": 0.25}),
        ("critic/gap", "critic/gap", {"1": 1.0}),
    ),
    "wgan": (
        ("critic/gap", "critic/gap", {}),
        ("critic/clipped", "critic/clipped", {}),
    ),
    "wgan-gp": (
        ("critic/gap", "critic/gap", {}),
        ("critic/penalty", "critic/penalty", {}),
    ),
    "nade": (("loss", "negative log-likelihood, nats", BASELINES),),
    "eonade": (("loss", "negative log-likelihood, nats", BASELINES),),
    "rnade": (("loss", "negative log-likelihood, nats", {"best possible": -2.01}),),
    "pixel-rnn": (("loss", "negative log-likelihood, nats", BASELINES),),
    "char-wgan-gp": (
        ("critic/gap", "critic/gap", {}),
        ("critic/penalty", "critic/penalty", {}),
    ),
    "pix2pix": (
        ("generator/l1", "generator/l1", {}),
        ("critic/loss", "critic/loss, nats", {"log 2": math.log(2)}),
    ),
    "cyclegan": (
        ("generators/cycle", "generators/cycle", {}),
        ("critics/loss", "critics/loss", {"1/2": 0.5}),
    ),
    "discogan": (
        ("generators/cycle", "generators/cycle", {}),
        ("critics/loss", "critics/loss, nats", {"2 log 2": 2 * math.log(2)}),
    ),
}


def draw(name: str, history: Sequence[Mapping[str, float]]) -> Picture:
    """Return the picture of a run's log, with a panel for each value."""
    panels = CURVES[name]
    title = " and ".join(title for _name, title, _lines in panels)
    picture = Picture(188, f"{title[0].upper()}{title[1:]} by training step")
    width = 420 / len(panels)
    for index, panel in enumerate(panels):
        _panel(picture, index * width, width, panel, history)
    return picture


def _panel(
    p: Picture,
    left: float,
    width: float,
    panel: Panel,
    history: Sequence[Mapping[str, float]],
) -> None:
    key, title, lines = panel
    points = [(line["step"], line[key]) for line in history if key in line]
    values = [*(value for _step, value in points), *lines.values()]
    # The first steps, far above the rest, would flatten it.
    ordered = sorted(values)
    low, high = (
        ordered[0],
        max(ordered[int(0.97 * len(ordered))], *lines.values(), -math.inf),
    )
    pad = 0.05 * (high - low)
    low, high = low - pad, high + pad
    last = points[-1][0]
    x0, x1, y0, y1 = left + 52, left + width - 18, 152.0, 42.0

    def at(step: float, value: float) -> tuple[float, float]:
        share = (min(value, high) - low) / (high - low)
        return x0 + (x1 - x0) * step / last, y0 + (y1 - y0) * share

    p.text((x0 + x1) / 2, 20, title)
    p.curve([(x0, y1), (x0, y0), (x1, y0)])
    for tick in ticks(low, high):
        y = at(0, tick)[1]
        p.curve([(x0 - 4, y), (x0, y)])
        p.text(x0 - 7, y + 5, f"{tick:g}".replace("-", "−"), "end")
    p.text(x0, 170, "0")
    p.text(x1, 170, f"{last:,.0f} steps", "end")
    for name, value in lines.items():
        y = at(0, value)[1]
        p.curve([(x0, y), (x1, y)], "loss", "5 4")
        above = name != "markov"
        p.text(x1, y - 5 if above else y + 15, name, "end", kind="loss")
    p.curve([at(*point) for point in points], "trace")


def ticks(low: float, high: float) -> list[float]:
    """Return two to five round numbers between two values."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first = math.ceil(low / step)
    return [round(step * i, 10) for i in range(first, math.floor(high / step) + 1)]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for argument in sys.argv[1:]:
        name, _sep, run = argument.partition("=")
        text = (Path(run) / "metrics.jsonl").read_text(encoding="utf-8")
        history = [json.loads(line) for line in text.splitlines()]
        (FOLDER / f"{name}.svg").write_text(draw(name, history).svg(), encoding="utf-8")
