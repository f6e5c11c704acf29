"""The diagrams of image translation: pairs, and cycles."""

from drawings.picture import Picture


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


def two_way(*, narrow: bool) -> Picture:
    """Draw two translators that invert each other: a CycleGAN, or the narrow ones of a DiscoGAN."""
    name = "DiscoGAN" if narrow else "CycleGAN"
    p = Picture(276 if narrow else 252, f"{name}: two generators that invert each other")

    def generator(x: float, y: float, words: str) -> None:
        if narrow:
            shape = [(-28, -22), (0, -9), (28, -22), (28, 22), (0, 9), (-28, 22)]
            p.polygon([(x + dx, y + dy) for dx, dy in shape], "net")
            p.text(x, y + 5, words)
        else:
            p.box(x, y, 56, 40, words, "net")

    for y, names in ((76, ("x", "g", "f")), (196, ("y", "f", "g"))):
        first, there, back = names
        other = "y" if first == "x" else "x"
        p.box(30, y, 36, 36, f"*{first}*")
        p.arrow((48, y), (76, y))
        generator(104, y, f"*{there}*")
        p.arrow((132, y), (162, y))
        p.box(190, y, 56, 36, f"*{there}*(*{first}*)")
        p.arrow((218, y), (246, y))
        generator(274, y, f"*{back}*")
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
    if narrow:
        p.text(210, 264, "*f* and *g* pass an image through 100 numbers")
    return p
