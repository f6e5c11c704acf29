"""The Street View House Numbers dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genzoo.contract import Augmentation, Dataset, LocalPath
from genzoo.data.cache import fetch, home
from genzoo.errors import DataError, MissingDataError
from genzoo.files import local_path

__all__ = ["svhn"]

_BASE = "http://ufldl.stanford.edu/housenumbers/"
"""The server has no HTTPS, so the digests are what makes the download safe."""
_FILES = {
    "train_32x32.mat": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "md5:eb5a983be6a315427106f1b164d9cef3",
}


def svhn(
    folder: LocalPath | None = None,
    *,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return SVHN: 32x32 color images of digits in house numbers.

    73,257 are for training and 26,032 are held out.
    Columns: `x`, uint8 `(N, 3, 32, 32)`, and the label `y`, int64 `(N,)`. The label of the digit 0,
    which is stored as 10, is 0.

    Arguments:
        folder: the folder of `train_32x32.mat` and `test_32x32.mat`. If None, they come from
            `$GENZOO_DATA/svhn` or a download of 246 MB, whose published MD5 is checked.
        dequantize: add uniform noise within a level, as in `Dataset`.
        augment: random changes of training images, as in `Dataset`.

    Raises:
        MissingDataError: a file is missing and cannot be downloaded.
        DataError: a file is damaged.

    References:
        Reading Digits in Natural Images with Unsupervised Feature Learning, Y. Netzer, T. Wang,
            A. Coates, A. Bissacco, B. Wu and A. Y. Ng, 2011,
            http://ufldl.stanford.edu/housenumbers/

    Example:
        >>> svhn().shape  # doctest: +SKIP
        (3, 32, 32)
        >>> svhn("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: svhn: ...nowhere has no train_32x32.mat; ...
    """
    place = home() / "svhn" if folder is None else local_path(folder, "svhn: folder", DataError)
    paths = [place / name for name in _FILES]
    for path in paths:
        if path.is_file():
            continue
        if folder is not None:
            raise MissingDataError(f"svhn: {place} has no {path.name}; download {_BASE}{path.name}")
        try:
            fetch(f"{_BASE}{path.name}", _FILES[path.name], path)
        except DataError as error:
            raise MissingDataError(
                f"svhn: {error}. Put {' and '.join(_FILES)} into $GENZOO_DATA/svhn, or name their "
                "folder = ..."
            ) from error
    train, test = map(_read, paths)
    return Dataset(
        train,
        test,
        dequantize=dequantize,
        augment=augment,
        metadata={"class_names": tuple("0123456789")},
        name="svhn",
    )


def _read(path: Path) -> dict[str, Any]:
    """Return the columns in a MATLAB file: X, uint8 `(32, 32, 3, N)`, and y, `(N, 1)`, 1 to 10."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=("X", "y"))
    # scipy raises errors of many types for damaged files
    except Exception as error:
        raise DataError(f"{path} cannot be read as a MATLAB file: {error}") from error
    x, y = (np.asarray(content.get(name, ())) for name in ("X", "y"))
    if x.ndim != 4 or x.shape[2] != 3 or x.dtype != np.uint8 or y.size != x.shape[3]:
        raise DataError(
            f"{path} holds X of {x.dtype} and shape {x.shape}, and {y.size:,} labels; svhn needs "
            "uint8 (height, width, 3, N) and N labels."
        )
    labels = y.reshape(-1).astype(np.int64)
    if not 1 <= labels.min() <= labels.max() <= 10:
        raise DataError(f"{path} holds labels from {labels.min()} to {labels.max()}, not 1 to 10.")
    return {"x": np.ascontiguousarray(x.transpose(3, 2, 0, 1)), "y": labels % 10}
