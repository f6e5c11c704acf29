"""Folders of images of two kinds: pairs, and unpaired domains."""

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

Size = Count | tuple[Count, Count]
Channels = Literal[1, 3]
Fraction = Annotated[float, Ge(0), Lt(1)]
Seed = Annotated[int, Ge(0), Lt(2**32)]


def pairs(
    path: str,
    size: Size = 256,
    channels: Channels = 3,
    layout: Literal["folders", "side-by-side"] = "folders",
    reverse: bool = False,
    test_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Dataset:
    """Pairs of image files: x from `A/` and y from `B/`, where files of one name belong together, or both in one file.

    Files are read, resized and kept as those of genzoo's `folder`.

    Arguments:
        path: the folder that holds `A` and `B`, or the files that hold both.
        size: pixels of one image, (height, width) or one number for both.
        channels: 3 for colour, 1 for grey.
        layout: `"folders"`, or `"side-by-side"`: the left half of each file is A, the right one B.
        reverse: x from B and y from A.
        test_fraction: how much of the data is held out, rounded down.
        seed: of the order in which the files are split.

    Raises:
        DataError: a folder or an image is missing, a file has no partner, or one cannot be read.

    Example:
        >>> pairs("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: folder: nowhere/A is not a folder.
    """
    root = local_path(path, "path", DataError)
    shape = _shape(size, channels)
    if layout == "folders":
        found = [
            [
                (file.relative_to(root / side).with_suffix(""), file)
                for file in find_images(root / side)
            ]
            for side in "AB"
        ]
        counts = [Counter(name for name, _ in named) for named in found]
        for name in sorted(counts[0] | counts[1]):
            if [count[name] for count in counts] != [1, 1]:
                where = f"{root / 'A'} and once in {root / 'B'}"
                raise DataError(
                    f"pairs: {name} is not once in {where}; each image needs one partner."
                )
        files = [[file for _, file in sorted(named)] for named in found]
        portions: tuple[Portion, Portion] = ("whole", "whole")
    else:
        files, portions = [find_images(root)] * 2, ("left", "right")
    held = int(len(files[0]) * test_fraction)
    splits = [
        _split(one, shape, root, held, seed, part)
        for one, part in zip(files, portions, strict=True)
    ]
    train, test = (_named(columns, reverse) for columns in zip(*splits, strict=True))
    return Dataset(train, with_truth(test) if held else {}, name=str(path))


def domains(
    path: str,
    size: Size = 256,
    channels: Channels = 3,
    reverse: bool = False,
    test_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Dataset:
    """Unpaired image files of two kinds: x from `A/` and y from `B/`, or from `trainA/`, `trainB/`, `testA/` and `testB/`.

    Files are read, resized and kept as those of genzoo's `folder`.

    Arguments:
        path: the folder that holds these.
        size: pixels, (height, width) or one number for both.
        channels: 3 for colour, 1 for grey.
        reverse: x from B and y from A.
        test_fraction: how much of each kind is held out where no folders say so, rounded down.
        seed: of the order in which the files are split.

    Raises:
        DataError: a folder or an image is missing, or one cannot be read.

    Example:
        >>> domains("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: folder: nowhere/A is not a folder.
    """
    root = local_path(path, "path", DataError)
    shape = _shape(size, channels)
    if (root / "trainA").is_dir():
        tested = (root / "testA").is_dir() or (root / "testB").is_dir()
        splits = [
            [
                _split(find_images(root / f"{when}{side}"), shape, root / f"{when}{side}", 0, seed)[
                    0
                ]
                for when in ("train", "test")[: 1 + tested]
            ]
            for side in "AB"
        ]
    else:
        files = [find_images(root / side) for side in "AB"]
        held = [int(len(each) * test_fraction) for each in files]
        tested = all(held)  # or else nothing of either is held out
        splits = [
            list(_split(each, shape, root / side, n if tested else 0, seed))[: 1 + tested]
            for side, each, n in zip("AB", files, held, strict=True)
        ]
    columns = [_named(each, reverse) for each in zip(*splits, strict=True)]
    return Dataset(
        columns[0], columns[1] if tested else {}, groups=(("x",), ("y",)), name=str(path)
    )


def _shape(size: Any, channels: int) -> tuple[int, int, int]:
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
    """Images in a random order that depends on their number and the seed: all but the last `held`, and those."""
    order = np.random.RandomState(seed).permutation(len(files))
    x = stored([files[i] for i in order], shape, root.resolve().name, part)
    return x[: len(x) - held], x[len(x) - held :]


def _named(sides: Sequence[Any], reverse: bool) -> dict[str, Any]:
    return dict(zip(("y", "x") if reverse else ("x", "y"), sides, strict=True))
