"""The diagrams of adversarial networks: games, layers, and losses."""

import math

from drawings.picture import Picture, Point


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
            left, top = x - 32 + 16 * column, y - 23 + 12 * row
            p.bar(left, top, 14, 10, "empty")
            p.bar(left, top, 14 * share, 10, "bar")


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
