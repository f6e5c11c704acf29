"""Samples of other programs: images, arrays, and ONNX generators, as models that only sample."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.contract import Dataset, Model, Shape
from genzoo.contract.inputs import fits
from genzoo.data.arrays import as_tensor
from genzoo.data.image_files import SUFFIXES, find_images
from genzoo.data.picture_pixels import as_shape, check_picture_shape, read_pixels
from genzoo.errors import DataError, GenzooError, SettingError, describe, show
from genzoo.metrics.onnx_generator import OnnxGenerator
from genzoo.metrics.sample_values import check_values, oriented, scaled

__all__ = ["Samples", "read_samples"]


class Samples(Model):
    """A fixed set of samples of another program, as a model that can only sample.

    `genzoo.evaluate` builds one for a folder of images or an array.

    Arguments:
        x: the samples in the order of the data's axes, `(n, *shape)`, uint8 or floats.
        column: the column of the data that they are compared with.
        value_range: the numbers that stand for 0 and 1. By default, 0 and 255 for uint8, and 0 and
            1 for floats.

    Example:
        >>> samples = Samples(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
        >>> samples.sample(1)
        tensor([[[[0., 1.]]]])
    """

    def __init__(
        self, x: Tensor, column: str = "x", value_range: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.x, self.shape, self.inputs = x, tuple(x.shape[1:]), (column,)
        self.value_range = value_range
        self.register_buffer("like", torch.zeros((), dtype=torch.float32), persistent=False)

    def __len__(self) -> int:
        return len(self.x)

    def extra_repr(self) -> str:
        return f"{len(self):,} of shape {self.shape}"

    @torch.no_grad()
    def sample(self, n: int, given: Any = None) -> Tensor:  # noqa: ARG002
        """Return `n` different samples, `(n, *shape)`, chosen with torch's default generator.

        Raises:
            SettingError: there are fewer than `n`.
        """
        if n > len(self):
            raise SettingError(f"sample({n}): there are only {len(self)} samples; take fewer.")
        rows = torch.randperm(len(self), device="cpu")[:n].sort().values
        values = scaled(self.x[rows], self.value_range, self.shape)
        return values.to(self.reference_tensor.device)


def read_samples(
    source: Any, dataset: Dataset, value_range: tuple[float, float] | None = None
) -> Samples | OnnxGenerator:
    """Return the samples of another program as a model that can only sample.

    Arguments:
        source: a tensor or array, or the path of a folder of images, of a `.npy`, `.npz`, or
            `.onnx` file. Samples are uint8 or floats, `(n, *shape)`. Images may have their channels
            last, or no axis for a single channel.
        dataset: the data to compare with. The samples have the shape of its first column.
        value_range: the numbers that stand for 0 and 1. By default, 0 and 255 for uint8, and 0 and
            1 for floats.

    Raises:
        DataError: the samples cannot be read, or they have another shape or range than the data.
        GenzooError: onnxruntime is needed and not installed.
        SettingError: `value_range` is not a pair of increasing numbers.
    """
    if value_range is not None and not value_range[0] < value_range[1]:
        raise SettingError(
            f"value_range = {show(value_range)}: expected two increasing numbers, as in (-1, 1)."
        )
    column, shape, name = next(iter(dataset.train)), dataset.shape, str(source)
    if not isinstance(source, str | os.PathLike):
        x, name = as_tensor(source, "samples"), "samples"
    elif Path(source).suffix == ".onnx":
        return OnnxGenerator(name, shape, column, value_range, dataset.levels)
    elif Path(source).is_dir():
        x = _pictures(Path(source), shape, dataset.name)
    else:
        x = _array(Path(source), column)
    x = oriented(x, shape, name, dataset.name)
    check_values(x, value_range, shape, name, dataset.levels)
    return Samples(x, column, value_range)


def _pictures(folder: Path, shape: Shape, data: str) -> Tensor:
    """Return the images of a folder, uint8 `(n, *shape)`.

    Raises:
        DataError: the data are not images, or a picture has another size, is in color although
            the data are gray, or cannot be read.
    """
    owner = f"a comparison with {data}"
    check_picture_shape(shape, owner, "pass the samples as an array, in a .npy file")
    way = "convert the picture, or compare with data of its size and colors"
    files = find_images(folder)
    size = (len(files), *shape)
    fits(int(np.prod(size)), torch.empty(0, dtype=torch.uint8), f"reading {len(files):,} pictures")
    images = np.empty(size, dtype=np.uint8)
    for row, file in zip(images, files, strict=True):
        row[...] = as_shape(read_pixels(file), shape, file, owner, way)
    return torch.from_numpy(images)


def _array(path: Path, column: str) -> Tensor:
    """Return the array in a file.

    Raises:
        DataError: the file cannot be read, or it is not clear which of its arrays to take.
    """
    if path.suffix not in (".npy", ".npz"):
        raise DataError(
            f"{path} has no known format; samples are a folder of images ({', '.join(SUFFIXES)}), "
            "or a file that ends in .npy, .npz, or .onnx."
        )
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return as_tensor(loaded, str(path))
        with loaded:
            names = loaded.files
            wanted = [name for name in (column, "arr_0", *names) if name in names]
            if not wanted or (len(names) > 1 and wanted[0] not in (column, "arr_0")):
                raise DataError(
                    f"{path} holds the arrays {', '.join(names) or '(none)'}; name the samples "
                    f"{column!r} or 'arr_0'."
                )
            return as_tensor(loaded[wanted[0]], f"{path}, array {wanted[0]!r}")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, GenzooError):
            raise
        raise DataError(
            f"{path} cannot be read as an array ({describe(error)}); write it with np.save."
        ) from error
