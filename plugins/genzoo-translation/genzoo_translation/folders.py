"""Folders of images of two kinds: pairs, and unpaired domains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt

from genzoo import Dataset
from genzoo.contract import Positive
from genzoo.data.folder import find_images, folder
from genzoo.errors import DataError

Size = Positive | tuple[Positive, Positive]
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
        genzoo.errors.DataError: folder: nowhere/A is not a folder.
    """
    root = Path(path).expanduser()
    if layout == "folders":
        names = [[file.relative_to(root / side).with_suffix("") for file in find_images(root / side)] for side in ("A", "B")]
        if names[0] != names[1]:
            odd = sorted(set(names[0]) ^ set(names[1]) or {name for name in names[0] if names[0].count(name) > 1})[0]
            raise DataError(f"pairs: {odd} is not once in {root / 'A'} and once in {root / 'B'}; each image needs one partner.")
        read = [folder(str(root / side), size, channels, test_fraction, seed) for side in ("A", "B")]
        splits: list[Any] = [[_column(data, split) for data in read] for split in ("train", "test")]
    else:
        height, width = (size, size) if isinstance(size, int) else size
        both = folder(str(root), (height, 2 * width), channels, test_fraction, seed)
        whole = [_column(both, split) for split in ("train", "test")]
        splits = [None if x is None else [x[..., :width], x[..., width:]] for x in whole]
    columns = [_named(split, reverse) for split in splits]
    return Dataset(columns[0], {**columns[1], "truth": columns[1]["y"]} if columns[1] else {}, name=str(path))


def domains(
    path: str, size: Size = 256, channels: Channels = 3, reverse: bool = False, test_fraction: Fraction = 0.1, seed: Seed = 0
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
        genzoo.errors.DataError: folder: nowhere/A is not a folder.
    """
    root = Path(path).expanduser()
    if (root / "trainA").is_dir():
        splits: list[Any] = [
            [_column(folder(str(root / f"{split}{side}"), size, channels, 0, seed), "train") for side in "AB"]
            for split in ("train", "test")
            if split == "train" or (root / "testA").is_dir()
        ]
    else:
        read = [folder(str(root / side), size, channels, test_fraction, seed) for side in "AB"]
        splits = [[_column(data, split) for data in read] for split in ("train", "test")]
    columns = [_named(split, reverse) for split in splits]
    return Dataset(columns[0], columns[1] if len(columns) > 1 else {}, groups=(("x",), ("y",)), name=str(path))


def _column(data: Dataset, split: str) -> Any:
    return getattr(data, split).get("x")


def _named(sides: Any, reverse: bool) -> dict[str, Any]:
    """The columns of a split, or none where one side has no rows."""
    if sides is None or any(side is None for side in sides):
        return {}
    return dict(zip(("y", "x") if reverse else ("x", "y"), sides, strict=True))
