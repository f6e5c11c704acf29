"""Wasserstein autoencoders: the base class and the two models of one paper."""

from __future__ import annotations

from genzoo.models.wae_base import WAE
from genzoo.models.wae_gan import WAEGAN
from genzoo.models.wae_mmd import WAEMMD

__all__ = ["WAE", "WAEGAN", "WAEMMD"]
