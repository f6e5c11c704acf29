"""A folder of image files as a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Lt

from genzoo.contract import Count
from genzoo.contract.dataset import Dataset
from genzoo.data.cache import atomic_data, home
from genzoo.errors import DataError, MissingDataError
from genzoo.files import local_path

__all__ = ["SUFFIXES", "Portion", "find_images", "folder", "read_image", "stored"]

Portion = Literal["whole", "left", "right"]
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
    size: Count | tuple[Count, Count] = 64,
    channels: Literal[1, 3] = 3,
    test_fraction: Annotated[float, Ge(0), Lt(1)] = 0.1,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    binarize: Literal["threshold", "stochastic"] | None = None,
    dequantize: bool = False,
) -> Dataset:
    """Every image below a folder, at one size: column `x`, uint8 `(N, channels, H, W)`.

    Images are turned as their EXIF data say, laid over white where they are transparent, cut centrally to the aspect ratio that
    is asked for, and resized with a Lanczos filter; of an animation, the first frame counts. Files are images by their suffix;
    those that begin with a dot are not. The result is kept in `$GENZOO_DATA`, or else the user's cache, and memory-mapped from
    there; other files, times or settings make a new one.

    Arguments:
        path: the folder.
        size: pixels, (height, width) or one number for both.
        channels: 3 for colour, 1 for grey.
        test_fraction: how much of the data is held out, rounded down.
        seed: of the order in which the files are split.
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.

    Raises:
        DataError: no such folder, no image in it, or an image that cannot be read.

    Example:
        >>> folder("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: folder: nowhere is not a folder.
    """
    root = local_path(path, "folder: path", DataError)
    files = find_images(root)
    order = np.random.RandomState(seed).permutation(
        len(files)
    )  # numpy freezes its streams: the same split for ever
    files = [files[i] for i in order]
    shape = (channels, *((size, size) if isinstance(size, int) else size))
    x = stored(files, shape, root.resolve().name)
    rows = len(x) - int(len(x) * test_fraction)
    test = {"x": x[rows:]} if rows < len(x) else {}
    return Dataset({"x": x[:rows]}, test, binarize=binarize, dequantize=dequantize, name=str(path))


def stored(
    files: Sequence[Path], shape: tuple[int, int, int], name: str, part: Portion = "whole"
) -> Any:
    """Images of files, in their order, uint8 `(N, *shape)`: made once, kept in the cache and memory-mapped from there.

    Arguments:
        files: what is read.
        shape: channels, height and width.
        name: how the file in the cache begins.
        part: of each picture, as for `read_image`.

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
    """Every image file below a folder, sorted; those are images whose suffix says so and whose name begins with no dot.

    Raises:
        DataError: it is no folder, or there is no image in it.
    """
    if not folder.is_dir():
        raise MissingDataError(f"folder: {folder} is not a folder.")
    files = sorted(
        f
        for f in folder.rglob("*")
        if f.suffix.lower() in SUFFIXES and not f.name.startswith(".") and f.is_file()
    )
    if not files:
        raise MissingDataError(
            f"folder: {folder} has no images; they end in {', '.join(SUFFIXES)}."
        )
    return files


def _key(files: Sequence[Path], shape: Sequence[int], part: Portion) -> str:
    """A name for the content: the files in their order, as they are now, the shape and the part."""
    stats = [(str(file.resolve()), file.stat()) for file in files]
    text = repr(
        [
            tuple(shape),
            *(() if part == "whole" else (part,)),
            [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats],
        ]
    )
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def read_image(file: Path, channels: int, height: int, width: int, part: Portion = "whole") -> Any:
    """One image file, or its left or right half, as uint8 `(channels, height, width)`, made so as `folder` says.

    Raises:
        DataError: it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if part != "whole":  # before it is resized, which would mix the halves
                half = image.width // 2
                image = image.crop(
                    (0, 0, half, image.height)
                    if part == "left"
                    else (image.width - half, 0, image.width, image.height)
                )
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = ImageOps.fit(
                image.convert("L" if channels == 1 else "RGB"),
                (width, height),
                Image.Resampling.LANCZOS,
            )
    except (
        OSError,
        SyntaxError,
        ValueError,
        MemoryError,
        Image.DecompressionBombError,
    ) as error:  # Pillow's, by format
        raise DataError(
            f"folder: {file} cannot be read as an image ({error}); repair or remove it."
        ) from error
    pixels = np.asarray(image).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1)
