"""Samples of other programs: images, arrays, and ONNX generators, as models that only sample."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.contract import Dataset, Model, Positive, Shape, is_image
from genzoo.contract.inputs import fits
from genzoo.data.arrays import as_tensor
from genzoo.data.image_files import SUFFIXES, find_images
from genzoo.data.image_reader import open_image
from genzoo.errors import DataError, GenzooError, SettingError, show

__all__ = ["OnnxGenerator", "Samples", "read_samples"]

_ROUNDING = 1e-4
"""The largest distance of a float image to its range that counts as a rounding error."""
_NOISE = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
}
_AT_ONCE = 500
"""The number of samples per call of a generator whose batch size is free."""


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
        scaled = _scaled(self.x[rows], self.value_range, self.shape)
        return scaled.to(self.reference_tensor.device)


class OnnxGenerator(Model):
    """A generator in an ONNX file, as a model that can only sample. It runs on the CPU.

    `genzoo.evaluate` builds one for a file that ends in `.onnx`. The file maps noise `(n, ...)` to
    samples, its first output. The noise is normal and comes from torch's default generator. The
    extra `onnx` installs onnxruntime.

    Arguments:
        path: the file.
        shape: the shape of one sample. Images in the file may have their channels last.
        column: the column of the data that the samples are compared with.
        value_range: the numbers that stand for 0 and 1, such as (-1, 1) after a tanh.
        levels: the number of levels of the data. Samples of uint8 that look like levels instead of
            0 to 255 are an error.

    Raises:
        GenzooError: onnxruntime is not installed.
        DataError: the file cannot be read, does not have a single input of noise, or generates
            samples of another shape or range.
    """

    def __init__(
        self,
        path: str,
        shape: Shape,
        column: str = "x",
        value_range: tuple[float, float] | None = None,
        levels: Positive = 256,
    ) -> None:
        super().__init__()
        self.levels_of_data = levels
        self.path, self.shape, self.inputs = path, tuple(shape), (column,)
        self.value_range = value_range
        self.register_buffer("like", torch.zeros((), dtype=torch.float32), persistent=False)
        self.session = _session(path)
        self.noise, self.fixed_size, self.noise_shape, self.dtype = _noise(self.session, path)
        with torch.random.fork_rng(devices=[]):
            self.sample(2)

    @torch.no_grad()
    def sample(self, n: int, given: Any = None) -> Tensor:  # noqa: ARG002
        """Generate `n` samples, `(n, *shape)`, in [0, 1] if they are images.

        Raises:
            DataError: the generator fails, or the samples have another shape or range.
        """
        parts = []
        for begin in range(0, n, self.fixed_size or _AT_ONCE):
            size = self.fixed_size or min(n - begin, _AT_ONCE)
            shape = (size, *self.noise_shape)
            noise = torch.randn(shape, dtype=torch.float32, device="cpu").to(self.dtype)
            x = _oriented(self._run(noise), self.shape, self.path, "the data")
            _check_values(x, self.value_range, self.shape, self.path, self.levels_of_data)
            parts.append(_scaled(x, self.value_range, self.shape))
        rows = torch.cat(parts)[:n] if parts else torch.zeros(0, *self.shape)
        return rows.to(self.reference_tensor.device)

    def _run(self, noise: Tensor) -> Tensor:
        """Return the first output of the file.

        Raises:
            DataError: it cannot be computed.
        """
        try:
            output = self.session.run(None, {self.noise: noise.numpy()})[0]
        except Exception as error:  # onnxruntime derives its errors from Exception
            raise DataError(
                f"{self.path}: the generator fails for noise of shape {tuple(noise.shape)} "
                f"({_first_line(error)}); export it again."
            ) from error
        return as_tensor(output, self.path)


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
    x = _oriented(x, shape, name, dataset.name)
    _check_values(x, value_range, shape, name, dataset.levels)
    return Samples(x, column, value_range)


def _pictures(folder: Path, shape: Shape, data: str) -> Tensor:
    """Return the images of a folder, uint8 `(n, *shape)`.

    Raises:
        DataError: a picture has another size than the data, is in color although the data are
            gray, has more than 8 bits per channel, or cannot be read.
    """
    if not is_image(shape) or shape[0] not in (1, 3):
        raise DataError(
            f"{folder} holds pictures, but {data} has examples of shape {shape}; pass the samples "
            "as an array, in a .npy file."
        )
    files = find_images(folder)
    size = (len(files), *shape)
    fits(int(np.prod(size)), torch.empty(0, dtype=torch.uint8), f"reading {len(files):,} pictures")
    images = np.empty(size, dtype=np.uint8)
    for row, file in zip(images, files, strict=True):
        row[...] = _picture(file, shape, data)
    return torch.from_numpy(images)


def _picture(file: Path, shape: Shape, data: str) -> Any:
    """Return the pixels of a picture, uint8 `(C, H, W)`, unchanged."""
    channels, height, width = shape
    image = open_image(file)
    if (image.height, image.width) != (height, width):
        raise DataError(
            f"{file} has {image.height} x {image.width} pixels, but the images of {data} have "
            f"{height} x {width}; resize it, or compare with data of its size."
        )
    pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    if channels == 1 and (pixels != pixels[:1]).any():
        raise DataError(
            f"{file} is in color, but the images of {data} are gray; convert it, or compare with "
            "data in color."
        )
    return pixels[:channels]


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
            f"{path} cannot be read as an array ({_first_line(error)}); write it with np.save."
        ) from error


def _oriented(x: Tensor, shape: Shape, source: str, data: str) -> Tensor:
    """Return samples in the order of the data's axes, `(n, *shape)`.

    Raises:
        DataError: there are none, or they have another shape.
    """
    row = tuple(x.shape[1:])
    if x.dim() == len(shape) + 1 and row != tuple(shape) and is_image(shape):
        channels_last = (*shape[1:], shape[0])
        x = x.permute(0, 3, 1, 2) if row == channels_last else x
    elif row == tuple(shape[1:]) and is_image(shape) and shape[0] == 1:
        x = x[:, None]
    if tuple(x.shape[1:]) != tuple(shape):
        raise DataError(
            f"{source} holds samples of shape {row}, but {data} has examples of shape "
            f"{tuple(shape)}; resize the samples, or compare with data of their shape."
        )
    if not len(x):
        raise DataError(f"{source} holds no samples.")
    return x


def _check_values(
    x: Tensor,
    value_range: tuple[float, float] | None,
    shape: Shape,
    source: str,
    levels: int,
) -> None:
    """Check the type and the range of samples.

    Raises:
        DataError: they are not uint8 or floats, not finite, or images outside their range.
    """
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise DataError(
            f"{source} holds {str(x.dtype).removeprefix('torch.')}; save uint8 (0 to 255) or "
            "floats (0 to 1)."
        )
    low, high = x.min().item(), x.max().item()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{source} holds a value that is not finite; leave such samples out.")
    if not is_image(shape):
        return
    span = f"{source}: the values span {low:g} to {high:g}"
    if value_range is not None:
        least, most = value_range
        slack = _ROUNDING * (most - least)
        if low < least - slack or high > most + slack:
            raise DataError(f"{span}, which exceeds value_range = ({least:g}, {most:g}).")
    elif x.dtype == torch.uint8:
        # Levels of the data, or bits, would look almost black.
        most = levels - 1 if levels < 256 else 1
        if 0 < high <= most:
            # Data of levels may be binarized, so zeros and ones are bits.
            most = 1 if high <= 1 else most
            raise DataError(
                f"{span}, but uint8 stands for 0 to 255; state the range, as in value_range=(0, "
                f"{most}) (--range 0 {most})."
            )
    elif low < -_ROUNDING or high > 1 + _ROUNDING:
        guess = "(-1, 1) (--range -1 1)" if low < -_ROUNDING else "(0, 255) (--range 0 255)"
        raise DataError(
            f"{span}, but float images are in [0, 1]; state their range, as in value_range={guess}."
        )


def _scaled(x: Tensor, value_range: tuple[float, float] | None, shape: Shape) -> Tensor:
    """Return samples as float32; images are in [0, 1]."""
    low, high = value_range or (0.0, 255.0 if x.dtype == torch.uint8 else 1.0)
    scaled = (x.to(torch.float32) - low) / (high - low)
    return scaled.clamp_(0, 1) if is_image(shape) else scaled


def _session(path: str) -> Any:
    """Return an ONNX file as a session on the CPU.

    Raises:
        GenzooError: onnxruntime is not installed.
        DataError: the file cannot be read.
    """
    try:
        import onnxruntime
    except ImportError:
        raise GenzooError(
            f"{path} needs onnxruntime; install it with: pip install 'genzoo[onnx]'."
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime derives its errors from Exception
        raise DataError(
            f"{path} cannot be read as an ONNX model ({_first_line(error)}); export it again."
        ) from error


def _noise(session: Any, path: str) -> tuple[str, int | None, tuple[int, ...], torch.dtype]:
    """Return the name of the noise, its batch size unless it is free, its shape, and its dtype.

    Raises:
        DataError: the file does not have a single input of noise, or it is not normal noise.
    """
    _check_distribution(session, path)
    inputs = session.get_inputs()
    names = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
    if len(inputs) != 1 or inputs[0].type not in _NOISE:
        raise DataError(
            f"{path} has the inputs {names or '(none)'}; export a generator with one input, the "
            "noise, in floating point."
        )
    shape = inputs[0].shape
    if len(shape) < 2 or not all(isinstance(size, int) for size in shape[1:]):
        raise DataError(
            f"{path} has the input {names}; only its first axis, the number of samples, may be "
            "free: export it with a fixed size of the noise."
        )
    size = shape[0] if isinstance(shape[0], int) else None
    return inputs[0].name, size, tuple(shape[1:]), _NOISE[inputs[0].type]


def _check_distribution(session: Any, path: str) -> None:
    """Check that a file of `genzoo.export` takes standard normal noise; others do not say it.

    Raises:
        DataError: its latent vectors have another distribution.
    """
    try:
        facts = json.loads(session.get_modelmeta().custom_metadata_map["genzoo"])
        distribution = facts["z"]["distribution"]
        name, scale = distribution["name"], distribution.get("scale", 1.0)
    except (KeyError, ValueError, TypeError, AttributeError):
        return
    if name != "normal" or scale != 1.0:
        raise DataError(
            f"{path} takes latent vectors from the distribution {show(distribution)}, and a "
            "generator is evaluated with standard normal noise; evaluate the run itself."
        )


def _first_line(error: BaseException) -> str:
    """Return the first line of an error message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
