"""Pretrained weights on Fashion-MNIST and on emoji for genzoo."""

from __future__ import annotations

from pathlib import Path

from genzoo.weights import Entry

__all__ = [
    "cdcgan",
    "cyclegan",
    "dcgan",
    "discogan",
    "gan",
    "gan_emoji",
    "lsgan",
    "nade",
    "pix2pix",
    "pixel_rnn",
    "vae",
    "wae_gan",
    "wae_mmd",
    "wgan",
    "wgan_gp",
]

_ENTRIES = Path(__file__).parent / "entries"

wae_mmd = Entry(_ENTRIES / "wae-mmd.fashion-mnist")
gan = Entry(_ENTRIES / "gan.fashion-mnist")
gan_emoji = Entry(_ENTRIES / "gan.emoji")
dcgan = Entry(_ENTRIES / "dcgan.fashion-mnist")
lsgan = Entry(_ENTRIES / "lsgan.fashion-mnist")
wae_gan = Entry(_ENTRIES / "wae-gan.fashion-mnist")
wgan_gp = Entry(_ENTRIES / "wgan-gp.fashion-mnist")
cdcgan = Entry(_ENTRIES / "cdcgan.fashion-mnist")
vae = Entry(_ENTRIES / "vae.fashion-mnist")
nade = Entry(_ENTRIES / "nade.fashion-mnist")
pix2pix = Entry(_ENTRIES / "pix2pix.fashion-mnist")
cyclegan = Entry(_ENTRIES / "cyclegan.fashion-mnist")
discogan = Entry(_ENTRIES / "discogan.fashion-mnist")
pixel_rnn = Entry(_ENTRIES / "pixel-rnn.fashion-mnist")
wgan = Entry(_ENTRIES / "wgan.fashion-mnist")
