"""The diagrams of autoregressive models: what each value depends on."""

import math
from collections.abc import Mapping, Sequence

import torch
from genzoo.models import PixelRNN

from drawings.picture import Picture, Point


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
