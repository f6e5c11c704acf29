"""The IDX file format, in which the datasets of the MNIST family are stored."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from genzoo.data.cache import read_at_most, unpacked
from genzoo.errors import DataError
from genzoo.files import local_path

__all__ = ["read_idx"]

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 64
"""The number of axes that numpy supports."""


def read_idx(path: str | Path) -> Any:
    """Return the array in an IDX file, gzipped or plain, in this machine's byte order.

    All six types of the format are supported. The header is two zero bytes, a type code, the number
    of axes, and the size of each axis as a big-endian uint32. The values follow, and nothing else.

    Raises:
        DataError: the file is missing or damaged, or its length does not match its header.

    References:
        The MNIST Database of Handwritten Digits, Y. LeCun, C. Cortes and C. J. C. Burges,
            http://yann.lecun.com/exdb/mnist/

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = Path(file.name).write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
        ...     read_idx(file.name)
        array([5, 0, 4], dtype=uint8)
    """
    path = local_path(path, "path", DataError)
    try:
        with unpacked(path) as file:
            return _array(file, path)
    # A damaged gzip file can be any of these.
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}") from error


def _array(file: BinaryIO, path: Path) -> Any:
    """Read an array, and not more than its header announces.

    A small compressed file can hold a thousand times as much.
    """
    dtype, axes = _read_header(file, path)
    expected = math.prod(axes) * dtype.itemsize
    content = read_at_most(file, expected + 1, path)
    if len(content) != expected:
        follow = "more follow" if len(content) > expected else f"{len(content)} follow"
        raise DataError(
            f"{path}: its header promises {axes} values of {dtype.itemsize} bytes, {expected} "
            f"bytes in all, and {follow}."
        )
    # If one axis has the length 0, there are no values, but the other axes may be too large.
    try:
        values = np.frombuffer(content, dtype).reshape(axes)
    except ValueError as error:
        raise DataError(
            f"{path}: numpy does not support the axes {axes} that its header promises ({error})."
        ) from None
    return values.astype(dtype.newbyteorder("="), copy=False)


def _read_header(file: BinaryIO, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the type and the axes of the array in an IDX file."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
        codes = ", ".join(f"{code:02x}" for code in _TYPES)
        raise DataError(
            f"{path} is not an IDX file: it should begin with 00 00, a type code ({codes}) and the "
            f"number of axes, but it begins with {head.hex(' ') or 'nothing'}."
        )
    count = head[3]
    if count > _MOST_AXES:
        raise DataError(f"{path}: its header has {count} axes; arrays have {_MOST_AXES} at most.")
    sizes = file.read(4 * count)
    if len(sizes) < 4 * count:
        raise DataError(
            f"{path} is cut short: a header of {count} axes takes {4 + 4 * count} bytes, but the "
            f"file has {4 + len(sizes)}."
        )
    axes = tuple(int.from_bytes(sizes[i : i + 4]) for i in range(0, 4 * count, 4))
    return np.dtype(_TYPES[head[2]]), axes
