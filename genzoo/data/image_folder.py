"""Folders of image files as datasets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt
from pydantic import BeforeValidator

from genzoo.contract import Count, LocalPath
from genzoo.contract.dataset import Augmentation, Dataset
from genzoo.contract.parts import absolute_path
from genzoo.data.image_cache import content_digests, decoded
from genzoo.data.image_files import (
    class_names,
    find_images,
    labels_from_file,
    split_of,
    warn_of_skipped,
)
from genzoo.data.image_reader import Fit, Reader, image_shape, size_of
from genzoo.data.labels import class_column
from genzoo.errors import DataError, SettingError
from genzoo.files import local_path

__all__ = ["STORED_ORDER", "arrange", "folder", "split_columns"]

Labels = Annotated[
    str | None,
    BeforeValidator(lambda x: x if x in (None, "auto", "folders") else absolute_path(x)),
]
"""The setting `labels` of `folder`."""
_SIZE = 64
"""The largest default number of rows and columns."""
STORED_ORDER = ("test", "validation", "train")
"""The splits in the order in which their rows are stored."""


def folder(
    path: LocalPath,
    *,
    size: Count | tuple[Count, Count] | None = None,
    channels: Literal[1, 3, 4] = 3,
    fit: Fit = "crop",
    splits: Literal["auto", "folders", "content"] = "auto",
    labels: Labels = "auto",
    test_fraction: Annotated[float, Ge(0), Lt(1)] = 0.1,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    value_range: tuple[float, float] | None = None,
    max_pixels: Annotated[int, Gt(0)] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    binarize: Literal["threshold", "stochastic"] | None = None,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return all images below a folder, at one size: column `x`, uint8 `(N, channels, H, W)`.

    Images are rotated by their EXIF orientation, placed on white where they are transparent,
    brought to the aspect ratio of `size`, and resized with a Lanczos filter. An animation is
    represented by its first frame. Files are recognized by their suffix. Files and folders whose
    name begins with a dot are skipped, and links to folders are followed.

    The content of a file decides whether it is held out. Adding or removing files does not move
    other files between the splits, and equal images are in the same split. If the folder holds
    folders named `train` and `test` (or `val`), these are the splits instead.

    If all images are in folders, such as `cats/` and `dogs/`, the dataset has a column `y`, the
    index of the folder's name among the sorted names, which are `metadata["class_names"]`.

    The images are decoded once and kept in `$GENZOO_DATA`, or in the user's cache, in one file
    for each folder and each way of reading it. They are decoded again when files change.

    Arguments:
        path: the folder.
        size: the number of pixels: (height, width), or one number for both. By default, 64, or
            the size of the first 1,000 images if they all have the same and it is smaller.
        channels: 1 for gray, 3 for color, or 4 for color with transparency.
        fit: `"crop"` cuts off the edges of images with another aspect ratio, `"pad"` adds a white
            border, and `"squash"` distorts.
        splits: `"folders"` or `"content"` decides which images are held out. `"auto"` looks for
            the folders.
        labels: `"folders"`, the path of a CSV table with the columns file and label (see
            `labels_from_file`), or None for no labels. `"auto"` takes the folders if there are at
            least two.
        test_fraction: the fraction to hold out, on average, if the content decides.
        seed: the seed of the order of the images, and of the choice of those that are held out.
        value_range: the values of black and white in images with 16 or 32 bits; by default, 0 and
            65,535 for whole numbers, and 0 and 1 for real numbers.
        max_pixels: the largest number of pixels of an image, by default about 179 million. A file
            of a few bytes can hold a huge image.
        on_error: `"raise"` an error that names all images that cannot be read, or `"skip"` them
            with a warning; a run lists them.
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.
        augment: as in `Dataset`.

    Raises:
        MissingDataError: the folder does not exist, or it has no images.
        DataError: an image cannot be read, the splits are not clear, a label is missing, or the
            disk is full.
        SettingError: the folder has no folders of splits or classes, and a setting asks for them.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> photos = Path(tempfile.mkdtemp())
        >>> for number in range(10):
        ...     Image.new("RGB", (40, 30), (number, 0, 0)).save(photos / f"{number}.png")
        >>> data = folder(str(photos), size=16)
        >>> data.shape, data.rows("train") + data.rows("test")
        ((3, 16, 16), 10)
        >>> folder("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: folder: ...nowhere is not a folder.
    """
    root = local_path(path, "folder: path", DataError)
    files = find_images(root)
    split = None if splits == "content" else split_of(root, files)
    if splits == "folders" and split is None:
        raise SettingError(
            f'splits = "folders": {root} has no folder train, or none of test and val.'
        )
    names = _labels(labels, root, files, below_splits=split is not None)
    arranged = arrange(files, root, seed=seed, test_fraction=test_fraction, split=split)
    if size is None:
        size = _default_size(files)
    stored = decoded(
        [files[i] for i, _ in arranged],
        Reader(image_shape(size, channels), fit=fit, value_range=value_range),
        root,
        skip=on_error == "skip",
        max_pixels=max_pixels,
    )
    skipped = tuple(str(files[arranged[row][0]].relative_to(root)) for row in stored.skipped)
    if skipped:
        warn_of_skipped("folder", [*stored.skipped.values()])
        arranged = [one for row, one in enumerate(arranged) if row not in stored.skipped]
    columns: dict[str, Any] = {"x": stored.images}
    metadata = {}
    if names is not None:
        rows = np.array([i for i, _ in arranged], np.int64)
        columns["y"], metadata["class_names"] = class_column(rows, names)
    parts: dict[str, Any] = split_columns(columns, [name for _, name in arranged])
    if not parts["train"]:
        raise DataError(
            f"folder: all {len(arranged):,} images of {root} are held out; add images, or lower "
            f"test_fraction = {test_fraction:g}."
        )
    return Dataset(
        **parts,
        binarize=binarize,
        dequantize=dequantize,
        augment=augment,
        metadata=metadata,
        skipped=skipped,
        name=str(path),
    )


def arrange(
    files: Sequence[Path],
    root: Path,
    *,
    seed: int,
    test_fraction: float,
    split: Sequence[str] | None = None,
) -> list[tuple[int, str]]:
    """Return the order in which files are stored: the index and the split of each file.

    Test images come first, then validation images, then training images. Therefore, changing the
    fraction does not change the order. Within a split, the order is random. It depends on the seed
    and the content of the files, so a file that is added or removed does not change the order of
    others.

    Arguments:
        files: the files.
        root: the folder that they come from.
        seed: the seed of the order.
        test_fraction: the fraction of the files to hold out, on average.
        split: the split of each file, instead of `test_fraction`.
    """
    positions = _positions(content_digests(files, root), seed)
    if split is None:
        split = ["test" if position < test_fraction else "train" for position in positions]
    order = sorted(range(len(files)), key=lambda i: (STORED_ORDER.index(split[i]), positions[i]))
    return [(i, split[i]) for i in order]


def split_columns(columns: Mapping[str, Any], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the columns of each split, for rows whose splits are in the order of `arrange`.

    Example:
        >>> split_columns({"x": np.arange(3)}, ["test", "train", "train"])["train"]
        {'x': array([1, 2])}
    """
    parts, begin = {}, 0
    for name in STORED_ORDER:
        end = begin + sum(one == name for one in names)
        parts[name] = {key: x[begin:end] for key, x in columns.items()} if end > begin else {}
        begin = end
    return parts


def _positions(digests: Sequence[str], seed: int) -> list[float]:
    """Return a number on [0, 1) for each file, which depends on its content and the seed alone."""
    keys = (hashlib.blake2b(f"{seed} {digest}".encode(), digest_size=8) for digest in digests)
    return [int.from_bytes(key.digest()) / 2**64 for key in keys]


def _labels(
    labels: str | None, root: Path, files: Sequence[Path], *, below_splits: bool
) -> list[str] | None:
    """Return the name of the class of each file, or None."""
    if labels is None:
        return None
    if labels not in ("auto", "folders"):
        table = local_path(labels, "folder: labels", DataError)
        if not table.is_file() and (root / table.name).is_file():
            table = root / table.name
        return labels_from_file(table, root, files)
    names = class_names(root, files, below_splits=below_splits)
    if labels == "folders" and names is None:
        raise SettingError(
            f'labels = "folders": some images of {root} are not in the folder of a class, such as '
            f"{root}/cats."
        )
    if labels == "auto" and names is not None and len(set(names)) < 2:
        return None
    return names


def _default_size(files: Sequence[Path]) -> tuple[int, int]:
    """Return the (height, width) of the first 1,000 images, if equal and below 64, or (64, 64)."""
    size = size_of(files[0])
    small = size is not None and max(size) < _SIZE
    if size is not None and small and all(size_of(file) == size for file in files[1:1_000]):
        return size
    return _SIZE, _SIZE
