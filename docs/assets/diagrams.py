"""Draw the diagrams of the model pages: `python docs/assets/diagrams.py`.

Each is an SVG of 420 units in width whose smallest text has 14, so it can be read on a phone. It
follows the color scheme of the page that shows it. A test compares the files with this script.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import torch
from genzoo.models import PixelRNN

FOLDER = Path(__file__).parent / "diagrams"
WIDTH = 420
STYLE = """\
text { font: 14px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #16242e }
.maths { font: italic 16px 'STIX Two Text', 'Times New Roman', 'DejaVu Serif', serif }
.card { fill: #f5f7f8 } .line { stroke: #37474f; fill: none } .head { fill: #37474f }
.data { fill: #e1e8ed; stroke: #607d8b } .net { fill: #d3ece8; stroke: #00796b }
.latent { fill: #ffefd0; stroke: #a86a00 } .loss { stroke: #b3261e; fill: none }
.trace { stroke: #00796b; fill: none }
.losshead, text.losstext { fill: #b3261e } .empty { fill: none; stroke: #607d8b }
.dot, .bar { fill: #a86a00 } .soft { fill: #ffefd0; stroke: #a86a00; fill-opacity: .55 }
@media (prefers-color-scheme: dark) {
text { fill: #e8eef2 } .card { fill: #1d252b } .line { stroke: #b0bec5 } .head { fill: #b0bec5 }
.data { fill: #33414a; stroke: #90a4ae } .net { fill: #12453f; stroke: #4db6ac }
.latent { fill: #533b10; stroke: #ffb74d } .loss { stroke: #ff8a80 }
.trace { stroke: #4db6ac }
.losshead, text.losstext { fill: #ff8a80 } .empty { stroke: #90a4ae }
.dot, .bar { fill: #ffb74d } .soft { fill: #533b10; stroke: #ffb74d } }
"""
Point = tuple[float, float]


class Picture:
    """An SVG under construction. Text between stars is set as a formula; `_` lowers a letter."""

    def __init__(self, height: int, title: str) -> None:
        self.height, self.title = height, title
        self.items: list[str] = []

    def add(self, item: str) -> None:
        """Append an element."""
        self.items.append(item)

    def text(self, x: float, y: float, words: str, anchor: str = "middle", kind: str = "") -> None:
        """Write a line of text with its baseline at y."""
        spans = re.split(r"\*(.*?)\*", words)
        inner = "".join(_maths(s) if i % 2 else escape(s) for i, s in enumerate(spans))
        look = f' class="{kind}text"' if kind else ""
        self.add(f'<text x="{_(x)}" y="{_(y)}" text-anchor="{anchor}"{look}>{inner}</text>')

    def polygon(self, points: Iterable[Point], kind: str) -> None:
        """Draw a closed shape."""
        self.add(f'<polygon points="{_path(points)}" class="{kind}" stroke-width="1.5"/>')

    def curve(self, points: Iterable[Point], kind: str = "line", dash: str = "") -> None:
        """Draw an open curve."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.add(f'<polyline points="{_path(points)}" class="{kind}" stroke-width="1.8"{dashes}/>')

    def box(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        words: str = "",
        kind: str = "data",
    ) -> None:
        """Draw a rectangle with its center at (x, y)."""
        self.add(
            f'<rect x="{_(x - w / 2)}" y="{_(y - h / 2)}" width="{_(w)}" height="{_(h)}" rx="4" '
            f'class="{kind}" stroke-width="1.5"/>'
        )
        self._lines(x, y, words)

    def circle(self, x: float, y: float, r: float, words: str = "", kind: str = "latent") -> None:
        """Draw a circle with its center at (x, y)."""
        self.add(f'<circle cx="{_(x)}" cy="{_(y)}" r="{_(r)}" class="{kind}" stroke-width="1.5"/>')
        self._lines(x, y, words)

    def network(self, x: float, y: float, w: float, words: str, left: float, right: float) -> None:
        """Draw a network whose height changes from left to right."""
        a, b = x - w / 2, x + w / 2
        shape = [
            (a, y - left / 2),
            (b, y - right / 2),
            (b, y + right / 2),
            (a, y + left / 2),
        ]
        self.polygon(shape, "net")
        self._lines(x, y, words)

    def arrow(self, *points: Point, kind: str = "line", both: bool = False) -> None:
        """Draw a line with a head at its end; arrows of kind "loss" are dashed."""
        points = tuple((float(x), float(y)) for x, y in points)
        head = "losshead" if kind == "loss" else "head"
        self.curve(points, kind, "5 4" if kind == "loss" else "")
        self._head(points[-2], points[-1], head)
        if both:
            self._head(points[1], points[0], head)

    def _head(self, start: Point, end: Point, kind: str) -> None:
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        sides = [
            (end[0] - 8 * math.cos(angle + s), end[1] - 8 * math.sin(angle + s))
            for s in (0.45, -0.45)
        ]
        self.add(f'<polygon points="{_path([end, *sides])}" class="{kind}"/>')

    def _lines(self, x: float, y: float, words: str) -> None:
        lines = words.split("\n") if words else []
        for i, line in enumerate(lines):
            self.text(x, y + 5 + 17 * (i - (len(lines) - 1) / 2), line)

    def svg(self) -> str:
        """Return the file's text."""
        size = f'width="{WIDTH}" height="{self.height}"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" {size}>',
            f"<title>{escape(self.title)}</title>",
            f"<style>\n{STYLE}</style>",
            f'<rect {size} rx="8" class="card"/>',
            *self.items,
            "</svg>\n",
        ]
        return "\n".join(lines)


def _(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _path(points: Iterable[Point]) -> str:
    return " ".join(f"{_(x)},{_(y)}" for x, y in points)


def _maths(words: str) -> str:
    lowered = r'<tspan dy="4" font-size="13">\1</tspan><tspan dy="-4">&#8203;</tspan>'
    inner = re.sub(r"_(\w)", lowered, escape(words))
    return f'<tspan class="maths">{inner}</tspan>'


def bell(
    x: float, y: float, half: float, height: float, means: Sequence[float] = (0.0,)
) -> list[Point]:
    """Return the curve of a mixture of normal densities on a baseline at y."""
    s = 0.3 if len(means) == 1 else 0.2
    ts = [i / 20 for i in range(-20, 21)]
    return [
        (
            x + half * t,
            y - height * sum(math.exp(-(((t - m) / s) ** 2) / 2) for m in means),
        )
        for t in ts
    ]


CLOUD = (
    (-22, -6),
    (-12, 12),
    (-4, -14),
    (4, 4),
    (12, -8),
    (20, 10),
    (-14, -2),
    (9, 17),
    (1, -3),
)
"""Points of a sample, around its center."""


def autoencoder(kind: str) -> Picture:
    """Draw an encoder and a decoder, and the comparison of codes with the prior."""
    title = {
        "vae": "A VAE: every posterior is compared with the prior",
        "wae-mmd": "A WAE-MMD: the codes of a batch are compared with samples of the prior",
        "wae-gan": "A WAE-GAN: a critic tells the codes of a batch from samples of the prior",
        "swae": "An SWAE: codes and samples of the prior are compared along random directions",
    }[kind]
    p = Picture(266 if kind == "wae-gan" else 252, title)
    error = (
        "reconstruction: −log *p*(*x* | *z*)"
        if kind == "vae"
        else "reconstruction: ‖*x* − *g*(*z*)‖²"
    )
    p.text(210, 24, error, kind="loss")
    p.arrow((392, 58), (392, 34), (28, 34), (28, 58), kind="loss", both=True)
    p.box(28, 84, 34, 44, "*x*")
    p.arrow((45, 84), (66, 84))
    p.network(112, 84, 88, "encoder", 64, 36)
    p.arrow((156, 84), (184, 84))
    p.circle(208, 84, 22, "*z*")
    p.arrow((230, 84), (258, 84))
    p.network(304, 84, 88, "decoder", 36, 64)
    p.arrow((348, 84), (373, 84))
    p.box(392, 84, 36, 44, "*g*(*z*)")
    p.curve([(208, 106), (208, 124), (104, 124), (104, 134)])
    if kind == "vae":
        for x, y in ((96, 152), (126, 180), (92, 208)):
            p.circle(x, y, 14, kind="soft")
            p.arrow((x + 18, y), (270, 178 + (y - 180) / 3), kind="loss", both=True)
        p.text(214, 152, "KL", kind="loss")
        p.text(104, 240, "*q*(*z* | *x*) of each *x*")
    else:
        for dx, dy in CLOUD:
            p.circle(104 + 1.3 * dx, 176 + 1.3 * dy, 3, kind="dot")
        p.text(104, 234, "codes of a batch: *q_Z*")
    p.circle(316, 178, 40, kind="soft")
    if kind != "vae":
        for dx, dy in CLOUD:
            p.circle(316 + 1.3 * dy, 178 + 1.2 * dx, 3, kind="dot")
    p.text(316, 236, "prior *p*(*z*)" if kind == "vae" else "prior *p_Z*")
    if kind == "wae-mmd":
        p.arrow((146, 178), (272, 178), kind="loss", both=True)
        p.text(209, 168, "MMD", kind="loss")
    if kind == "wae-gan":
        p.arrow((146, 178), (184, 178))
        p.arrow((276, 178), (238, 178))
        p.network(211, 178, 50, "*D*", 50, 50)
        p.text(211, 256, "from the prior?", kind="loss")
        p.arrow((211, 204), (211, 242), kind="loss")
    if kind == "swae":
        for x in (104, 316):
            p.curve([(x - 44, 206), (x + 44, 150)])
        p.arrow((152, 178), (272, 178), kind="loss", both=True)
        p.text(212, 168, "sort, match", kind="loss")
    return p


def game(kind: str) -> Picture:
    """Draw a generator against a critic."""
    title = {
        "gan": "A GAN: a generator against a discriminator",
        "wgan": "A WGAN: a generator against a critic with clipped weights",
        "wgan-gp": "A WGAN-GP: the slope of the critic is penalized between real and generated",
        "char-wgan-gp": "The critic sees one-hot lines and the generator's probabilities",
    }[kind]
    text = kind == "char-wgan-gp"
    p = Picture(246, title)
    if text:
        letters(p, 198, 52, hot=True)
        letters(p, 198, 152, hot=False)
        p.text(198, 22, "a line *x*, one-hot")
        p.text(198, 194, "softmax *g*(*z*)")
    else:
        p.box(190, 52, 58, 44, "data *x*")
        p.box(190, 152, 50, 44, "*g*(*z*)")
    p.circle(28, 152, 20, "*z*")
    p.arrow((48, 152), (62, 152))
    p.network(104, 152, 82, "generator", 30, 62)
    p.arrow((145, 152), (164, 152))
    p.arrow((230 if text else 219, 52), (262, 88))
    p.arrow((230 if text else 215, 152), (262, 116))
    p.network(306, 102, 84, "critic *D*", 74, 40)
    p.arrow((348, 102), (366, 102))
    p.text(370, 98, "score", "start")
    p.text(370, 116, "real?" if kind == "gan" else "", "start")
    p.arrow((388, 124), (388, 230), (104, 230), (104, 186), kind="loss")
    p.text(256, 224, "gradient to the generator", kind="loss")
    if kind == "wgan":
        p.text(306, 46, "every weight")
        p.text(306, 62, "in [−*c*, *c*]")
    if kind in ("wgan-gp", "char-wgan-gp"):
        x = 198 if text else 190
        p.curve([(x, 77), (x, 127)], dash="3 4")
        p.circle(x, 99, 5, kind="dot")
        p.text(x - 10, 104, "*x̂*", "end")
        p.arrow((x + 8, 99), (260, 101))
        p.text(312, 46, "slope near 1 at *x̂*", kind="loss")
        p.arrow((306, 54), (306, 74), kind="loss")
    return p


def letters(p: Picture, x: float, y: float, *, hot: bool) -> None:
    """Draw a line of four positions with probabilities of four symbols."""
    values = ((1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1))
    for column, symbols in enumerate(values):
        for row, one in enumerate(symbols):
            share = one if hot else (0.7, 0.1)[not one]
            left, middle = x - 32 + 16 * column, y - 18 + 12 * row
            p.add(f'<rect x="{left}" y="{middle - 5}" width="14" height="10" class="empty"/>')
            width = _(14 * share)
            p.add(f'<rect x="{left}" y="{middle - 5}" width="{width}" height="10" class="bar"/>')


def dcgan() -> Picture:
    """Draw the layers of both networks for images of 28 pixels."""
    p = Picture(276, "DCGAN for 28 x 28 pixels: each level doubles or halves the image")
    levels = (
        (122, 22, 26, "7×7×128"),
        (228, 42, 15, "14×14×64"),
        (352, 78, 3, "28×28×1"),
    )
    for y, step in ((70, 1), (206, -1)):
        p.text(14, y - 46, "generator" if step > 0 else "critic", "start")
        for x in (184, 290):
            p.text(x, y - 12, "×2" if step > 0 else "÷2")
        for x, side, depth, label in levels:
            a, b = x - side / 2, y - side / 2
            kind = "data" if depth == 3 else "net"
            p.polygon(
                [
                    (a, b),
                    (a + depth, b - depth / 2),
                    (a + side + depth, b - depth / 2),
                    (a + side + depth, b + side - depth / 2),
                    (a + side, b + side),
                    (a, b + side),
                ],
                kind,
            )
            p.box(x, y, side, side, kind=kind)
            p.text(x + 4, y + 62, label)
        ends = [(52, 106), (164, 202), (270, 308)]
        for left, right in ends:
            p.arrow(*((left, y), (right, y))[::step])
        if step > 0:
            p.circle(34, y, 18, "*z*")
        else:
            p.text(30, y + 5, "score")
    return p


def lsgan() -> Picture:
    """Draw the losses of a generator by the score of its sample."""
    p = Picture(236, "The generator's loss by the score: logistic, and least squares with c = 1")

    def at(score: float, loss: float) -> Point:
        return 40 + 50 * (score + 3), 196 - 30 * loss

    p.arrow(at(-3, 0), at(4.3, 0))
    p.arrow(at(-3, 0), at(-3, 5.6))
    scores = [i / 20 for i in range(-60, 81)]
    p.curve([at(s, math.log1p(math.exp(-s))) for s in scores])
    least = [at(s, (s - 1) ** 2 / 2) for s in scores]
    p.curve([point for point in least if point[1] > 34], "loss")
    for score in (-2, 0, 1, 2, 4):
        p.text(at(score, 0)[0], 214, str(score).replace("-", "−"))
    p.text(40, 20, "loss", "start")
    p.text(404, 232, "score *D*(*g*(*z*))", "end")
    p.text(*at(-1.85, 1.05), "logistic")
    p.text(at(-1.1, 0)[0], 60, "least squares", "start", kind="loss")
    p.arrow(at(4, 4.5), at(3, 2.0), kind="loss")
    p.text(at(2.35, 0)[0], 130, "pulled back", "end", kind="loss")
    p.circle(*at(1, 0), 4, kind="dot")
    return p


def nade(*, real: bool) -> Picture:
    """Draw the running sum of hidden units."""
    p = Picture(
        262,
        f"{'RNADE' if real else 'NADE'}: the hidden units of each position are a running sum",
    )
    for d, x in enumerate((62, 152, 242, 332), start=1):
        n = "₁₂₃₄"[d - 1]
        if real:
            p.curve(
                [
                    *bell(
                        x,
                        58,
                        34,
                        32,
                        ((-0.4, 0.4), (-0.5, 0.1), (0.0, 0.5), (-0.3, 0.3))[d - 1],
                    )
                ]
            )
            p.curve([(x - 34, 58), (x + 34, 58)])
        else:
            p.box(x, 40, 78, 32, f"*p*(*x*{n} = 1)", "data")
        p.arrow((x, 96), (x, 64 if real else 57))
        p.box(x, 114, 46, 34, f"*h*{n}", "net")
        p.arrow((x, 154), (x, 132))
        p.circle(x, 174, 19, f"*a*{n}")
        p.arrow((x + 19, 174), (x + 70 if d < 4 else x + 54, 174))
        if d < 4:
            p.box(x + 45, 236, 34, 28, f"*x*{n}")
            p.curve([(x + 45, 222), (x + 45, 174)])
            p.text(x + 49, 206, f"*W*{n}*x*{n}", "start")
    p.arrow((10, 174), (42, 174))
    p.text(22, 166, "*c*")
    p.text(404, 179, "…")
    p.text(14, 84, "*V, b*", "start")
    return p


def eonade() -> Picture:
    """Draw values and mask, the network, and the predictions of unknown values."""
    p = Picture(236, "EoNADE: the network predicts every unknown value from the known ones")
    known = {0: "1", 2: "0", 3: "1", 6: "0"}
    for i in range(8):
        x = 66 + 46 * i
        p.box(x, 206, 40, 28, known.get(i, "?"), "data" if i in known else "empty")
        p.box(
            x,
            170,
            40,
            28,
            "1" if i in known else "0",
            "latent" if i in known else "empty",
        )
        if i in known:
            p.box(x, 40, 40, 28, kind="empty")
        else:
            p.box(x, 40, 40, 28, "*p*", "data")
            p.arrow((x, 78), (x, 56))
        p.arrow((x, 154), (x, 130))
    p.text(8, 211, "*x*", "start")
    p.text(8, 175, "*m*", "start")
    p.box(227, 104, 370, 48, "deep network", "net")
    return p


def receptive_field(layer: str, side: int, row: int, column: int) -> set[tuple[int, int]]:
    """Return the pixels with an influence on the prediction of one: nonzero gradients."""
    seen: set[tuple[int, int]] = set()
    for seed in range(3):
        torch.manual_seed(seed)
        model = PixelRNN(layer, hidden=8, depth=1, kernel=3, shape=(1, side, side)).double()  # type: ignore[arg-type]
        x = torch.rand(1, 1, side, side).round().double().requires_grad_()
        logit = model.distribution(x).logits[0, 0, row, column]  # type: ignore[attr-defined]
        (gradient,) = torch.autograd.grad(logit, x)
        seen |= {(int(r), int(c)) for r, c in gradient[0, 0].nonzero()}
    return seen


def cells(
    p: Picture, left: float, top: float, size: float, kinds: Mapping[tuple[int, int], str]
) -> None:
    """Draw a grid of squares: (row, column) -> kind."""
    for (r, c), kind in kinds.items():
        p.box(left + size * (c + 0.5), top + size * (r + 0.5), size - 2, size - 2, kind=kind)


def pixel_rnn() -> Picture:
    """Draw the diagonal scan, and the pixels that each kind of layer sees."""
    p = Picture(
        342,
        "PixelRNN: the scan along diagonals, and the pixels that three kinds of layers see",
    )
    side, cell = 7, 16
    grid = [(r, c) for r in range(side) for c in range(side)]
    for left, flipped, words in (
        (24, False, "left to right"),
        (160, True, "right to left"),
    ):
        numbers = {(r, c): r + (side - 1 - c if flipped else c) for r, c in grid}
        kinds = {
            at: "latent" if number == 5 else "net" if number < 5 else "empty"
            for at, number in numbers.items()
        }
        cells(p, left, 24, cell, kinds)
        p.text(left + 56, 156, words)
    for i, line in enumerate(
        ("A diagonal is one", "step. It depends", "on the diagonal", "before it.")
    ):
        p.text(290, 56 + 19 * i, line, "start")
    fields = (
        ("diagonal-bilstm", "diagonal"),
        ("row-lstm", "row"),
        ("conv", "convolution"),
    )
    row, column = 4, 3
    for index, (layer, words) in enumerate(fields):
        left = 18 + 134 * index
        field = receptive_field(layer, side, row, column)
        kinds = {
            at: "net" if at in field else "latent" if at == (row, column) else "empty"
            for at in grid
        }
        cells(p, left, 186, cell, kinds)
        p.text(left + 56, 318, words)
    p.text(210, 338, "seen by the marked pixel: one layer, first kernel 3")
    return p


def pixels() -> Picture:
    """Draw the dependencies between five bits."""
    p = Picture(236, "Dependencies of bits: all earlier ones, the one before, or none")
    for y, words, reach in (
        (62, "any", 4),
        (142, "markov", 1),
        (208, "independent", 0),
    ):
        p.text(12, y + 5, words, "start")
        for i in range(5):
            x = 130 + 64 * i
            for j in range(max(0, i - reach), i):
                if i - j == 1:
                    p.arrow((x - 46, y), (x - 18, y))
                else:
                    start, height = 130 + 64 * j, 14 * (i - j)
                    middle = [
                        (
                            start + (x - start) * t / 12,
                            y - 18 - 4 * height * (t / 12) * (1 - t / 12) * 0.62,
                        )
                        for t in range(13)
                    ]
                    p.arrow(*middle)
        for i in range(5):
            p.circle(130 + 64 * i, y, 18, f"*x*{'₁₂₃₄₅'[i]}", "data")
    return p


def pix2pix() -> Picture:
    """Draw a translator with pairs."""
    p = Picture(232, "Pix2Pix: a generator learns from pairs, with a critic and an L1 loss")
    p.box(28, 46, 36, 36, "*x*")
    p.arrow((46, 46), (72, 46))
    p.box(116, 46, 86, 40, "generator", "net")
    p.arrow((159, 46), (182, 46))
    p.box(208, 46, 50, 36, "*g*(*x*)")
    p.box(208, 162, 50, 36, "*y*")
    p.arrow((208, 66), (208, 142), kind="loss", both=True)
    p.text(216, 92, "L1", "start", kind="loss")
    p.arrow((235, 50), (280, 78))
    p.arrow((28, 64), (28, 110), (280, 110))
    p.arrow((235, 158), (280, 138))
    p.network(324, 108, 84, "critic *D*", 84, 48)
    p.arrow((366, 108), (378, 108))
    p.text(382, 106, "real", "start")
    p.text(382, 123, "pair?", "start")
    p.text(210, 216, "*D* sees *x* with *g*(*x*), or *x* with *y*")
    return p


def cyclegan() -> Picture:
    """Draw two translators that invert each other."""
    p = Picture(252, "CycleGAN and DiscoGAN: two generators that invert each other")
    for y, names in ((76, ("x", "g", "f")), (196, ("y", "f", "g"))):
        first, there, back = names
        other = "y" if first == "x" else "x"
        p.box(30, y, 36, 36, f"*{first}*")
        p.arrow((48, y), (76, y))
        p.box(104, y, 56, 40, f"*{there}*", "net")
        p.arrow((132, y), (162, y))
        p.box(190, y, 56, 36, f"*{there}*(*{first}*)")
        p.arrow((218, y), (246, y))
        p.box(274, y, 56, 40, f"*{back}*", "net")
        p.arrow((302, y), (324, y))
        p.box(366, y, 84, 36, f"*{back}*(*{there}*(*{first}*))")
        p.arrow(
            (366, y - 18),
            (366, y - 34),
            (30, y - 34),
            (30, y - 18),
            kind="loss",
            both=True,
        )
        p.text(124, y - 40, "the same again?", kind="loss")
        p.text(190, y + 46, f"critic *D_{other}*: like real *{other}*?")
        p.arrow((190, y + 18), (190, y + 32))
    return p


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
    "cyclegan": cyclegan,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
