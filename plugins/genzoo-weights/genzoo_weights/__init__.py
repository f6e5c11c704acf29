"""Pretrained weights on Fashion-MNIST for genzoo."""

from __future__ import annotations

from pathlib import Path

from genzoo.weights import Entry

__all__ = [
    "wgan_gp",
]

_ENTRIES = Path(__file__).parent / "entries"

wgan_gp = Entry(_ENTRIES / "wgan-gp.fashion-mnist")
