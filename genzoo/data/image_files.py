"""Find image files, and read splits and labels from the folders that they are in."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from genzoo.errors import DataError, MissingDataError, show

__all__ = [
    "SPLIT_NAMES",
    "SUFFIXES",
    "class_names",
    "find_images",
    "labels_from_file",
    "split_of",
    "warn_of_skipped",
]

SUFFIXES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm",
    ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""The suffixes of image files. Pillow must be able to read the format."""
_OTHER_IMAGES = (
    ".arw", ".cr2", ".cr3", ".dng", ".exr", ".jxl", ".nef", ".orf", ".psd", ".raf", ".raw", ".svg",
)  # fmt: skip
"""The suffixes of images that are skipped with a warning."""
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""The name of a folder -> the split that it holds."""
_IGNORED = ("__MACOSX",)
_FILE_COLUMNS = ("file", "filename", "file_name", "path", "image")
"""The names of the column of files in a table of labels; the first that occurs is used."""
_LABEL_COLUMNS = ("label", "class")
"""The names of the column of labels in a table; the first that occurs is used."""


def find_images(folder: Path) -> list[Path]:
    """Return all image files below a folder, sorted.

    A file is an image if it has an image suffix. Files and folders whose name begins with a dot are
    skipped. Links to folders are followed, unless they lead back to a folder above. A warning lists
    how many other images, such as raw photographs, were skipped.

    Raises:
        MissingDataError: the folder does not exist, or it has no images.
    """
    if not folder.is_dir():
        raise MissingDataError(f"folder: {folder.absolute()} is not a folder.")
    files, skipped = [], Counter[str]()
    for file in _walk(folder, (os.path.realpath(folder),)):
        suffix = file.suffix.lower()
        if suffix not in SUFFIXES and suffix not in _OTHER_IMAGES:
            continue
        if not file.is_file():
            skipped["links to files that do not exist"] += 1
        elif suffix in _readable():
            files.append(file)
        else:
            skipped[f"{suffix} files, which Pillow cannot read here"] += 1
    counts = ", ".join(f"{count:,} {what}" for what, count in sorted(skipped.items()))
    if not files:
        besides = f" It has {counts}." if counts else ""
        raise MissingDataError(
            f"folder: {folder.absolute()} has no images; they end in {', '.join(SUFFIXES)}."
            + besides
        )
    if counts:
        warnings.warn(
            f"folder: {folder} has {len(files):,} images. Skipped: {counts}.", stacklevel=3
        )
    return sorted(files)


def _walk(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    """Yield the visible files below a folder. `above` are the real paths from the first one on."""
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name in _IGNORED:
            continue
        path = folder / entry.name
        if not entry.is_dir():
            yield path
            continue
        real = os.path.realpath(path)
        if real not in above:
            yield from _walk(path, (*above, real))


@cache
def _readable() -> frozenset[str]:
    """Return the image suffixes that Pillow can read on this machine."""
    from PIL import Image

    try:
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found]
    except ImportError:
        pass
    else:
        register_heif_opener()
    Image.init()
    return frozenset(
        suffix for suffix in SUFFIXES if Image.registered_extensions().get(suffix) in Image.OPEN
    )


def split_of(root: Path, files: Sequence[Path]) -> list[str] | None:
    """Return the split of each file, from the folders `train`, `val`, and `test`.

    Validation images without test images are the test split, as in ImageNet.

    Arguments:
        root: the folder that contains the folders of the splits.
        files: the files below it.

    Returns:
        `"train"`, `"validation"`, or `"test"` for each file; None if `root` has no folder of
        training images, or no other folder of a split.

    Raises:
        DataError: some files are in none of these folders.
    """
    tops = [file.relative_to(root).parts[:-1][:1] for file in files]
    splits = [SPLIT_NAMES.get(top[0].lower()) if top else None for top in tops]
    if not {"train"} < set(splits) - {None}:
        return None
    outside = [file for file, split in zip(files, splits, strict=True) if split is None]
    if outside:
        raise DataError(
            f"folder: {root} has folders for splits, but {len(outside):,} images are in none of "
            f'them, such as {outside[0]}; move them, or set splits = "content" to mix all images.'
        )
    known = [split for split in splits if split is not None]
    if "test" not in known:
        known = ["test" if split == "validation" else split for split in known]
    return known


def class_names(root: Path, files: Sequence[Path], *, below_splits: bool) -> list[str] | None:
    """Return the class of each file: the folder in `root`, or in a split, that it is in.

    Arguments:
        root: the folder.
        files: the files below it.
        below_splits: the folders in `root` are splits, and classes are one level below.

    Returns:
        The names; None if a file is not in such a folder.
    """
    level = 1 if below_splits else 0
    parts = [file.relative_to(root).parts[:-1] for file in files]
    if any(len(folders) <= level for folders in parts):
        return None
    return [folders[level] for folders in parts]


def labels_from_file(table: Path, root: Path, files: Sequence[Path]) -> list[str]:
    """Return the label of each file, from a CSV table with the columns file and label.

    A file is named by its path below `root`, or by its name alone. The head of the table may name
    the columns, `file`, `filename`, `file_name`, `path`, or `image`, and `label` or `class`; other
    columns are then allowed. Without these names, the table has two columns, and a first row whose
    file does not exist is a head. The separator is a comma, a semicolon, or a tab.

    Raises:
        DataError: the table cannot be read, or has no label for a file.
    """
    label_of: dict[str, str] = {}
    for name, text in _read_labels(table):
        if not text:
            continue
        if label_of.setdefault(name, text) != text:
            raise DataError(
                f"labels: {table} gives {show(name)} the labels {label_of[name]!r} and {text!r}."
            )
    times = Counter(file.name for file in files)
    labels, missing = [], []
    for file in files:
        relative = _normal(str(file.relative_to(root)))
        label = label_of.get(relative)
        if label is None and file.name in label_of:
            if times[file.name] > 1:
                raise DataError(
                    f"labels: {table} names {show(file.name)}, and {times[file.name]} images have "
                    f"this name; name them by their paths, such as {show(relative)}."
                )
            label = label_of[file.name]
        if label is None:
            missing.append(relative)
        labels.append(label or "")
    if missing:
        raise DataError(
            f"labels: {table} has no label for {len(missing):,} of {len(files):,} images, such as "
            f"{show(missing[0])}; its first column should have these names."
        )
    return labels


def _read_labels(table: Path) -> list[tuple[str, str]]:
    """Return the names of files, as paths with slashes, and the labels in a table."""
    try:
        rows = _read_rows(table.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"labels: {table} cannot be read ({error}).") from error
    head = [text.strip().lower() for text in rows[0]] if rows else []
    file = next((head.index(name) for name in _FILE_COLUMNS if name in head), None)
    label = next((head.index(name) for name in _LABEL_COLUMNS if name in head), None)
    if file is None or label is None:
        file, label, width, first = 0, 1, 2, 0
        advice = "2, a file and its label. If the table has others, name these two file and label."
    else:
        width, first = len(head), 1
        advice = f"{width}, as in the first row. Put quotes around text that has the separator."
    for number, row in enumerate(rows[first:], first + 1):
        if len(row) != width:
            raise DataError(
                f"labels: row {number} of {table} has {len(row)} columns; expected {advice}"
            )
    return [(_normal(row[file].strip()), row[label].strip()) for row in rows[first:]]


def _read_rows(text: str) -> list[list[str]]:
    """Return the rows of a table, split by the first separator that gives all the same width."""
    tables = [
        [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
        for separator in ",;\t"
    ]
    for rows in tables:
        if len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
            return rows
    return max(tables, key=lambda rows: len(rows[0]) if rows else 0)


def _normal(name: str) -> str:
    """Return a path with slashes, without `./`."""
    return str(PurePosixPath(name.replace("\\", "/")))


def warn_of_skipped(reader: str, reasons: Sequence[str]) -> None:
    """Warn of images that were skipped.

    Arguments:
        reader: the name of the function that reads the images, for the message.
        reasons: a message about each image.
    """
    few = "; ".join(reasons[:3])
    more = f"; and {len(reasons) - 3:,} more" if len(reasons) > 3 else ""
    warnings.warn(f"{reader}: {len(reasons):,} images were skipped: {few}{more}", stacklevel=3)
