import gzip
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genzoo.data import cache, idx
from genzoo.errors import DataError

CODES = {0x08: "B", 0x09: "b", 0x0B: "h", 0x0C: "i", 0x0D: "f", 0x0E: "d"}
KINDS = {"B": "uint8", "b": "int8", "h": "int16", "i": "int32", "f": "float32", "d": "float64"}


def pack(code, axes, values):
    header = bytes([0, 0, code, len(axes)]) + b"".join(struct.pack(">I", axis) for axis in axes)
    return header + struct.pack(f">{len(values)}{CODES[code]}", *values)


@st.composite
def files(draw):
    code = draw(st.sampled_from(sorted(CODES)))
    axes = draw(st.lists(st.integers(0, 4), max_size=3))
    count = int(np.prod(axes, dtype=int))
    values = draw(
        st.lists(st.integers(0 if code == 0x08 else -128, 127), min_size=count, max_size=count)
    )
    return code, axes, values


def write(folder, content, zipped=False):
    path = folder / "file"
    path.write_bytes(gzip.compress(content, 1) if zipped else content)
    return path


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@given(file=files(), zipped=st.booleans())
def test_every_type_and_shape_is_read(scratch, file, zipped):
    code, axes, values = file
    array = idx.read_idx(write(scratch, pack(code, axes, values), zipped))
    assert array.dtype == np.dtype(KINDS[CODES[code]])
    assert array.dtype.isnative
    assert array.shape == tuple(axes)
    assert array.ravel().tolist() == values


@given(file=files(), data=st.data(), zipped=st.booleans())
def test_a_truncated_or_longer_file_is_refused(scratch, file, data, zipped):
    content = pack(*file)
    length = data.draw(st.integers(0, len(content) + 5).filter(lambda n: n != len(content)))
    path = write(scratch, (content + b"\0" * 5)[:length], zipped)
    with pytest.raises(DataError, match=re.escape(str(path))):
        idx.read_idx(path)


@given(
    head=st.binary(min_size=4, max_size=12).filter(lambda b: b[:2] != b"\0\0" or b[2] not in CODES)
)
def test_another_format_is_refused(scratch, head):
    path = write(scratch, head)
    with pytest.raises(DataError, match=re.escape(str(path))):
        idx.read_idx(path)


def test_a_false_header_allocates_nothing(scratch):
    path = write(scratch, bytes([0, 0, 0x0E, 3]) + b"\xff" * 12 + b"12345")
    with pytest.raises(
        DataError, match=r"4294967295, 4294967295, 4294967295\) values of 8 bytes, .* and 5 follow"
    ):
        idx.read_idx(path)


def bomb(content: bytes, zeros: int) -> bytes:
    """Return a gzip file that unpacks to `content` and the given number of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(content)]
    pieces += [
        packer.compress(bytes(min(1 << 20, zeros - start))) for start in range(0, zeros, 1 << 20)
    ]
    return b"".join([*pieces, packer.flush()])


def test_no_more_bytes_are_unpacked_than_the_header_states(scratch, monkeypatch):
    unpacked = []

    def read(file, count=-1, real=gzip.GzipFile.read):
        unpacked.append(real(file, count))
        return unpacked[-1]

    path = scratch / "bomb.gz"
    path.write_bytes(bomb(pack(0x08, [3], [5, 0, 4]), 64 << 20))
    monkeypatch.setattr(gzip.GzipFile, "read", read)
    with pytest.raises(
        DataError,
        match=r"bomb\.gz: its header promises \(3,\) .* 3 bytes in all, and more follow\.",
    ):
        idx.read_idx(path)
    assert sum(map(len, unpacked)) == 4 + 4 + 3 + 1


def test_data_larger_than_memory_are_refused_while_unpacking(scratch, monkeypatch):
    monkeypatch.setattr(cache, "free_memory", lambda _: 16 << 20)
    path = scratch / "large.gz"
    path.write_bytes(bomb(bytes([0, 0, 8, 1]) + struct.pack(">I", 64 << 20), 64 << 20))
    with pytest.raises(
        DataError, match=r"large\.gz holds more than 9 MiB, and 16 MiB of memory are free"
    ):
        idx.read_idx(path)


def test_too_many_axes_are_named(scratch):
    with pytest.raises(DataError, match="255 axes; arrays have 64 at most"):
        idx.read_idx(
            write(scratch, bytes([0, 0, 8, 255]) + struct.pack(">255I", *[1] * 255) + b"7")
        )


def test_a_damaged_gzip_file_is_refused(scratch):
    whole = gzip.compress(pack(0x08, [200], list(range(200))))
    for content in (
        whole[:-9],
        whole[:30] + b"\xff\xff" + whole[32:],
        whole[:-4] + b"\0\0\0\0",
        whole[:5],
    ):
        with pytest.raises(DataError, match="cannot be read"):
            idx.read_idx(write(scratch, content))


def test_a_missing_file_is_named(scratch):
    with pytest.raises(DataError, match=r"nothing-here.*No such file"):
        idx.read_idx(scratch / "nothing-here")


@pytest.mark.parametrize("axes", [65, 255])
def test_more_axes_than_numpy_supports_are_refused(scratch, axes):
    path = scratch / "axes"
    path.write_bytes(bytes([0, 0, 8, axes]) + (1).to_bytes(4) * axes + b"\7")
    with pytest.raises(
        DataError, match=rf"axes: its header has {axes} axes; arrays have 64 at most"
    ):
        idx.read_idx(path)


def test_axes_without_values_that_numpy_cannot_hold_are_refused(scratch):
    path = scratch / "empty"
    path.write_bytes(bytes([0, 0, 8, 4]) + (2**32 - 1).to_bytes(4) * 3 + (0).to_bytes(4))
    with pytest.raises(
        DataError,
        match=r"empty: numpy does not support the axes \(4294967295, 4294967295, 4294967295, 0\)",
    ):
        idx.read_idx(path)


def test_a_file_without_axes_holds_one_value(scratch):
    path = scratch / "scalar"
    path.write_bytes(bytes([0, 0, 8, 0, 7]))
    assert idx.read_idx(path).shape == ()
    assert idx.read_idx(path) == 7
