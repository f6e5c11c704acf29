"""CIFAR-10 and CIFAR-100, from the binary version of their files."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genzoo.contract import Augmentation, Dataset, LocalPath
from genzoo.data.cache import atomic_data, fetch, home
from genzoo.errors import DataError, MissingDataError
from genzoo.files import local_path

__all__ = ["cifar10", "cifar100"]

_BASE = "https://www.cs.toronto.edu/~kriz/"
_PIXELS = 3 * 32 * 32
_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


@dataclass(frozen=True)
class _Version:
    """The files of a dataset."""

    name: str
    archive: str
    digest: str
    """The published digest of the archive."""
    folder: str
    """The folder of the files in the archive."""
    train: Sequence[str]
    test: Sequence[str]
    texts: Sequence[str] = ()


_CIFAR10 = _Version(
    "cifar10",
    "cifar-10-binary.tar.gz",
    "md5:c32a1d4ab5d03f1284b67883e8d87530",
    "cifar-10-batches-bin",
    [f"data_batch_{number}.bin" for number in range(1, 6)],
    ["test_batch.bin"],
)
_CIFAR100 = _Version(
    "cifar100",
    "cifar-100-binary.tar.gz",
    "md5:03b5dce01913d631647c71ecec9e9cb8",
    "cifar-100-binary",
    ["train.bin"],
    ["test.bin"],
    ["coarse_label_names.txt", "fine_label_names.txt"],
)


def cifar10(
    folder: LocalPath | None = None,
    *,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return CIFAR-10: 32x32 color images of animals and vehicles in ten classes.

    50,000 are for training and 10,000 are held out.
    Columns: `x`, uint8 `(N, 3, 32, 32)`, and the label `y`, int64 `(N,)`.

    Arguments:
        folder: the folder of the binary version: of its `.bin` files, or of the archive
            `cifar-10-binary.tar.gz`. If None, the files come from `$GENZOO_DATA/cifar10` or a
            download of 162 MB, whose published MD5 is checked.
        dequantize: add uniform noise within a level, as in `Dataset`.
        augment: random changes of training images, as in `Dataset`.

    Raises:
        MissingDataError: a file is missing and cannot be downloaded.
        DataError: a file is damaged.

    References:
        Learning Multiple Layers of Features from Tiny Images, A. Krizhevsky, 2009,
            https://www.cs.toronto.edu/~kriz/cifar.html

    Example:
        >>> cifar10().shape  # doctest: +SKIP
        (3, 32, 32)
        >>> cifar10("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: cifar10: ...nowhere has no data_batch_1.bin ...
    """
    files = _open(_CIFAR10, folder)
    splits = [_read(_CIFAR10, files, names, 1, 0, 10) for names in (_CIFAR10.train, _CIFAR10.test)]
    return _dataset("cifar10", splits, _CLASSES, dequantize=dequantize, augment=augment)


def cifar100(
    folder: LocalPath | None = None,
    *,
    labels: Literal["fine", "coarse"] = "fine",
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return CIFAR-100: 32x32 color images in 100 classes, or in 20 groups of classes.

    It has the same splits and columns as `cifar10`.

    Arguments:
        folder: the folder of the binary version, or of the archive `cifar-100-binary.tar.gz`. If
            None, the files come from `$GENZOO_DATA/cifar100` or a download of 161 MB.
        labels: `"fine"` for the 100 classes, or `"coarse"` for the 20 groups.
        dequantize: as in `Dataset`.
        augment: as in `Dataset`.

    Raises:
        MissingDataError: a file is missing and cannot be downloaded.
        DataError: a file is damaged.

    References:
        Learning Multiple Layers of Features from Tiny Images, A. Krizhevsky, 2009,
            https://www.cs.toronto.edu/~kriz/cifar.html

    Example:
        >>> cifar100().shape  # doctest: +SKIP
        (3, 32, 32)
        >>> cifar100("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: cifar100: ...nowhere has no train.bin ...
    """
    files = _open(_CIFAR100, folder)
    names = files[f"{labels}_label_names.txt"].decode(errors="replace").split()
    index = ("coarse", "fine").index(labels)
    splits = [
        _read(_CIFAR100, files, split, 2, index, len(names))
        for split in (_CIFAR100.train, _CIFAR100.test)
    ]
    return _dataset("cifar100", splits, names, dequantize=dequantize, augment=augment)


def _dataset(
    name: str, splits: Sequence[dict[str, Any]], names: Sequence[str], **settings: Any
) -> Dataset:
    train, test = splits
    return Dataset(train, test, metadata={"class_names": tuple(names)}, name=name, **settings)


def _read(
    version: _Version,
    files: dict[str, bytes],
    names: Sequence[str],
    label_bytes: int,
    index: int,
    classes: int,
) -> dict[str, Any]:
    """Return the columns of a split. A record is the labels, then the pixels of an image."""
    length = label_bytes + _PIXELS
    parts = []
    for name in names:
        content = np.frombuffer(files[name], np.uint8)
        if not len(content) or len(content) % length:
            raise DataError(
                f"{version.name}: {name} has {len(content):,} bytes; expected a multiple of "
                f"{length:,}, for each image its labels and pixels."
            )
        parts.append(content.reshape(-1, length))
    records = np.concatenate(parts)
    labels = records[:, index].astype(np.int64)
    if labels.max() >= classes:
        raise DataError(
            f"{version.name}: {names[0]} has the label {labels.max()}, but labels are 0 to "
            f"{classes - 1}."
        )
    return {"x": records[:, label_bytes:].reshape(-1, 3, 32, 32), "y": labels}


def _open(version: _Version, folder: str | None) -> dict[str, bytes]:
    """Return the content of each file, from a folder, the data folder, or a download."""
    wanted = [*version.train, *version.test, *version.texts]
    if folder is not None:
        path = local_path(folder, f"{version.name}: folder", DataError)
        contents = _in_folder(version, path, wanted) or _in_archive(version, path, wanted)
        if contents is None:
            python = version.folder.replace("-bin", "-py").replace("-binary", "-python")
            hint = ""
            if (path / python).is_dir():
                hint = f" {python} is the Python version, whose pickles genzoo does not open;"
            raise MissingDataError(
                f"{version.name}: {path} has no {wanted[0]} or {version.archive};{hint} download "
                f"{_BASE}{version.archive}."
            )
        return contents
    place = home() / version.name
    contents = _in_folder(version, place, wanted)
    if contents is None:
        try:
            fetch(f"{_BASE}{version.archive}", version.digest, place / version.archive)
        except DataError as error:
            raise MissingDataError(
                f"{version.name}: {error}. Put {version.archive} into $GENZOO_DATA/"
                f"{version.name}, or name its folder = ..."
            ) from error
        contents = _in_archive(version, place, wanted)
        assert contents is not None
        for name, content in contents.items():
            with atomic_data(place / name) as temporary:
                temporary.write_bytes(content)
    return contents


def _in_folder(version: _Version, folder: Path, wanted: Sequence[str]) -> dict[str, bytes] | None:
    """Return the content of the files if a folder has all of them."""
    for place in (folder, folder / version.folder):
        paths = {name: place / name for name in wanted}
        if all(path.is_file() for path in paths.values()):
            return {name: path.read_bytes() for name, path in paths.items()}
    return None


def _in_archive(version: _Version, folder: Path, wanted: Sequence[str]) -> dict[str, bytes] | None:
    """Return the content of the files if a folder has the archive."""
    path = folder / version.archive
    if not path.is_file():
        return None
    contents = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                if name in wanted and (file := archive.extractfile(member)) is not None:
                    contents[name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    missing = [name for name in wanted if name not in contents]
    if missing:
        raise DataError(f"{path} has no {missing[0]}; download {_BASE}{version.archive} again.")
    return contents
