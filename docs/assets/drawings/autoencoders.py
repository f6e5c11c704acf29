"""The diagram of autoencoders: encoder and decoder, and codes against the prior."""

from drawings.picture import Picture

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
