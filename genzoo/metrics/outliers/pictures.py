"""Pictures as rows of a run: files at their own size, converted without a loss."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genzoo.contract import Shape
from genzoo.data.image_files import find_images
from genzoo.data.image_reader import Reader
from genzoo.data.picture_pixels import as_shape, check_picture_shape, read_pixels
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
    check_picture_shape(shape, "the model", "pass a dataset or arrays instead of files")
    way = "leave it out, or set resize (--resize) to crop, resize, and convert all pictures"
    pictures: dict[str, Tensor] = {}
    failed: dict[str, str] = {}
    reader = Reader((shape[0], shape[1], shape[2]))
    for file in files:
        try:
            pixels = reader(file) if resize else read_pixels(file)
        except DataError as error:
            failed[str(file)] = str(error)
            continue
        fitted = as_shape(pixels, shape, file, "the model", way)
        pictures[str(file)] = torch.from_numpy(np.array(fitted))
    if not pictures:
        raise DataError(f"No picture can be read. {next(iter(failed.values()), '')}".rstrip())
    return pictures, failed
