"""The default networks of models: convolutions for images, fully connected layers otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from genzoo.contract import Part, Shape, is_image

__all__ = ["CONV", "Default", "network"]

CONV = MappingProxyType({"name": "conv", "norm": "layer"})
"""The default generator, encoder, and decoder of images.

They do not have batch norm, so that results do not depend on ranks and microbatches.
"""
Default = str | Mapping[str, Any]
"""A default network: a name, or a table with a name and settings."""

_SMALLEST_IMAGE = 8
"""The shorter side of the smallest images that get convolutions by default, in pixels."""


def network(part: Part | None, shape: Shape, *, conv: Default, mlp: Default) -> Part:
    """Return a network, or a default that suits the data if the network is None.

    A table without a name changes settings of the default.

    Arguments:
        part: the setting of the model: a name, a table, an instance, or None.
        shape: the shape of one example.
        conv: the default for images of 8 x 8 pixels or more.
        mlp: the default for all other data.
    """
    has_pixels = is_image(shape) and min(shape[1:]) >= _SMALLEST_IMAGE
    default = conv if has_pixels else mlp
    if part is None:
        return default
    if isinstance(part, Mapping) and "name" not in part:
        # only fully connected networks have hidden layers
        chosen = mlp if "hidden" in part else default
        table = {"name": chosen} if isinstance(chosen, str) else chosen
        return {**table, **part}
    return part
