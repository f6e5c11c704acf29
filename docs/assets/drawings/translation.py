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
