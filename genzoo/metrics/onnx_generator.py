"""Generators in ONNX files, as models that only sample."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Model, Positive, Shape
from genzoo.data.arrays import as_tensor
from genzoo.errors import DataError, GenzooError, show
from genzoo.metrics.sample_values import check_values, oriented, scaled

__all__ = ["OnnxGenerator"]

_NOISE = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
}
_AT_ONCE = 500
"""The number of samples per call of a generator whose batch size is free."""


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
            x = oriented(self._run(noise), self.shape, self.path, "the data")
            check_values(x, self.value_range, self.shape, self.path, self.levels_of_data)
            parts.append(scaled(x, self.value_range, self.shape))
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
