"""Columns of encoded images that are decoded when they are read."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from genzoo.data.image_reader import EncodedImage, Reader, pixel_limit

__all__ = ["EncodedImages", "Files"]

_BLOCK = 1 << 20
"""The number of bytes of a block of neighboring rows."""


class Files(Protocol):
    """Encoded images, which are read by their numbers."""

    def __len__(self) -> int:
        """Return the number of images."""

    def image(self, row: int) -> EncodedImage:
        """Return the content of an image."""

    def mean_size(self) -> float:
        """Return the mean number of bytes of an image."""


class EncodedImages:
    """A column of images, uint8 `(N, channels, H, W)`, each decoded when it is read.

    Arguments:
        files: the encoded images.
        reader: the way to read them.
        max_pixels: the largest number of pixels of an image.
    """

    def __init__(self, files: Files, reader: Reader, max_pixels: int | None = None) -> None:
        self.files, self.reader, self.max_pixels = files, reader, max_pixels
        self.shape = (len(files), *reader.shape)
        self.dtype = np.dtype(np.uint8)
        self.block = max(1, round(_BLOCK / max(1.0, files.mean_size())))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        images = np.empty((len(rows), *self.reader.shape), np.uint8)
        with pixel_limit(self.max_pixels):
            for image, row in zip(images, rows, strict=True):
                image[...] = self.reader(self.files.image(int(row)))
        return images
