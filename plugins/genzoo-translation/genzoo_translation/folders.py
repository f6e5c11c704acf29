"""Datasets from folders of images in two domains: pairs, and unpaired images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Lt

from genzoo import Dataset
from genzoo.contract import Count
from genzoo.data.image_folder import Portion, find_images, stored
from genzoo.errors import DataError
from genzoo.files import local_path
from genzoo_translation.derived import with_truth

__all__ = ["Channels", "Fraction", "Seed", "Size", "domains", "pairs"]

Size = Count | tuple[Count, Count]
Channels = Literal[1, 3]
Fraction = Annotated[float, Ge(0), Lt(1)]
Seed = Annotated[int, Ge(0), Lt(2**32)]


def pairs(
    path: str,
    size: Size = 256,
    channels: Channels = 3,
    layout: Literal["folders", "side-by-side"] = "folders",
    *,
    reverse: bool = False,
    test_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Dataset:
    """Return pairs of images from files.

    The pairs are files of the same name in `A/` (x) and `B/` (y), or the two halves of each file.
    Files are read, resized, and stored as in genzoo's `folder`.

    Arguments:
        path: the folder that contains `A` and `B`, or files with both images.
        size: the size of one image, (height, width) or one number for both.
        channels: 3 for color, 1 for gray.
        layout: `"folders"`, or `"side-by-side"` if the left half of each file is A and the right
            half is B.
        reverse: use B for x and A for y.
        test_fraction: the held-out fraction of the data, rounded down.
        seed: the seed of the order in which files are split.

    Raises:
        DataError: a folder or an image is missing, a file has no partner, or cannot be read.

    Example:
        >>> pairs("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: folder: nowhere/A is not a folder.
    """
    root = local_path(path, "path", DataError)
    shape = _shape(size, channels)
    if layout == "folders":
        named = [_named_images(root / side) for side in "AB"]
        counts = [Counter(name for name, _ in side) for side in named]
        for name in sorted(counts[0] | counts[1]):
            if counts[0][name] != 1 or counts[1][name] != 1:
                raise DataError(
                    f"pairs: {name} must occur once in {root / 'A'} and once in {root / 'B'}, but "
                    f"occurs {counts[0][name]} and {counts[1][name]} times."
                )
        files = [[file for _, file in sorted(side)] for side in named]
        portions: tuple[Portion, Portion] = ("whole", "whole")
    else:
        files, portions = [find_images(root)] * 2, ("left", "right")
    held = int(len(files[0]) * test_fraction)
    splits = [
        _split(side, shape, root, held, seed, portion)
        for side, portion in zip(files, portions, strict=True)
    ]
    train, test = (_columns(images, reverse=reverse) for images in zip(*splits, strict=True))
    return Dataset(train, with_truth(test) if held else {}, name=str(path))


def domains(
    path: str,
    size: Size = 256,
    channels: Channels = 3,
    *,
    reverse: bool = False,
    test_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Dataset:
    """Return unpaired images of two domains from files.

    The images come from `A/` (x) and `B/` (y), or from `trainA/`, `trainB/`, `testA/`, and
    `testB/`. Files are read, resized, and stored as in genzoo's `folder`.

    Arguments:
        path: the folder that contains these folders.
        size: the size of an image, (height, width) or one number for both.
        channels: 3 for color, 1 for gray.
        reverse: use B for x and A for y.
        test_fraction: the held-out fraction of each domain, rounded down, if there are no folders
            with test images.
        seed: the seed of the order in which files are split.

    Raises:
        DataError: a folder or an image is missing, or a file cannot be read.

    Example:
        >>> domains("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: folder: nowhere/A is not a folder.
    """
    root = local_path(path, "path", DataError)
    shape = _shape(size, channels)
    if (root / "trainA").is_dir():
        has_test = (root / "testA").is_dir() or (root / "testB").is_dir()
        names = ("train", "test") if has_test else ("train",)
        splits = [
            [_all_images(root / f"{name}{side}", shape, seed) for name in names] for side in "AB"
        ]
    else:
        files = [find_images(root / side) for side in "AB"]
        held = [int(len(side) * test_fraction) for side in files]
        has_test = all(held)  # hold out images of both domains, or of none
        splits = []
        for name, side, n in zip("AB", files, held, strict=True):
            split = _split(side, shape, root / name, n if has_test else 0, seed)
            splits.append(list(split[: 1 + has_test]))
    columns = [_columns(images, reverse=reverse) for images in zip(*splits, strict=True)]
    test = columns[1] if has_test else {}
    return Dataset(columns[0], test, groups=(("x",), ("y",)), name=str(path))


def _named_images(folder: Path) -> list[tuple[Path, Path]]:
    """Return the name without suffix and the path of each image in a folder."""
    return [(file.relative_to(folder).with_suffix(""), file) for file in find_images(folder)]


def _all_images(folder: Path, shape: tuple[int, int, int], seed: int) -> Any:
    """Return all images of a folder in a random order."""
    return _split(find_images(folder), shape, folder, 0, seed)[0]


def _shape(size: Any, channels: int) -> tuple[int, int, int]:
    """Return the shape of an image, (channels, height, width)."""
    height, width = (size, size) if isinstance(size, int) else size
    return channels, height, width


def _split(
    files: Sequence[Path],
    shape: tuple[int, int, int],
    root: Path,
    held: int,
    seed: int,
    part: Portion = "whole",
) -> tuple[Any, Any]:
    """Return images in a random order as two arrays; the second has the last `held` images.

    The order depends on the number of images and the seed.
    """
    order = np.random.RandomState(seed).permutation(len(files))
    x = stored([files[i] for i in order], shape, root.resolve().name, part)
    return x[: len(x) - held], x[len(x) - held :]


def _columns(images: Sequence[Any], *, reverse: bool) -> dict[str, Any]:
    """Return the images of A and B as columns x and y, or y and x."""
    names = ("y", "x") if reverse else ("x", "y")
    return dict(zip(names, images, strict=True))
