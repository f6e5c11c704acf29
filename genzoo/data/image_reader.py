"""Read image files: of any depth, rotated by their EXIF orientation, at one size."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genzoo.errors import DataError

__all__ = [
    "EncodedImage",
    "Fit",
    "Portion",
    "Reader",
    "image_shape",
    "open_image",
    "pixel_limit",
    "size_of",
    "with_8_bits",
]

Portion = Literal["whole", "left", "right"]
"""The part of a picture to read."""
Fit = Literal["crop", "pad", "squash"]
"""The way to a given aspect ratio: cut off the edges, add a border, or distort."""

_DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of images with more than 8 bits per pixel."""
_ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held."""


def image_shape(size: int | tuple[int, int], channels: int) -> tuple[int, int, int]:
    """Return the shape of an image: channels, height, and width.

    Arguments:
        size: (height, width), or one number for both.
        channels: the number of channels.

    Example:
        >>> image_shape(8, 1), image_shape((6, 8), 3)
        ((1, 8, 8), (3, 6, 8))
    """
    height, width = (size, size) if isinstance(size, int) else size
    return channels, height, width


class EncodedImage(io.BytesIO):
    """The content of an image file that is part of another file.

    Arguments:
        content: the bytes.
        name: the name in messages.
    """

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Reader:
    """The way in which image files are read.

    Arguments:
        shape: channels, height, and width. There are 1 (gray), 3 (color), or 4 channels (color and
            alpha).
        part: the part of each picture to read.
        fit: the way to the aspect ratio of `shape`.
        value_range: the values that become black and white, for images with 16 or 32 bits.
    """

    shape: tuple[int, int, int]
    part: Portion = "whole"
    fit: Fit = "crop"
    value_range: tuple[float, float] | None = None

    def __call__(self, file: Path | EncodedImage) -> Any:
        """Read an image file as uint8 `(channels, height, width)`.

        Raises:
            DataError: the file cannot be read, or it needs a value range.
        """
        from PIL import Image, ImageOps

        channels, height, width = self.shape
        image = open_image(file, value_range=self.value_range, keep_alpha=channels == 4)
        with _reading(file):
            half = image.width // 2
            if self.part == "left":
                image = image.crop((0, 0, half, image.height))
            if self.part == "right":
                image = image.crop((image.width - half, 0, image.width, image.height))
            image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
            lanczos = Image.Resampling.LANCZOS
            if self.fit == "crop":
                image = ImageOps.fit(image, (width, height), lanczos)
            elif self.fit == "pad":
                border: Any = {1: 255, 3: (255, 255, 255), 4: (255, 255, 255, 0)}[channels]
                image = ImageOps.pad(image, (width, height), lanczos, color=border)
            else:
                image = image.resize((width, height), lanczos)
        pixels = np.asarray(image).reshape(height, width, channels)
        return pixels.transpose(2, 0, 1)


def open_image(
    file: Path | EncodedImage,
    *,
    value_range: tuple[float, float] | None = None,
    keep_alpha: bool = False,
) -> Any:
    """Read an image file as a Pillow image with 8 bits per channel, rotated by its EXIF data.

    Arguments:
        file: the file.
        value_range: the values that become black and white, for images with 16 or 32 bits. By
            default, 0 and 65,535 for whole numbers of 16 bits, and 0 and 1 for real numbers.
        keep_alpha: keep transparency, instead of placing the image on white.

    Raises:
        DataError: the file cannot be read, or its values need a range.
    """
    from PIL import Image

    with _reading(file), Image.open(file) as opened:
        opened.load()
        return with_8_bits(opened, file, value_range=value_range, keep_alpha=keep_alpha)


def size_of(file: Path) -> tuple[int, int] | None:
    """Return the (height, width) of an image file, rotated by its EXIF data, or None if unknown.

    Only the head of the file is read.
    """
    from PIL import Image

    # `open_image` reports what is wrong with a file.
    with suppress(Exception), pixel_limit(None), Image.open(file) as image:
        lies = _orientation(image) >= 5
        return (image.width, image.height) if lies else (image.height, image.width)
    return None


def with_8_bits(
    image: Any,
    name: Any,
    *,
    value_range: tuple[float, float] | None = None,
    keep_alpha: bool = False,
    way: str = "set value_range to the values of black and white, such as [0, 255]",
) -> Any:
    """Return a Pillow image with 8 bits per channel, rotated by its EXIF data.

    Arguments:
        image: the image.
        name: its name in messages.
        value_range: as in `open_image`.
        keep_alpha: as in `open_image`.
        way: the advice for values whose range is not known.

    Raises:
        DataError: the values need a range.
    """
    from PIL import Image

    image = _turned(image)
    if image.mode in _DEEP:
        return _scaled(image, name, value_range, way)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if not keep_alpha:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _turned(image: Any) -> Any:
    """Return an image turned by its EXIF orientation; all other EXIF data are ignored."""
    from PIL.Image import Transpose

    steps = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    step = steps.get(_orientation(image))
    return image.copy() if step is None else image.transpose(step)


def _orientation(image: Any) -> int:
    """Return the EXIF orientation of an image: 1 if it is upright, and from 5 if it lies."""
    # Cameras write broken EXIF data, on which Pillow fails in many ways.
    with suppress(Exception):
        return int(image.getexif().get(_ORIENTATION, 1))
    return 1


def _scaled(image: Any, file: Any, value_range: tuple[float, float] | None, way: str) -> Any:
    """Return a gray image of 16 or 32 bits as one of 8 bits.

    Raises:
        DataError: a value is not finite or outside the range, or the range is not known.
    """
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{file} holds NaN or infinite values; repair or remove it.")
    low, high = float(values.min()), float(values.max())
    span = f"values from {low:g} to {high:g}"
    if value_range is None and image.mode == "F":
        if low < 0 or high > 1:
            raise DataError(
                f"{file} holds real numbers, {span}, and their range is not known; {way}."
            )
        value_range = (0.0, 1.0)
    if value_range is None:
        if low < 0 or high > 65_535:
            raise DataError(
                f"{file} holds whole numbers of 32 bits, {span}, and their range is not known; "
                f"{way}."
            )
        value_range = (0.0, 65_535.0)
    black, white = value_range
    if low < black or high > white:
        raise DataError(
            f"{file} holds {span}, outside value_range = [{black:g}, {white:g}]; widen it."
        )
    levels = np.rint((values - black) / (white - black) * 255)
    return Image.fromarray(levels.astype(np.uint8))


@contextmanager
def pixel_limit(max_pixels: int | None) -> Iterator[None]:
    """Set the largest number of pixels of an image within a block; None is Pillow's limit."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    if max_pixels is not None:
        # Pillow warns above its limit, and refuses images of twice as many pixels.
        Image.MAX_IMAGE_PIXELS = max_pixels // 2 + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _reading(file: Path | EncodedImage) -> Iterator[None]:
    """Report a file that cannot be read, within a block.

    Raises:
        DataError: the file cannot be read.
    """
    from PIL import Image

    try:
        yield
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{file} is too large ({str(error).partition(',')[0]}); if you trust the file, set "
            "max_pixels to a larger number of pixels."
        ) from error
    except DataError:
        raise
    # Pillow raises different errors for different formats.
    except (OSError, SyntaxError, ValueError, TypeError, MemoryError) as error:
        raise DataError(
            f"{file} cannot be read as an image ({error}); repair or remove it."
        ) from error
