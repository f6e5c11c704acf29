"""Data sets of two kinds of images that are made from another data set's: edges, a known map, two classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.nn.functional import conv2d, pad

from genzoo import Dataset
from genzoo.data.arrays import as_dataset, as_tensor
from genzoo.errors import DataError

Source = str | Mapping[str, Any]
"""A data set's name or table."""
_PIECE = 4096
"""Images whose edges are found at a time, to bound memory."""


def edges(
    of: Source = "fashion-mnist", threshold: Annotated[float, Gt(0), Lt(1)] | None = 0.15
) -> Dataset:
    r"""Pairs: x are the edges of images y, uint8 `(N, 1, H, W)`.

    An edge is where the length of the Sobel gradient of the grey image, of which 1 is the largest along an axis, is above the
    threshold.

    Arguments:
        of: the data set whose first column are the images.
        threshold: None keeps the length itself, clipped to [0, 1].

    Raises:
        DataError: the data set holds no images.

    Example:
        >>> data = edges("digits")
        >>> data.shape_of("x"), data.groups, sorted(data.test)
        ((1, 8, 8), (('x', 'y'),), ['truth', 'x', 'y'])
    """
    source, train, test = _images(of)

    def pairs(y: Tensor) -> dict[str, Any]:
        return {"x": torch.cat([_edges(part, threshold) for part in y.split(_PIECE)]), "y": y}

    held_out = pairs(test) if len(test) else {}
    return Dataset(pairs(train), with_truth(held_out), name=f"edges of {source.name}")


_MAPS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "invert": lambda x: 255 - x,
    "flip": lambda x: x.flip(-2),
    "mirror": lambda x: x.flip(-1),
    "rotate": lambda x: torch.rot90(x, 1, (-2, -1)),
}


def mapped(
    of: Source = "fashion-mnist",
    by: Literal["invert", "flip", "mirror", "rotate"] = "invert",
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
) -> Dataset:
    """Unpaired: x are images, y are other images of which a known map was made, so that a translation can be judged.

    No image is on both sides of the training data: x are a random half, y comes from the other. Of held-out images, y and `truth`
    are the map of x.

    Arguments:
        of: the data set whose first column are the images.
        by: `"invert"` (black for white), `"flip"` (top for bottom), `"mirror"` (left for right), or `"rotate"` (a quarter turn to
            the left, of square images).
        seed: of the halves.

    Raises:
        DataError: the data set holds no images, or none that are square for `"rotate"`.

    Example:
        >>> data = mapped("digits", "flip")
        >>> data.groups, data.rows("train"), data.rows("test")
        ((('x',), ('y',)), 750, 297)
    """
    source, train, test = _images(of)
    if by == "rotate" and train.shape[-1] != train.shape[-2]:
        raise DataError(
            f"mapped: images of {source.name} are {tuple(train.shape[-2:])}; a quarter turn needs square ones."
        )
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(train)))
    first, second = order.tensor_split(2)
    held_out = {"x": test, "y": _MAPS[by](test)} if len(test) else {}
    return Dataset(
        {"x": train[first], "y": _MAPS[by](train[second])},
        with_truth(held_out),
        groups=(("x",), ("y",)),
        name=f"{source.name}, some of them mapped ({by})",
    )


def classes(of: Source = "fashion-mnist", x: int = 7, y: int = 9) -> Dataset:
    """Unpaired: images of one class and of another, such as Fashion-MNIST's sneakers (7) and ankle boots (9).

    Arguments:
        of: a data set with labels in a column `y`.
        x: the label of the images that become the column x.
        y: that of the column y.

    Raises:
        DataError: the data set has no labels, or no image with one of them.

    Example:
        >>> data = classes("digits", 3, 8)
        >>> data.groups, data.shape
        ((('x',), ('y',)), (1, 8, 8))
    """
    source, train, test = _images(of)
    if "y" not in source.train or as_tensor(source.train["y"], "y").dim() != 1:
        raise DataError(
            f"classes: {source.name} has no labels in a column 'y'; it has {', '.join(source.train)}."
        )

    def chosen(images: Tensor, split: Mapping[str, Any]) -> dict[str, Any]:
        labels = as_tensor(split["y"], "y")
        found = {name: images[labels == label] for name, label in (("x", x), ("y", y))}
        for name, label in (("x", x), ("y", y)):
            if not len(found[name]):
                there = labels.unique().tolist()
                raise DataError(
                    f"classes: {name} = {label}: no image of {source.name} has it; labels are {there}."
                )
        return found

    held_out = chosen(test, source.test) if len(test) else {}
    return Dataset(
        chosen(train, source.train),
        held_out,
        groups=(("x",), ("y",)),
        name=f"{source.name}, classes {x} and {y}",
    )


def with_truth(columns: dict[str, Any]) -> dict[str, Any]:
    """Held-out columns with what the metric `translation` reads: y belongs to x, row by row."""
    return {**columns, "truth": columns["y"]} if columns else {}


def _images(of: Source) -> tuple[Dataset, Tensor, Tensor]:
    """A data set and its images as uint8, `(N, C, H, W)`, to train on and held out (which may be none)."""
    source = as_dataset(of)
    if source.binarize or source.dequantize:
        raise DataError(
            f"{source.name}: binarize = {source.binarize!r} and dequantize = {source.dequantize} would be lost here, "
            "where its images become pairs or domains; leave them out."
        )
    column = next(iter(source.train))
    found = []
    for split in (source.train, source.test):
        stored = (
            as_tensor(split[column], f"{source.name}, column {column!r}")
            if split
            else torch.empty(0, *source.shape)
        )
        if stored.dim() != 4:
            raise DataError(
                f"{source.name} holds rows of shape {source.shape}, and translation is between images (C, H, W)."
            )
        scale = 255 / (source.levels - 1)
        exact = stored.dtype == torch.uint8 and source.levels == 256
        found.append(
            stored
            if exact
            else (stored * (scale if stored.dtype == torch.uint8 else 255)).round().to(torch.uint8)
        )
    return source, found[0], found[1]


def _edges(images: Tensor, threshold: float | None) -> Tensor:
    x = images.float().mean(dim=1, keepdim=True) / 255
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
    slopes = conv2d(
        pad(x, (1, 1, 1, 1), mode="replicate"), torch.stack([kernel, kernel.T])[:, None]
    )
    length = slopes.square().sum(dim=1, keepdim=True).sqrt()
    found = length.clamp(max=1) if threshold is None else (length > threshold).float()
    return (found * 255).round().to(torch.uint8)
