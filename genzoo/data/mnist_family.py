"""The datasets of the MNIST family, which are stored in IDX files."""

from __future__ import annotations

import shutil
import string
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genzoo.contract import Augmentation, Dataset, LocalPath
from genzoo.data.cache import atomic_data, fetch, home
from genzoo.data.idx import read_idx
from genzoo.errors import DataError, MissingDataError
from genzoo.files import local_path

__all__ = ["Binarize", "emnist", "fashion_mnist", "kmnist", "mnist"]

Binarize = Literal["threshold", "stochastic"] | None
"""The `binarize` argument of a `Dataset`."""

_DEBIAN = Path("/usr/share/datasets")
_STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_DIGITS = tuple(string.digits)
_CLOTHES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
_KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
# In these splits, some capital and small letters that look alike are one class.
_MERGED = (*_DIGITS, *string.ascii_uppercase, *"abdefghnqrt")
_EMNIST_CLASSES = {
    "byclass": (*_DIGITS, *string.ascii_uppercase, *string.ascii_lowercase),
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": tuple(string.ascii_lowercase),
    "digits": _DIGITS,
    "mnist": _DIGITS,
}
# dataset -> base address; file -> SHA-256
_DOWNLOADS = {
    "fashion-mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        {
            "train-images-idx3-ubyte.gz":
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz":
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz":
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz":
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz":
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz":
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz":
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz":
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "kmnist": (
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        {
            "train-images-idx3-ubyte.gz":
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "train-labels-idx1-ubyte.gz":
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "t10k-images-idx3-ubyte.gz":
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "t10k-labels-idx1-ubyte.gz":
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        },
    ),
    "emnist": (
        "https://biometrics.nist.gov/cs_links/EMNIST/",
        {"gzip.zip": "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"},
    ),
}  # fmt: skip


def fashion_mnist(
    folder: LocalPath | None = None,
    *,
    binarize: Binarize = None,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return Fashion-MNIST: 28x28 gray images of clothes in ten classes.

    60,000 are for training and 10,000 are held out.
    Columns: `x`, uint8 `(N, 1, 28, 28)`, and the label `y`, int64 `(N,)`. The class names are
    those of the authors in lower case, "t-shirt" to "ankle boot".

    Arguments:
        folder: the folder of the four IDX files, gzipped or plain. If None, the files come from
            `$GENZOO_DATA/fashion-mnist`, the Debian package dataset-fashion-mnist, or a download
            whose hashes are checked.
        binarize: `"threshold"`, `"stochastic"`, or None, as in `Dataset`.
        dequantize: add uniform noise within a level, as in `Dataset`.
        augment: random changes of training images, as in `Dataset`.

    Raises:
        MissingDataError: a file is missing and cannot be downloaded.
        DataError: a file is damaged.

    References:
        Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, H. Xiao,
            K. Rasul and R. Vollgraf, 2017, https://arxiv.org/abs/1708.07747

    Example:
        >>> fashion_mnist().shape  # doctest: +SKIP
        (1, 28, 28)
        >>> fashion_mnist("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: fashion-mnist: nowhere has no train-images...
    """
    return _read(
        name="fashion-mnist",
        stems=_STEMS,
        folder=folder,
        class_names=_CLOTHES,
        binarize=binarize,
        dequantize=dequantize,
        augment=augment,
    )


def mnist(
    folder: LocalPath | None = None,
    *,
    binarize: Binarize = None,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return MNIST: 28x28 gray images of handwritten digits.

    It has the same splits and columns as `fashion_mnist`, and the class names "0" to "9".

    Arguments:
        folder: the folder of the four IDX files. If None, they come from `$GENZOO_DATA/mnist` or a
            download.
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.
        augment: as in `Dataset`.

    Raises:
        MissingDataError: a file is missing and cannot be downloaded.
        DataError: a file is damaged.

    References:
        Gradient-Based Learning Applied to Document Recognition, Y. LeCun, L. Bottou, Y. Bengio and
            P. Haffner, 1998, https://doi.org/10.1109/5.726791

    Example:
        >>> mnist().shape  # doctest: +SKIP
        (1, 28, 28)
        >>> mnist("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: mnist: nowhere has no train-images-idx3-ubyte.gz ...
    """
    return _read(
        name="mnist",
        stems=_STEMS,
        folder=folder,
        class_names=_DIGITS,
        binarize=binarize,
        dequantize=dequantize,
        augment=augment,
    )


def kmnist(
    folder: LocalPath | None = None,
    *,
    binarize: Binarize = None,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return Kuzushiji-MNIST: 28x28 gray images of cursive Japanese characters in ten classes.

    It has the same splits and columns as `fashion_mnist`. The class names are the modern
    pronunciations, "o" to "wo".

    Arguments:
        folder: the folder of the four IDX files. If None, they come from `$GENZOO_DATA/kmnist` or a
            download.
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.
        augment: as in `Dataset`.

    Raises:
        MissingDataError: a file is missing and cannot be downloaded.
        DataError: a file is damaged.

    References:
        Deep Learning for Classical Japanese Literature, T. Clanuwat et al., 2018,
            https://arxiv.org/abs/1812.01718

    Example:
        >>> kmnist().shape  # doctest: +SKIP
        (1, 28, 28)
        >>> kmnist("nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: kmnist: nowhere has no train-images-idx3-ubyte.gz ...
    """
    return _read(
        name="kmnist",
        stems=_STEMS,
        folder=folder,
        class_names=_KUZUSHIJI,
        binarize=binarize,
        dequantize=dequantize,
        augment=augment,
    )


def emnist(
    split: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"] = "letters",
    *,
    folder: LocalPath | None = None,
    binarize: Binarize = None,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return EMNIST: 28x28 gray images of handwritten letters and digits.

    It has the same columns as `fashion_mnist`. The class names are the characters. In the split
    `"letters"`, capital and small letters are one class; its files count from 1, but `y` counts
    from 0.

    Arguments:
        split: the name of one of EMNIST's six splits, which differ in their classes.
        folder: the folder of the split's four IDX files. If None, they come from
            `$GENZOO_DATA/emnist` or a download of all splits (0.5 GB).
        binarize: as in `Dataset`.
        dequantize: as in `Dataset`.
        augment: as in `Dataset`.

    Raises:
        MissingDataError: a file is missing and cannot be downloaded.
        DataError: a file is damaged.

    References:
        EMNIST: an Extension of MNIST to Handwritten Letters, G. Cohen, S. Afshar, J. Tapson and
            A. van Schaik, 2017, https://arxiv.org/abs/1702.05373

    Example:
        >>> emnist("digits").shape  # doctest: +SKIP
        (1, 28, 28)
        >>> emnist("digits", folder="nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: emnist: nowhere has no emnist-digits-train-images-...
    """
    stems = [f"emnist-{split}-{stem.replace('t10k', 'test')}" for stem in _STEMS]
    # The images are stored transposed, because they were written in Matlab.
    return _read(
        name="emnist",
        stems=stems,
        folder=folder,
        class_names=_EMNIST_CLASSES[split],
        binarize=binarize,
        dequantize=dequantize,
        augment=augment,
        transposed=True,
        first_label=1 if split == "letters" else 0,
    )


def _read(
    *,
    name: str,
    stems: Sequence[str],
    folder: str | None,
    class_names: Sequence[str],
    binarize: Binarize,
    dequantize: bool,
    augment: tuple[Augmentation, ...],
    transposed: bool = False,
    first_label: int = 0,
) -> Dataset:
    paths = _locate(name, stems, folder)
    arrays = [_read_array(path, axes, name) for path, axes in zip(paths, (3, 1, 3, 1), strict=True)]
    splits = []
    for (x, y), path in ((arrays[:2], paths[1]), (arrays[2:], paths[3])):
        labels = y.astype(np.int64) - first_label
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(class_names):
            raise DataError(
                f"{path} holds labels from {y.min()} to {y.max()}, but the {len(class_names)} "
                f"classes of {name} are {first_label} to {len(class_names) - 1 + first_label}."
            )
        splits.append({"x": (x.swapaxes(1, 2) if transposed else x)[:, None], "y": labels})
    train, test = splits
    return Dataset(
        train,
        test,
        binarize=binarize,
        dequantize=dequantize,
        augment=augment,
        metadata={"class_names": tuple(class_names)},
        name=name,
    )


def _read_array(path: Path, axes: int, name: str) -> Any:
    array = read_idx(path)
    if array.ndim != axes or array.dtype != np.uint8:
        raise DataError(
            f"{path} holds {array.dtype} values of shape {array.shape}; {name} needs uint8 with "
            f"{axes} axes."
        )
    return array


def _locate(name: str, stems: Sequence[str], folder: str | None) -> list[Path]:
    """Return the paths of the four files.

    If no folder is named, they come from the data folder, the Debian package, or a download.
    """
    if folder is not None:
        return _locate_in(local_path(folder, f"{name}: folder", DataError), name, stems)
    home_folder = home() / name
    for candidate in (home_folder, _DEBIAN / name):
        paths = [path for stem in stems if (path := _file(candidate, stem))]
        if len(paths) == len(stems):
            return paths
    try:
        return [
            _file(home_folder, stem) or _download(name, home_folder / f"{stem}.gz")
            for stem in stems
        ]
    except DataError as error:
        debian = ""
        if name == "fashion-mnist":
            debian = ", install the Debian package dataset-fashion-mnist"
        ways = f"Put its files into $GENZOO_DATA/{name}{debian}, or name their folder = ..."
        raise MissingDataError(f"{name}: {error}. {ways}") from error


def _locate_in(folder: Path, name: str, stems: Sequence[str]) -> list[Path]:
    paths = []
    for stem in stems:
        path = _file(folder, stem)
        if path is None:
            raise MissingDataError(
                f"{name}: {folder} has no {stem}.gz or {stem}; the four files are "
                f"{', '.join(stems)}."
            )
        paths.append(path)
    return paths


def _file(folder: Path, stem: str) -> Path | None:
    """Return a file by one of its usual names.

    Some archives write `train-images.idx3-ubyte`, put each file in a folder of its own name, or put
    all files in `raw`.
    """
    stems = (stem, stem.replace("-idx", ".idx"))
    names = [f"{one}{suffix}" for one in stems for suffix in (".gz", "")]
    names += [f"{one}/{name}" for one in stems for name in names[:4]]
    paths = (place / name for place in (folder, folder / "raw") for name in names)
    return next((path for path in paths if path.is_file()), None)


def _download(name: str, path: Path) -> Path:
    base, hashes = _DOWNLOADS[name]
    if path.name in hashes:
        fetch(f"{base}{path.name}", hashes[path.name], path)
        return path
    # A single archive holds all files.
    ((archive, sha256),) = hashes.items()
    fetch(f"{base}{archive}", sha256, path.with_name(archive))
    with (
        zipfile.ZipFile(path.with_name(archive)) as bundle,
        bundle.open(f"gzip/{path.name}") as source,
        atomic_data(path) as temporary,
        temporary.open("wb") as target,
    ):
        shutil.copyfileobj(source, target)
    return path
