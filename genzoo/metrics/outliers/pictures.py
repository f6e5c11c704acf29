"""Pictures as rows of a run: files at their own size, converted without a loss."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.contract import Shape
from genzoo.data.image_folder import find_images, read_image
from genzoo.errors import DataError, on_one_line

__all__ = ["picture_files", "read_pictures"]


def picture_files(paths: Iterable[Path]) -> list[Path]:
    """Return files as they are, and all pictures below folders; each once, in this order.

    Raises:
        MissingDataError: a folder has no pictures.
    """
    files: dict[Path, None] = {}
    for path in paths:
        files.update(dict.fromkeys(find_images(path) if path.is_dir() else [path]))
    return list(files)


def read_pictures(
    files: Iterable[Path], shape: Shape, *, resize: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read pictures of a shape.

    A gray picture may be stored with three equal colors, and a color picture may be gray. Any other
    picture that differs from the shape is an error.

    Arguments:
        files: the files.
        shape: `(1, H, W)` or `(3, H, W)`.
        resize: crop, resize, and convert pictures as the dataset `folder` does.

    Returns:
        file -> uint8 `(C, H, W)`, and unreadable file -> reason.

    Raises:
        DataError: the shape is not one of gray or color pictures, a picture does not fit, or no
            file can be read.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            f"The model reads examples of shape {tuple(shape)}, which are not gray or color "
            "pictures; pass a dataset or arrays instead of files."
        )
    pictures: dict[str, Tensor] = {}
    failed: dict[str, str] = {}
    for file in files:
        try:
            pixels = read_image(file, *shape) if resize else _read(file)
        except DataError as error:
            failed[str(file)] = str(error)
            continue
        fitted = pixels if resize else _fitted(file, pixels, shape)
        pictures[str(file)] = torch.from_numpy(np.array(fitted))
    if not pictures:
        raise DataError(f"No picture can be read. {next(iter(failed.values()), '')}".rstrip())
    return pictures, failed


def _read(file: Path) -> Any:
    """Read a picture at its own size, uint8 `(1, 3, or 4, H, W)`; the fourth channel is opacity.

    Raises:
        DataError: the file cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode in ("I", "F"):
                raise ValueError("it has neither 8 nor 16 bits per value")
            if image.mode.startswith("I;16"):
                # Pillow would clip the values instead of scaling them.
                pixels = (np.asarray(image) / 257).round().astype(np.uint8)
            elif image.mode in ("1", "L"):
                pixels = np.asarray(image.convert("L"))
            else:
                mode = "RGBA" if image.has_transparency_data else "RGB"
                pixels = np.asarray(image.convert(mode))
    # Pillow raises different errors for different formats.
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        reason = on_one_line(str(error)) or type(error).__name__
        raise DataError(f"{file} cannot be read as a picture ({reason}).") from error
    return np.atleast_3d(pixels).transpose(2, 0, 1)


def _fitted(file: Path, pixels: Any, shape: Shape) -> Any:
    """Return a picture with the channels of a shape, without a loss.

    Raises:
        DataError: that is not possible, or the size differs.
    """
    if len(pixels) == 4 and (pixels[3] == 255).all():
        pixels = pixels[:3]
    if len(pixels) == 3 and (pixels == pixels[0]).all():
        pixels = pixels[:1]
    channels, height, width = shape
    if len(pixels) in (1, channels) and pixels.shape[1:] == (height, width):
        return np.broadcast_to(pixels, shape)
    actual = {1: "gray", 3: "color", 4: "partly transparent"}[len(pixels)]
    expected = "gray" if channels == 1 else "color"
    raise DataError(
        f"{file} is a {actual} picture of {pixels.shape[1]} x {pixels.shape[2]} pixels, but the "
        f"model reads {expected} pictures of {height} x {width}. Leave it out, or set resize "
        "(--resize) to crop, resize, and convert all pictures."
    )
