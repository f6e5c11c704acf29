"""Folders of image files as datasets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Lt

from genzoo.contract import Count
from genzoo.contract.dataset import Dataset
from genzoo.data.cache import atomic_data, home
from genzoo.errors import DataError, MissingDataError
from genzoo.files import local_path

__all__ = ["SUFFIXES", "Portion", "find_images", "folder", "open_image", "read_image", "stored"]

Portion = Literal["whole", "left", "right"]
"""The part of a picture to read."""
SUFFIXES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)


def folder(
    path: str,
    *,
    size: Count | tuple[Count, Count] = 64,
    channels: Literal[1, 3] = 3,
    test_fraction: Annotated[float, Ge(0), Lt(1)] = 0.1,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    binarize: Literal["threshold", "stochastic"] | None = None,
    dequantize: bool = False,
) -> Dataset:
    """Return all images below a folder, at one size: column `x`, uint8 `(N, channels, H, W)`.

    Images are rotated according to their EXIF data, placed on white where they are transparent,
    cropped around the center to the aspect ratio of `size`, and resized with a Lanczos filter. An
    animation is represented by its first frame. Files are recognized by their suffix, and files
    whose name begins with a dot are ignored. The result is stored in `$GENZOO_DATA`, or in the
    user's cache, and memory-mapped. Other files, file times, or settings create another file.

    Arguments:
        path: the folder.
        size: the number of pixels: (height, width), or one number for both.
        channels: 3 for color, 1 for gray.
        test_fraction: the fraction of the data to hold out; the number of rows is rounded down.
        seed: the seed of the order in which the files are split.
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.

    Raises:
        MissingDataError: the folder does not exist, or it has no images.
        DataError: an image cannot be read.

    Example:
        >>> folder("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: folder: nowhere is not a folder.
    """
    root = local_path(path, "folder: path", DataError)
    files = find_images(root)
    # numpy guarantees the streams of RandomState, so the split never changes.
    order = np.random.RandomState(seed).permutation(len(files))
    files = [files[i] for i in order]
    height, width = (size, size) if isinstance(size, int) else size
    x = stored(files, (channels, height, width), root.resolve().name)
    rows = len(x) - int(len(x) * test_fraction)
    test = {"x": x[rows:]} if rows < len(x) else {}
    return Dataset({"x": x[:rows]}, test, binarize=binarize, dequantize=dequantize, name=str(path))


def stored(
    files: Sequence[Path], shape: tuple[int, int, int], name: str, part: Portion = "whole"
) -> Any:
    """Return the images of files as a memory-mapped array, uint8 `(N, *shape)`.

    The array is written to the data folder once.

    Arguments:
        files: the image files, in the order of the rows.
        shape: channels, height, and width.
        name: the beginning of the name of the stored file.
        part: the part of each picture to read.

    Raises:
        DataError: an image cannot be read.
    """
    cached = home() / "folder" / f"{name}-{_key(files, shape, part)}.npy"
    if not cached.exists():
        with atomic_data(cached) as temporary:
            images = np.lib.format.open_memmap(
                temporary, mode="w+", dtype=np.uint8, shape=(len(files), *shape)
            )
            for row, file in zip(images, files, strict=True):
                row[...] = read_image(file, *shape, part)
            images.flush()
    return np.load(cached, mmap_mode="r")


def find_images(folder: Path) -> list[Path]:
    """Return all image files below a folder, sorted.

    A file is an image if it has an image suffix and its name does not begin with a dot.

    Raises:
        MissingDataError: the folder does not exist, or it has no images.
    """
    if not folder.is_dir():
        raise MissingDataError(f"folder: {folder} is not a folder.")
    files = sorted(filter(_is_image_file, folder.rglob("*")))
    if not files:
        raise MissingDataError(
            f"folder: {folder} has no images; they end in {', '.join(SUFFIXES)}."
        )
    return files


def _is_image_file(file: Path) -> bool:
    hidden = file.name.startswith(".")
    return file.suffix.lower() in SUFFIXES and not hidden and file.is_file()


def _key(files: Sequence[Path], shape: Sequence[int], part: Portion) -> str:
    """Return a key for the current files in their order, the shape, and the part."""
    stats = [(str(file.resolve()), file.stat()) for file in files]
    versions = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    parts = [] if part == "whole" else [part]
    text = repr([tuple(shape), *parts, versions])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def read_image(file: Path, channels: int, height: int, width: int, part: Portion = "whole") -> Any:
    """Read an image file, or its left or right half, as uint8 `(channels, height, width)`.

    The image is rotated, cropped, and resized as `folder` describes.

    Raises:
        DataError: the file cannot be read.
    """
    from PIL import Image, ImageOps

    with _reading(file):
        image = open_image(file)
        half = image.width // 2
        if part == "left":
            image = image.crop((0, 0, half, image.height))
        if part == "right":
            image = image.crop((image.width - half, 0, image.width, image.height))
        image = ImageOps.fit(
            image.convert("L" if channels == 1 else "RGB"),
            (width, height),
            Image.Resampling.LANCZOS,
        )
    pixels = np.asarray(image).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1)


def open_image(file: Path) -> Any:
    """Read an image file as a Pillow image, rotated, and on white where it is transparent.

    Raises:
        DataError: the file cannot be read.
    """
    from PIL import Image, ImageOps

    with _reading(file), Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Report a file that cannot be read, within a block.

    Raises:
        DataError: the file cannot be read.
    """
    from PIL import Image

    try:
        yield
    # Pillow raises different errors for different formats.
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        raise DataError(
            f"folder: {file} cannot be read as an image ({error}); repair or remove it."
        ) from error
