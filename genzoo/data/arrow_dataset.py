"""Arrow and Parquet files, and datasets that Hugging Face's `save_to_disk` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from genzoo.contract import Count, LocalPath
from genzoo.contract.dataset import Augmentation, Dataset
from genzoo.data.arrow_files import ArrowImages, ArrowNumbers, Table, require_pyarrow
from genzoo.data.encoded_images import EncodedImages
from genzoo.data.image_reader import Fit, Reader, image_shape
from genzoo.data.labels import class_column
from genzoo.data.splits import content_splits, named_splits, random_splits, select
from genzoo.errors import DataError, MissingDataError, SettingError, did_you_mean
from genzoo.files import local_path

__all__ = ["SUFFIXES", "arrow"]

SUFFIXES = (".arrow", ".feather", ".parquet")
"""The suffixes of the files."""
_LABELS = ("label", "labels", "y")
"""The names of columns that are labels by default."""


def arrow(
    path: LocalPath,
    *,
    image: str | None = None,
    columns: tuple[str, ...] | None = None,
    labels: str | None = "auto",
    size: Count | tuple[Count, Count] = 64,
    channels: Literal[1, 3, 4] = 3,
    fit: Fit = "crop",
    splits: Literal["auto", "names", "content"] = "auto",
    test_fraction: Annotated[float, Ge(0), Lt(1)] = 0.1,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    value_range: tuple[float, float] | None = None,
    max_pixels: Annotated[int, Gt(0)] | None = None,
    binarize: Literal["threshold", "stochastic"] | None = None,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
    standardize: bool = False,
) -> Dataset:
    """Return the rows of Arrow or Parquet files: images, or a table of numbers.

    Images are uint8 `(N, channels, H, W)`, decoded when they are needed. They come from a column
    of encoded images, as Hugging Face's datasets have it. Without such a column, the numeric
    columns are a table, float32 `(N, D)`. Arrow files are memory-mapped. Parquet files are
    converted to Arrow files once, in `$GENZOO_DATA` or the user's cache. It needs pyarrow:
    `pip install 'genzoo[arrow]'`.

    Files or folders named `train`, `test`, and `validation` are splits, as in a `DatasetDict`.
    Otherwise, the content of images decides which are held out, and rows of a table are held out
    at random.

    Arguments:
        path: a file, or a folder with files `*.arrow`, `*.feather`, or `*.parquet`.
        image: the column of images; by default, the only one that has them.
        columns: the columns of numbers that form a row; by default, all except the labels.
        labels: the column of labels, whole numbers or text, or None. `"auto"` looks for `label`,
            `labels`, and `y`.
        size: as in `folder`.
        channels: as in `folder`.
        fit: as in `folder`.
        splits: `"names"` or `"content"` decides which rows are held out. `"auto"` looks for names.
        test_fraction: the fraction to hold out, if names have no splits.
        seed: the seed of the choice of rows that are held out.
        value_range: as in `folder`.
        max_pixels: as in `folder`.
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.
        augment: as in `Dataset`.
        standardize: as in `Dataset`.

    Raises:
        MissingDataError: there are no files.
        DataError: a file cannot be read, or it has no images and no numbers.
        SettingError: a column does not exist, or is ambiguous.
        GenzooError: pyarrow is not installed.

    Example:
        >>> arrow("table.parquet").shape  # doctest: +SKIP
        (30,)
        >>> arrow("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: arrow: ...nowhere has no files *.arrow, *.feather, ...
    """
    root = local_path(path, "arrow: path", DataError)
    files = _find(root)
    table = Table(files)
    if not len(table):
        raise DataError(f"arrow: {root} has no rows; write it again with some.")
    for name in (image, *(columns or ()), labels if labels != "auto" else None):
        _check_name(table, name)
    label = (
        labels if labels != "auto" else next((n for n in _LABELS if n in table.schema.names), None)
    )
    images = None if columns is not None else _image_column(table, image)
    numbers = named_splits("arrow", root, files, table.file_of, splits)
    read: dict[str, Any] = {}
    if images is not None:
        reader = Reader(image_shape(size, channels), fit=fit, value_range=value_range)
        source = ArrowImages(table, images)
        read["x"] = EncodedImages(source, reader, max_pixels)
        if numbers is None:
            numbers = content_splits(source.digests(), test_fraction, seed)
    else:
        read["x"] = ArrowNumbers(table, columns or _numeric_columns(table, label))
        if numbers is None:
            numbers = random_splits(len(table), test_fraction, "arrow", seed)
    metadata: dict[str, Any] = {}
    if label is not None:
        read["y"], metadata["class_names"] = _labels(table, label)
    parts: dict[str, Any] = select(read, numbers)
    if "train" not in parts:
        raise DataError(f"arrow: {root} has no training rows; lower test_fraction.")
    return Dataset(
        **parts,
        binarize=binarize,
        dequantize=dequantize,
        augment=augment,
        standardize=standardize,
        metadata=metadata,
        name=str(path),
    )


def _find(path: Path) -> list[Path]:
    """Return the files below a path, sorted."""
    if path.is_file():
        return [path]
    # Hugging Face keeps results of computations as cache-*.arrow
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in SUFFIXES
        and not file.name.startswith("cache-")
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and file.is_file()
    ]
    if not files:
        kinds = ", ".join(f"*{suffix}" for suffix in SUFFIXES)
        raise MissingDataError(f"arrow: {path.absolute()} has no files {kinds}.")
    return files


def _check_name(table: Table, name: str | None) -> None:
    names = table.schema.names
    if name is not None and name not in names:
        raise SettingError(
            f"arrow: there is no column {name!r}; the columns are {', '.join(names)}."
            f"{did_you_mean(name, names)}"
        )


def _image_column(table: Table, image: str | None) -> str | None:
    """Return the column of encoded images, or None if there is none."""
    types = require_pyarrow().types
    images = []
    for name in table.schema.names if image is None else [image]:
        kind = table.type_of(name)
        if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        if types.is_binary(kind) or types.is_large_binary(kind):
            images.append(name)
    if image is not None and not images:
        raise SettingError(
            f"image = {image!r}: the column holds {table.type_of(image)}; expected the content of "
            "image files."
        )
    if len(images) > 1:
        raise SettingError(
            f"arrow: there are several columns of images ({', '.join(images)}); choose one, as in "
            f'image = "{images[0]}".'
        )
    return images[0] if images else None


def _numeric_columns(table: Table, label: str | None) -> list[str]:
    """Return the columns of numbers, or of lists of numbers, other than the labels."""
    types = require_pyarrow().types
    numeric = []
    for name in table.schema.names:
        kind = table.type_of(name)
        while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            kind = kind.value_type
        if name != label and (types.is_integer(kind) or types.is_floating(kind)):
            numeric.append(name)
    if not numeric:
        raise DataError(
            f"arrow: there are no columns of images or numbers; the columns are {table.schema}."
        )
    return numeric


def _labels(table: Table, label: str) -> tuple[Any, tuple[str, ...]]:
    """Return the index of the class of each row, and the names of the classes."""
    values = table.take(np.arange(len(table)), label)
    if values.null_count:
        raise DataError(
            f"arrow: {values.null_count:,} rows have no label in column {label!r}; remove them, or "
            "set labels = None."
        )
    if names := table.class_names(label):
        codes = values.to_numpy(zero_copy_only=False).astype(np.int64)
        outside = (codes < 0) | (codes >= len(names))
        if outside.any():
            row = int(outside.argmax())
            raise DataError(
                f"arrow: {table.name_of(row)} has the label {codes[row]} in column {label!r}, "
                f"which has {len(names)} classes, from 0 on; {int(outside.sum()):,} rows have such "
                "labels. Remove them, or set labels = None."
            )
        return codes, names
    coded = values.dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False)
    return class_column(codes, [str(value) for value in coded.dictionary.to_pylist()])
