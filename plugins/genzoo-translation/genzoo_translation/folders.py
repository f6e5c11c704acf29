"""Datasets from folders of images in two domains: pairs, and unpaired images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt

from genzoo import Dataset
from genzoo.contract import Count, LocalPath
from genzoo.data.image_cache import decoded
from genzoo.data.image_files import find_images, split_of
from genzoo.data.image_folder import arrange, split_columns
from genzoo.data.image_reader import Portion, Reader, image_shape
from genzoo.errors import DataError
from genzoo.files import local_path
from genzoo_translation.derived import with_truth

__all__ = ["Channels", "Fraction", "Seed", "Size", "domains", "pairs"]

Size = Count | tuple[Count, Count]
Channels = Literal[1, 3]
Fraction = Annotated[float, Ge(0), Lt(1)]
Seed = Annotated[int, Ge(0), Lt(2**32)]


def pairs(
    path: LocalPath,
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
        test_fraction: the fraction to hold out, on average, unless there are folders `train` and
            `test`. The content of the image A decides.
        seed: the seed of the choice of held-out pairs, and of the order.

    Raises:
        DataError: a folder or an image is missing, a file has no partner, or cannot be read.

    Example:
        >>> pairs("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: folder: ...nowhere/A is not a folder.
    """
    root = local_path(path, "path", DataError)
    shape = image_shape(size, channels)
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
    owners = [root / "A", root / "B"] if layout == "folders" else [root, root]
    # The images of A decide for both.
    arranged = arrange(
        files[0],
        owners[0],
        seed=seed,
        test_fraction=test_fraction,
        split=split_of(owners[0], files[0]),
    )
    images = [
        _stored(side, [i for i, _ in arranged], shape, owner, portion)
        for side, portion, owner in zip(files, portions, owners, strict=True)
    ]
    parts = split_columns(_columns(images, reverse=reverse), [name for _, name in arranged])
    test = with_truth(parts["test"]) if parts["test"] else {}
    return Dataset(parts["train"], test, validation=parts["validation"], name=str(path))


def domains(
    path: LocalPath,
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
        test_fraction: the fraction of each domain to hold out, on average, if there are no folders
            with test images. The content of an image decides.
        seed: the seed of the choice of held-out images, and of the order.

    Raises:
        DataError: a folder or an image is missing, or a file cannot be read.

    Example:
        >>> domains("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: folder: ...nowhere/A is not a folder.
    """
    root = local_path(path, "path", DataError)
    shape = image_shape(size, channels)
    if (root / "trainA").is_dir():
        has_test = (root / "testA").is_dir() or (root / "testB").is_dir()
        names = ("train", "test") if has_test else ("train",)
        sides = [
            {name: _domain(root / f"{name}{side}", shape, seed, None)["train"] for name in names}
            for side in "AB"
        ]
    else:
        sides = [_domain(root / side, shape, seed, test_fraction) for side in "AB"]
        if not all(side["train"] and side["test"] for side in sides):
            # Images of both domains are held out, or of none. Folders of splits stay as they are.
            sides = [_domain(root / side, shape, seed, 0.0) for side in "AB"]
    splits = [name for name in ("train", "validation", "test") if all(s.get(name) for s in sides)]
    parts: dict[str, Any] = {
        name: _columns([side[name]["x"] for side in sides], reverse=reverse) for name in splits
    }
    return Dataset(
        **parts,
        groups=(("x",), ("y",)),
        name=str(path),
    )


def _domain(
    folder: Path, shape: tuple[int, int, int], seed: int, test_fraction: float | None
) -> dict[str, dict[str, Any]]:
    """Return the images of a folder in a random order, by split; None puts all in `train`."""
    files = find_images(folder)
    split = ["train"] * len(files) if test_fraction is None else split_of(folder, files)
    arranged = arrange(files, folder, seed=seed, test_fraction=test_fraction or 0.0, split=split)
    images = _stored(files, [i for i, _ in arranged], shape, folder)
    return split_columns({"x": images}, [name for _, name in arranged])


def _named_images(folder: Path) -> list[tuple[Path, Path]]:
    """Return the name without suffix and the path of each image in a folder."""
    return [(file.relative_to(folder).with_suffix(""), file) for file in find_images(folder)]


def _stored(
    files: Sequence[Path],
    order: Sequence[int],
    shape: tuple[int, int, int],
    root: Path,
    part: Portion = "whole",
) -> Any:
    """Return the images of files in an order."""
    return decoded([files[i] for i in order], Reader(shape, part), root).images


def _columns(images: Sequence[Any], *, reverse: bool) -> dict[str, Any]:
    """Return the images of A and B as columns x and y, or y and x."""
    names = ("y", "x") if reverse else ("x", "y")
    return dict(zip(names, images, strict=True))
