"""Datasets of two domains that are computed from another dataset: edges, a known map, classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.nn.functional import conv2d, pad

from genzoo import Dataset
from genzoo.data.arrays import as_dataset
from genzoo.data.columns import load, open_column
from genzoo.errors import DataError

__all__ = ["Source", "classes", "edges", "mapped", "with_truth"]

Source = str | Mapping[str, Any]
"""The name or table of a dataset."""
_CHUNK = 4096
"""The number of images whose edges are computed at once, to limit memory."""
_CPU = torch.device("cpu")


def edges(
    of: Source = "fashion-mnist", threshold: Annotated[float, Gt(0), Lt(1)] | None = 0.15
) -> Dataset:
    r"""Return pairs of images y and their edges x, uint8 `(N, 1, H, W)`.

    A pixel is an edge if the length of the Sobel gradient of the gray image is above the threshold.
    The largest gradient along one axis is 1.

    Arguments:
        of: a dataset whose first column contains images.
        threshold: the threshold. None keeps the length of the gradient, clipped to [0, 1].

    Raises:
        DataError: the dataset does not contain images.

    Example:
        >>> data = edges("digits")
        >>> data.shape_of("x"), data.groups, sorted(data.test)
        ((1, 8, 8), (('x', 'y'),), ['truth', 'x', 'y'])
    """
    source, train, test = _images(of)

    def pairs(y: Tensor) -> dict[str, Any]:
        return {"x": torch.cat([_edges(part, threshold) for part in y.split(_CHUNK)]), "y": y}

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
    """Return unpaired images x and mapped images y. The map is known, so errors can be measured.

    In the training data, x is a random half of the images, and y is computed from the other half.
    In the held-out data, y and `truth` are computed from x.

    Arguments:
        of: a dataset whose first column contains images.
        by: `"invert"` (black and white), `"flip"` (top and bottom), `"mirror"` (left and right), or
            `"rotate"` (a quarter turn to the left, for square images).
        seed: the seed of the halves.

    Raises:
        DataError: the dataset does not contain images, or no square images for `"rotate"`.

    Example:
        >>> data = mapped("digits", "flip")
        >>> data.groups, data.rows("train"), data.rows("test")
        ((('x',), ('y',)), 750, 297)
    """
    source, train, test = _images(of)
    if by == "rotate" and train.shape[-1] != train.shape[-2]:
        raise DataError(
            f"mapped: by = 'rotate' needs square images, and images of {source.name} have size "
            f"{tuple(train.shape[-2:])}."
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
    """Return unpaired images of two classes, such as sneakers (7) and ankle boots (9).

    Arguments:
        of: a dataset with labels in a column `y`. The default is Fashion-MNIST.
        x: the label of the images in column x.
        y: the label of the images in column y.

    Raises:
        DataError: the dataset does not have labels, or does not have images with one of them.

    Example:
        >>> data = classes("digits", 3, 8)
        >>> data.groups, data.shape
        ((('x',), ('y',)), (1, 8, 8))
    """
    source, train, test = _images(of)
    if "y" not in source.train or len(source.train["y"].shape) != 1:
        raise DataError(
            f"classes: {source.name} does not have labels in a column 'y'; its columns are "
            f"{', '.join(source.train)}."
        )

    def select(images: Tensor, split: str) -> dict[str, Any]:
        labels = load(open_column(source, split, "y"), _CPU)
        columns = {}
        for name, label in (("x", x), ("y", y)):
            columns[name] = images[labels == label]
            if not len(columns[name]):
                raise DataError(
                    f"classes: {name} = {label}: no image of {source.name} has this label; labels "
                    f"are {labels.unique().tolist()}."
                )
        return columns

    held_out = select(test, "test") if len(test) else {}
    return Dataset(
        select(train, "train"),
        held_out,
        groups=(("x",), ("y",)),
        name=f"{source.name}, classes {x} and {y}",
    )


def with_truth(columns: dict[str, Any]) -> dict[str, Any]:
    """Add the column `truth` for the metric `translation` to held-out pairs x and y."""
    return {**columns, "truth": columns["y"]} if columns else {}


def _images(of: Source) -> tuple[Dataset, Tensor, Tensor]:
    """Return a dataset, and its training and held-out images as uint8, `(N, C, H, W)`.

    If the dataset has no held-out images, the second tensor is empty.

    Raises:
        DataError: the dataset does not contain images, or binarizes, dequantizes, or augments them.
    """
    source = as_dataset(of)
    for setting in ("binarize", "dequantize", "augment"):
        value = getattr(source, setting)
        if value:
            raise DataError(
                f"{source.name}: {setting} = {value!r} would be lost when its images become pairs "
                "or domains; leave it out."
            )
    column = next(iter(source.train))
    images = []
    for split in ("train", "test"):
        stored = torch.empty(0, *source.shape)
        if source.splits[split]:
            stored = load(open_column(source, split, column), _CPU)
        if stored.dim() != 4:
            raise DataError(
                f"{source.name} has rows of shape {source.shape}, and translation is between "
                "images (C, H, W)."
            )
        images.append(_as_uint8(stored, source.levels))
    return source, images[0], images[1]


def _as_uint8(images: Tensor, levels: int) -> Tensor:
    """Return images, stored as levels or as floats in [0, 1], as uint8 from 0 to 255."""
    if images.dtype != torch.uint8:
        return (images * 255).round().to(torch.uint8)
    if levels == 256:
        return images
    return (images * (255 / (levels - 1))).round().to(torch.uint8)


def _edges(images: Tensor, threshold: float | None) -> Tensor:
    """Return the edges of images as uint8, `(N, 1, H, W)`."""
    x = images.float().mean(dim=1, keepdim=True) / 255
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
    slopes = conv2d(
        pad(x, (1, 1, 1, 1), mode="replicate"), torch.stack([kernel, kernel.T])[:, None]
    )
    length = slopes.square().sum(dim=1, keepdim=True).sqrt()
    edge = length.clamp(max=1) if threshold is None else (length > threshold).float()
    return (edge * 255).round().to(torch.uint8)
