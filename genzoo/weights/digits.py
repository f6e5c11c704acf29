"""The pretrained weights on digits, which come with genzoo."""

from __future__ import annotations

from pathlib import Path

from genzoo.weights.entry import Entry

__all__ = [
    "cgan",
    "cvae",
    "dcgan",
    "gan",
    "lsgan",
    "nade",
    "nade_classes",
    "pixel_rnn",
    "pixel_rnn_classes",
    "vae",
    "wae_gan",
    "wae_gan_classes",
    "wae_mmd",
    "wgan",
    "wgan_gp",
]

_ENTRIES = Path(__file__).parent / "entries"

vae = Entry(_ENTRIES / "vae.digits")
wae_mmd = Entry(_ENTRIES / "wae-mmd.digits")
wae_gan = Entry(_ENTRIES / "wae-gan.digits")
gan = Entry(_ENTRIES / "gan.digits")
dcgan = Entry(_ENTRIES / "dcgan.digits")
lsgan = Entry(_ENTRIES / "lsgan.digits")
wgan = Entry(_ENTRIES / "wgan.digits")
wgan_gp = Entry(_ENTRIES / "wgan-gp.digits")
nade = Entry(_ENTRIES / "nade.digits")
pixel_rnn = Entry(_ENTRIES / "pixel-rnn.digits")
cvae = Entry(_ENTRIES / "cvae.digits")
cgan = Entry(_ENTRIES / "cgan.digits")
nade_classes = Entry(_ENTRIES / "nade-classes.digits")
pixel_rnn_classes = Entry(_ENTRIES / "pixel-rnn-classes.digits")
wae_gan_classes = Entry(_ENTRIES / "wae-gan-classes.digits")
