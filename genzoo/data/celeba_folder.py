"""The CelebA dataset of faces, from a local folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.contract import Augmentation, Count, Dataset, LocalPath
from genzoo.data.cache import home
from genzoo.data.image_cache import decoded
from genzoo.data.image_folder import STORED_ORDER, split_columns
from genzoo.data.image_reader import Reader, image_shape
from genzoo.errors import DataError, MissingDataError, SettingError, did_you_mean
from genzoo.files import local_path

__all__ = ["celeba"]

_PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_SPLITS = {"0": "train", "1": "validation", "2": "test"}


def celeba(
    folder: LocalPath | None = None,
    *,
    size: Count | tuple[Count, Count] = 64,
    labels: str | None = None,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return CelebA: aligned color images of 10,177 celebrities, 202,599 in all.

    The splits are those of the authors: 162,770 images for training, 19,867 for validation, and
    19,962 held out. Images are cropped around their center to the aspect ratio of `size`, resized,
    and kept as described in `folder`.
    Columns: `x`, uint8 `(N, 3, H, W)`, and with `labels` the label `y`, int64 `(N,)`.

    CelebA cannot be downloaded without an account. Download `img_align_celeba.zip` and
    `list_eval_partition.txt` from the authors' page, and unpack the images.

    Arguments:
        folder: the folder of `img_align_celeba/` and `list_eval_partition.txt`, or of the authors'
            folders `Img`, `Eval`, and `Anno`. Tables that end in `.csv` are read, too. If None, it
            is `$GENZOO_DATA/celeba`.
        size: the number of pixels: (height, width), or one number for both.
        labels: an attribute in `list_attr_celeba.txt`, such as `"Smiling"`: 1 for images that have
            it, and 0 for others.
        dequantize: add uniform noise within a level, as in `Dataset`.
        augment: random changes of training images, as in `Dataset`.

    Raises:
        MissingDataError: the images or a table are missing.
        DataError: a table or an image is damaged, or images are missing.
        SettingError: there is no such attribute.

    References:
        Deep Learning Face Attributes in the Wild, Z. Liu, P. Luo, X. Wang and X. Tang, 2015,
            https://arxiv.org/abs/1411.7766

    Example:
        >>> celeba(size=64).shape  # doctest: +SKIP
        (3, 64, 64)
        >>> celeba("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: celeba: ...nowhere has no folder img_align_celeba ...
    """
    root = home() / "celeba" if folder is None else local_path(folder, "celeba: folder", DataError)
    images = _images(root)
    split_of = _splits(_table(root, "Eval", "list_eval_partition"))
    if "train" not in split_of.values():
        raise DataError(f"celeba: list_eval_partition of {root} names no training images.")
    names = sorted(split_of, key=lambda name: (STORED_ORDER.index(split_of[name]), name))
    _check_complete(images, names)
    columns: dict[str, Any] = {}
    metadata = {}
    if labels is not None:
        columns["y"] = _attribute(_table(root, "Anno", "list_attr_celeba"), names, labels)
        metadata["class_names"] = (f"not {labels}", labels)
    stored = decoded([images / name for name in names], Reader(image_shape(size, 3)), images)
    parts: dict[str, Any] = split_columns(
        {"x": stored.images, **columns}, [split_of[name] for name in names]
    )
    return Dataset(
        **parts,
        dequantize=dequantize,
        augment=augment,
        metadata=metadata,
        name="celeba",
    )


def _images(root: Path) -> Path:
    """Return the folder of the images."""
    name = "img_align_celeba"
    for place in (root / name / name, root / name, root / "Img" / name):
        if place.is_dir():
            return place
    raise MissingDataError(
        f"celeba: {root.absolute()} has no folder {name} with images. CelebA cannot be downloaded "
        f"without an account: see {_PAGE}, unpack {name}.zip, and put it with "
        "list_eval_partition.txt into $GENZOO_DATA/celeba, or name their folder = ..."
    )


def _table(root: Path, place: str, name: str) -> list[list[str]]:
    """Return the rows of a table, in one of its two forms: txt with spaces, or csv with commas."""
    for suffix, separator in ((".txt", None), (".csv", ",")):
        for path in (root / f"{name}{suffix}", root / place / f"{name}{suffix}"):
            if path.is_file():
                try:
                    lines = path.read_text(encoding="utf-8-sig").splitlines()
                except (OSError, ValueError) as error:
                    raise DataError(f"celeba: {path} cannot be read ({error}).") from error
                return [line.split(separator) for line in lines if line.strip()]
    raise MissingDataError(f"celeba: {root} has no {name}.txt or {name}.csv; see {_PAGE}.")


def _splits(rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the split of each image."""
    if rows and rows[0][-1] not in _SPLITS:
        # the head of the csv form
        rows = rows[1:]
    for row in rows:
        if len(row) != 2 or row[1] not in _SPLITS:
            raise DataError(
                f"celeba: list_eval_partition has the row {' '.join(row)[:80]!r}; a row is an "
                "image and 0, 1, or 2."
            )
    return {row[0]: _SPLITS[row[1]] for row in rows}


def _attribute(rows: Sequence[Sequence[str]], names: Sequence[str], attribute: str) -> Any:
    """Return the labels of images, from 1 and -1 in the column of an attribute.

    The txt form begins with the number of images. Its head does not name the column of images.
    """
    if rows and len(rows[0]) == 1:
        rows = rows[1:]
    if len(rows) < 2:
        raise DataError("celeba: list_attr_celeba has no rows.")
    head, rows, width = rows[0], rows[1:], len(rows[1])
    head = head[-(width - 1) :]
    if attribute not in head:
        raise SettingError(
            f"celeba: labels = {attribute!r}: there is no such attribute."
            + (did_you_mean(attribute, head) or f" There are {', '.join(head)}.")
        )
    column = head.index(attribute) + 1
    values: Mapping[str, str] = {row[0]: row[column] for row in rows if len(row) == width}
    missing = [name for name in names if values.get(name) not in ("1", "-1", "0")]
    if missing:
        raise DataError(
            f"celeba: list_attr_celeba has no {attribute} for {len(missing):,} images, such as "
            f"{missing[0]}."
        )
    return np.array([values[name] == "1" for name in names], np.int64)


def _check_complete(folder: Path, names: Sequence[str]) -> None:
    present = {path.name for path in folder.iterdir()}
    missing = [name for name in names if name not in present]
    if missing:
        raise DataError(
            f"celeba: {folder} lacks {len(missing):,} of {len(names):,} images, such as "
            f"{missing[0]}; unpack img_align_celeba.zip again."
        )
