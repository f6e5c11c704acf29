"""The MNIST family, and the IDX format that it is stored in."""

from __future__ import annotations

import gzip
import math
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genzoo.data.cache import fetch, home, replacing
from genzoo.dataset import Dataset
from genzoo.errors import DataError

Binarize = Literal["threshold", "stochastic"] | None

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DEBIAN = Path("/usr/share/datasets")
_STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_DOWNLOADS = {  # base address; file -> MD5
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "kmnist": (
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        {
            "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
            "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
            "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
            "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
        },
    ),
    "emnist": ("https://biometrics.nist.gov/cs_links/EMNIST/", {"gzip.zip": "58c8d27c78d21e728a6bc7b3cc06412e"}),
}


def read_idx(path: str | Path) -> Any:
    """The array in an IDX file, gzipped or plain: any of the format's six types, in this machine's byte order.

    The header is two zero bytes, a type code, the number of axes, and the size of each as a big-endian uint32; the values follow,
    and nothing after them.

    Raises:
        DataError: the file is missing or damaged, or its header and its length disagree.

    References:
        Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST Database of Handwritten Digits. http://yann.lecun.com/exdb/mnist/

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = Path(file.name).write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
        ...     read_idx(file.name)
        array([5, 0, 4], dtype=uint8)
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:  # a bad gzip file is an OSError
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        codes = ", ".join(f"{code:02x}" for code in _TYPES)
        raise DataError(f"{path} is no IDX file: it should begin with 00 00, a type code ({codes}) and the number of axes, "
                        f"and begins with {content[:4].hex(' ') or 'nothing'}.")  # fmt: skip
    kind, start = np.dtype(_TYPES[content[2]]), 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{path} is cut short: a header of {content[3]} axes takes {start} bytes, the file has {len(content)}.")
    axes = tuple(int.from_bytes(content[i : i + 4]) for i in range(4, start, 4))
    expected = math.prod(axes) * kind.itemsize
    if len(content) - start != expected:
        raise DataError(f"{path}: its header promises {axes} values of {kind.itemsize} bytes, {expected} bytes in all, "
                        f"and {len(content) - start} follow.")  # fmt: skip
    return np.frombuffer(content, kind, offset=start).reshape(axes).astype(kind.newbyteorder("="))


def fashion_mnist(folder: str | None = None, binarize: Binarize = None, dequantize: bool = False) -> Dataset:
    """Fashion-MNIST: 28x28 grey pictures of clothes in ten classes, 60,000 to train on and 10,000 held out.

    Columns: `x`, uint8 `(N, 1, 28, 28)`, and the label `y`, int64 `(N,)`.

    Arguments:
        folder: where the four IDX files lie, gzipped or plain. If None: `$GENZOO_DATA/fashion-mnist`, the Debian package
            dataset-fashion-mnist, or else a download, whose hashes are checked.
        binarize: `"threshold"`, `"stochastic"` or None, as in `Dataset`.
        dequantize: add uniform noise within a level, as in `Dataset`.

    Raises:
        DataError: a file is missing or damaged, or cannot be downloaded.

    References:
        H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, 2017.
        https://arxiv.org/abs/1708.07747

    Example:
        >>> fashion_mnist("nowhere")
        Traceback (most recent call last):
        genzoo.errors.DataError: fashion-mnist: nowhere has no train-images-idx3-ubyte.gz ...
    """
    return _read("fashion-mnist", _STEMS, folder, binarize, dequantize)


def mnist(folder: str | None = None, binarize: Binarize = None, dequantize: bool = False) -> Dataset:
    """MNIST: 28x28 grey handwritten digits, 60,000 to train on and 10,000 held out; everything else as in `fashion_mnist`.

    Arguments:
        folder: where the four IDX files lie. If None: `$GENZOO_DATA/mnist`, or else a download.
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.

    Raises:
        DataError: a file is missing or damaged, or cannot be downloaded.

    References:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-Based Learning Applied to Document Recognition, 1998.
        https://doi.org/10.1109/5.726791

    Example:
        >>> mnist("nowhere")
        Traceback (most recent call last):
        genzoo.errors.DataError: mnist: nowhere has no train-images-idx3-ubyte.gz ...
    """
    return _read("mnist", _STEMS, folder, binarize, dequantize)


def kmnist(folder: str | None = None, binarize: Binarize = None, dequantize: bool = False) -> Dataset:
    """Kuzushiji-MNIST: 28x28 grey cursive Japanese characters in ten classes; everything else as in `fashion_mnist`.

    Arguments:
        folder: where the four IDX files lie. If None: `$GENZOO_DATA/kmnist`, or else a download.
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.

    Raises:
        DataError: a file is missing or damaged, or cannot be downloaded.

    References:
        T. Clanuwat et al., Deep Learning for Classical Japanese Literature, 2018. https://arxiv.org/abs/1812.01718

    Example:
        >>> kmnist("nowhere")
        Traceback (most recent call last):
        genzoo.errors.DataError: kmnist: nowhere has no train-images-idx3-ubyte.gz ...
    """
    return _read("kmnist", _STEMS, folder, binarize, dequantize)


def emnist(
    split: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"] = "letters",
    folder: str | None = None,
    binarize: Binarize = None,
    dequantize: bool = False,
) -> Dataset:
    """EMNIST: 28x28 grey handwritten letters and digits; columns as in `fashion_mnist`, labels as stored (letters count from 1).

    Arguments:
        split: which of the six ways to class the characters.
        folder: where the split's four IDX files lie. If None: `$GENZOO_DATA/emnist`, or else a download of all splits (0.5 GB).
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.

    Raises:
        DataError: a file is missing or damaged, or cannot be downloaded.

    References:
        G. Cohen, S. Afshar, J. Tapson, A. van Schaik, EMNIST: an Extension of MNIST to Handwritten Letters, 2017.
        https://arxiv.org/abs/1702.05373

    Example:
        >>> emnist("digits", folder="nowhere")
        Traceback (most recent call last):
        genzoo.errors.DataError: emnist: nowhere has no emnist-digits-train-images-idx3-ubyte.gz ...
    """
    stems = [f"emnist-{split}-{stem.replace('t10k', 'test')}" for stem in _STEMS]
    # The files are transposed, a leftover of the Matlab code that wrote them.
    return _read("emnist", stems, folder, binarize, dequantize, transposed=True)


def _read(
    name: str, stems: Sequence[str], folder: str | None, binarize: Binarize, dequantize: bool, transposed: bool = False
) -> Dataset:
    arrays = []
    for path, axes in zip(_locate(name, stems, folder), (3, 1, 3, 1), strict=True):
        array = read_idx(path)
        if array.ndim != axes or array.dtype != np.uint8:
            raise DataError(f"{path} holds {array.dtype} values of shape {array.shape}; {name} needs uint8 with {axes} axes.")
        arrays.append((array.swapaxes(1, 2) if transposed else array)[:, None] if axes == 3 else array.astype(np.int64))
    x, y, test_x, test_y = arrays
    return Dataset({"x": x, "y": y}, {"x": test_x, "y": test_y}, binarize=binarize, dequantize=dequantize, name=name)


def _locate(name: str, stems: Sequence[str], folder: str | None) -> list[Path]:
    """The four files: in the folder that was named; else at home, where Debian puts them, or downloaded."""
    places = (home() / name, _DEBIAN / name) if folder is None else (Path(folder).expanduser(),)
    for place in places:
        found = [path for stem in stems if (path := _file(place, stem))]
        if len(found) == len(stems):
            return found
    if folder is not None:
        missing = next(stem for stem in stems if not _file(places[0], stem))
        raise DataError(f"{name}: {folder} has no {missing}.gz (nor {missing}); the four files are {', '.join(stems)}.")
    try:
        return [_file(places[0], stem) or _download(name, places[0] / f"{stem}.gz") for stem in stems]
    except DataError as error:
        debian = ", install the Debian package dataset-fashion-mnist" if name == "fashion-mnist" else ""
        ways = f"Put its files into $GENZOO_DATA/{name}{debian}, or name their folder = ..."
        raise DataError(f"{name}: {error}. {ways}") from error


def _file(folder: Path, stem: str) -> Path | None:
    return next((path for path in (folder / f"{stem}.gz", folder / stem) if path.is_file()), None)


def _download(name: str, path: Path) -> Path:
    base, hashes = _DOWNLOADS[name]
    if path.name in hashes:
        fetch(f"{base}{path.name}", hashes[path.name], path)
        return path
    ((archive, md5),) = hashes.items()  # one archive holds all the files
    fetch(f"{base}{archive}", md5, path.with_name(archive))
    with (
        zipfile.ZipFile(path.with_name(archive)) as bundle,
        bundle.open(f"gzip/{path.name}") as source,
        replacing(path) as temporary,
        temporary.open("wb") as target,
    ):
        shutil.copyfileobj(source, target)
    return path
