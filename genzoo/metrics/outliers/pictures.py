"""Pictures as rows of a run: files at their own size, converted without a loss."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.contract import Shape
from genzoo.data.image_files import find_images
from genzoo.data.image_reader import Reader, open_image
from genzoo.errors import DataError

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
    reader = Reader((shape[0], shape[1], shape[2]))
    for file in files:
        try:
            pixels = reader(file) if resize else _read(file)
        except DataError as error:
            failed[str(file)] = str(error)
            continue
        fitted = pixels if resize else _fitted(file, pixels, shape)
        pictures[str(file)] = torch.from_numpy(np.array(fitted))
    if not pictures:
        raise DataError(f"No picture can be read. {next(iter(failed.values()), '')}".rstrip())
    return pictures, failed


def _read(file: Path) -> Any:
    """Read a picture at its own size, uint8 `(1 or 3, H, W)`.

    Raises:
        DataError: the file cannot be read.
    """
    pixels = np.asarray(open_image(file).convert("RGB")).transpose(2, 0, 1)
    return pixels[:1] if (pixels == pixels[:1]).all() else pixels


def _fitted(file: Path, pixels: Any, shape: Shape) -> Any:
    """Return a picture with the channels of a shape, without a loss.

    Raises:
        DataError: that is not possible, or the size differs.
    """
    channels, height, width = shape
    if len(pixels) in (1, channels) and pixels.shape[1:] == (height, width):
        return np.broadcast_to(pixels, shape)
    actual, expected = ("gray" if count == 1 else "color" for count in (len(pixels), channels))
    raise DataError(
        f"{file} is a {actual} picture of {pixels.shape[1]} x {pixels.shape[2]} pixels, but the "
        f"model reads {expected} pictures of {height} x {width}. Leave it out, or set resize "
        "(--resize) to crop, resize, and convert all pictures."
    )
