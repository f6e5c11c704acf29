"""The pixels of picture files: at their own size, and with other channels only without a loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genzoo.contract import Shape
from genzoo.data.image_reader import open_image
from genzoo.errors import DataError

__all__ = ["as_shape", "check_picture_shape", "read_pixels"]


def check_picture_shape(shape: Shape, owner: str, way: str) -> None:
    """Check that picture files can hold examples of a shape.

    Arguments:
        shape: the shape of the examples.
        owner: whose examples they are, in the message.
        way: the advice of the message.

    Raises:
        DataError: the shape is not `(1, H, W)` or `(3, H, W)`.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            f"{owner} needs examples of shape {tuple(shape)}, which are not gray or color "
            f"pictures; {way}."
        )


def read_pixels(file: Path) -> Any:
    """Read a picture at its own size, uint8 `(1 or 3, H, W)`: 1 if all its colors are gray.

    Raises:
        DataError: the file cannot be read.
    """
    pixels = np.asarray(open_image(file).convert("RGB")).transpose(2, 0, 1)
    return pixels[:1] if (pixels == pixels[:1]).all() else pixels


def as_shape(pixels: Any, shape: Shape, file: Path, owner: str, way: str) -> Any:
    """Return the pixels of a picture in a shape; a gray picture may become one of three colors.

    Arguments:
        pixels: the pixels, `(1 or 3, height, width)`.
        shape: `(1, H, W)` or `(3, H, W)`.
        file: the file, for the message.
        owner: who needs this shape, in the message.
        way: the advice of the message.

    Raises:
        DataError: the picture has another size, or is in color although the shape is gray.
    """
    channels, height, width = shape
    if len(pixels) in (1, channels) and pixels.shape[1:] == (height, width):
        return np.broadcast_to(pixels, shape)
    actual, expected = ("gray" if count == 1 else "color" for count in (len(pixels), channels))
    raise DataError(
        f"{file} is a {actual} picture of {pixels.shape[1]} x {pixels.shape[2]} pixels, but "
        f"{owner} needs {expected} pictures of {height} x {width}; {way}."
    )
