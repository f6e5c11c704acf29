"""Any data in the form of a run: its levels, its binarization, and its noise."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Dataset
from genzoo.contract.column import is_uint8
from genzoo.data.arrays import as_dataset
from genzoo.data.stream import once
from genzoo.errors import DataError, SettingError, did_you_mean, show
from genzoo.files import local_path
from genzoo.metrics.outliers.pictures import picture_files, read_pictures
from genzoo.registry.lookup import registry

__all__ = ["Rows", "read_rows"]

_CHUNK = 1000


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows to score.

    Arguments:
        dataset: the rows, as the training split, with the settings of the run.
        names: the name of each row: its file, or its number.
        source: the name of the data.
        failed: unreadable file -> reason.
    """

    dataset: Dataset
    names: tuple[str, ...]
    source: str
    failed: Mapping[str, str] = field(default_factory=dict)


def read_rows(data: Any, reference: Dataset, column: str, *, resize: bool = False) -> Rows:
    """Return data in the form that the data of a run have.

    Values are rounded to the levels of the run, and binarized or dequantized as those of the run.

    Arguments:
        data: files and folders, or anything that `as_dataset` accepts. A dataset stands for its
            held-out rows, or for its training rows if it has no others.
        reference: the data of the run.
        column: the column that the model reads.
        resize: crop, resize, and convert pictures to the shape of the run.

    Raises:
        SettingError: there is no such file, folder, or dataset.
        DataError: the data have another shape or other values than those of the run.
    """
    if reference.symbols:
        raise DataError(f"{reference.name} holds symbols; outlier scores support numbers only.")
    if isinstance(data, list | tuple) and len(data) == 1 and isinstance(data[0], str | Path):
        data = data[0]
    if (paths := _paths(data)) is not None:
        pictures, failed = read_pictures(
            picture_files(paths), reference.shape_of(column), resize=resize
        )
        x = torch.stack(list(pictures.values()))
        if 0 < x.max() < reference.levels < 256:
            warnings.warn(
                f"No pixel of the pictures is above {x.max()}. They seem to hold level numbers "
                f"from 0 to {reference.levels - 1}, but white is read as 255.",
                stacklevel=4,
            )
        dataset = Dataset({column: x}, name="pictures")
        names, source = tuple(pictures), ", ".join(map(str, paths))
    else:
        dataset = as_dataset(data)
        failed, names, source = {}, (), dataset.name
    stored = _stored(dataset, reference, column)
    rows = replace(
        reference, train={column: stored}, test={}, groups=((column,),), metadata={}, name=source
    )
    return Rows(
        dataset=rows,
        names=names or tuple(map(str, range(len(stored)))),
        source=source,
        failed=failed,
    )


def _paths(data: Any) -> list[Path] | None:
    """Return the paths that data consist of, or None if they are something else.

    The name of a dataset wins over a file of this name.

    Raises:
        SettingError: there is no such file, folder, or dataset.
    """
    items = list(data) if isinstance(data, list | tuple) else [data]
    if not items or not all(isinstance(item, str | Path) for item in items):
        return None
    datasets = registry("datasets")
    named = [item for item in items if isinstance(item, str) and item in datasets]
    if len(items) == 1 and named:
        return None
    if named:
        raise SettingError(
            f"{show(named[0])} is a dataset, which cannot be mixed with other data; score it "
            f"alone, or write {show('./' + named[0])} for a file or folder of this name."
        )
    paths = [local_path(item, "data") for item in items]
    for item, path in zip(items, paths, strict=True):
        if not path.exists():
            raise SettingError(
                f"{show(str(item))} is not a file, a folder, or the name of a dataset."
                f"{did_you_mean(str(item), datasets.available())}"
            )
    return paths


def _stored(dataset: Dataset, reference: Dataset, column: str) -> Tensor:
    """Return the rows of a dataset as the run stores its own.

    Raises:
        DataError: they have another shape, or values outside [0, 1] where the run has levels.
    """
    split = "test" if column in dataset.test else "train"
    shape, expected = dataset.shape_of(column), reference.shape_of(column)
    if shape != expected:
        raise DataError(
            f"{dataset.name} has examples of shape {shape}, but the model reads {expected}; pass "
            "data of this shape."
        )
    # Noise is added later, as the data of the run define it.
    plain = replace(dataset, dequantize=False)
    batches: Iterable[Any] = once(plain, (column,), _CHUNK, device=torch.device("cpu"), split=split)
    if not is_uint8(reference.train[column]):
        return torch.cat(list(batches))
    levels = []
    for x in batches:
        if x.min() < 0 or x.max() > 1:
            raise DataError(
                f"{dataset.name} spans {x.min():g} to {x.max():g}, but the model reads values from "
                "0 to 1; rescale the data."
            )
        levels.append((x * (reference.levels - 1)).round().byte())
    return torch.cat(levels)
