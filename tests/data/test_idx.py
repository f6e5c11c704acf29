import gzip
import hashlib
import io
import re
import struct
import zipfile
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genzoo.data import cache, idx
from genzoo.errors import DataError

CODES = {0x08: "B", 0x09: "b", 0x0B: "h", 0x0C: "i", 0x0D: "f", 0x0E: "d"}
KINDS = {"B": "uint8", "b": "int8", "h": "int16", "i": "int32", "f": "float32", "d": "float64"}
FASHION = Path("/usr/share/datasets/fashion-mnist")


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
def test_a_cut_or_longer_file_is_refused(scratch, file, data, zipped):
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


def test_a_lying_header_allocates_nothing(scratch):
    path = write(scratch, bytes([0, 0, 0x0E, 3]) + b"\xff" * 12 + b"12345")
    with pytest.raises(
        DataError, match=r"4294967295, 4294967295, 4294967295\) values of 8 bytes, .* and 5 follow"
    ):
        idx.read_idx(path)


def bomb(content: bytes, zeros: int) -> bytes:
    """A gzip file that unpacks to `content` and so many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(content)]
    pieces += [
        packer.compress(bytes(min(1 << 20, zeros - start))) for start in range(0, zeros, 1 << 20)
    ]
    return b"".join([*pieces, packer.flush()])


def test_no_more_is_unpacked_than_the_header_promises(scratch, monkeypatch):
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


def test_what_does_not_fit_memory_is_refused_while_it_is_unpacked(scratch, monkeypatch):
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


def test_downloads_are_encrypted_and_checked_by_sha256():
    for base, hashes in idx._DOWNLOADS.values():
        assert base.startswith("https://")
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes.values())


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


# The data sets: four small files in the family's format.


def family(folder, stems, train=5, test=3, zipped=True):
    """Image n of a split holds the values n + row * 10 + column * 50 (mod 256); its label is n."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        rows = train if "train" in stem else test
        values = [
            (n + r * 10 + c * 50) % 256 for n in range(rows) for r in range(2) for c in range(4)
        ]
        content = (
            pack(0x08, [rows, 2, 4], values)
            if "images" in stem
            else pack(0x08, [rows], list(range(rows)))
        )
        (folder / (f"{stem}.gz" if zipped else stem)).write_bytes(
            gzip.compress(content) if zipped else content
        )


MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def is_whole(data, transposed=False):
    n, r, c = np.meshgrid(np.arange(5), np.arange(2), np.arange(4), indexing="ij")
    expected = ((n + 10 * r + 50 * c) % 256).astype(np.uint8)
    expected = expected.transpose(0, 2, 1) if transposed else expected
    assert (data.rows("train"), data.rows("test")) == (5, 3)
    assert np.array_equal(data.train["x"], expected[:, None])
    assert np.array_equal(data.test["x"], expected[:3, None])
    assert data.train["x"].dtype == np.uint8
    assert data.train["y"].dtype == np.int64
    assert data.train["y"].tolist() == [0, 1, 2, 3, 4]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """No data at home or in Debian's place, and no way to a network but this machine."""
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(idx, "_DEBIAN", tmp_path / "debian")
    return tmp_path


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("factory", [idx.mnist, idx.kmnist, idx.fashion_mnist])
def test_a_folder_is_read(elsewhere, factory, zipped):
    family(elsewhere / "mine", MNIST_FILES, zipped=zipped)
    is_whole(factory(str(elsewhere / "mine")))


@pytest.mark.parametrize("place", ["home/mnist", "debian/mnist"])
def test_home_and_debian_are_searched(elsewhere, place):
    family(elsewhere / place, MNIST_FILES)
    is_whole(idx.mnist())


def test_home_comes_before_debian(elsewhere):
    family(elsewhere / "home/mnist", MNIST_FILES)
    family(elsewhere / "debian/mnist", MNIST_FILES, train=4)
    is_whole(idx.mnist())


def test_emnist_is_turned(elsewhere):
    stems = [f"emnist-letters-{stem.replace('t10k', 'test')}" for stem in MNIST_FILES]
    family(elsewhere / "home/emnist", stems)
    data = idx.emnist()
    assert data.shape == (1, 4, 2)
    is_whole(data, transposed=True)


def test_a_missing_or_unfit_file_in_a_folder_is_named(elsewhere):
    mine = elsewhere / "mine"
    family(mine, MNIST_FILES)
    (mine / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"mine has no t10k-labels-idx1-ubyte\.gz"):
        idx.mnist(str(mine))
    (mine / "t10k-labels-idx1-ubyte").write_bytes(pack(0x0D, [3], [0, 1, 2]))
    with pytest.raises(
        DataError, match=r"t10k-labels-idx1-ubyte holds float32 .* needs uint8 with 1 axes"
    ):
        idx.mnist(str(mine))
    (mine / "t10k-labels-idx1-ubyte").write_bytes(pack(0x08, [2], [0, 1]))
    with pytest.raises(DataError, match="different lengths"):
        idx.mnist(str(mine))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(elsewhere):
    """A web server of the folder `served`."""
    folder = elsewhere / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as http:
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_address[1]}/"
        http.shutdown()
        thread.join()


def sha256s(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_a_download_is_checked_and_kept(server, elsewhere, monkeypatch):
    folder, base = server
    family(folder, MNIST_FILES)
    monkeypatch.setitem(idx._DOWNLOADS, "mnist", (base, sha256s(folder)))
    is_whole(idx.mnist())
    assert sha256s(elsewhere / "home/mnist") == sha256s(folder)
    for file in folder.iterdir():
        file.unlink()
    is_whole(idx.mnist())  # not asked for again


def test_a_download_completes_what_is_there_and_replaces_nothing(server, elsewhere, monkeypatch):
    folder, base = server
    family(folder, MNIST_FILES)
    monkeypatch.setitem(idx._DOWNLOADS, "mnist", (base, sha256s(folder)))
    home = elsewhere / "home/mnist"
    family(home, MNIST_FILES[:2], train=4)
    before = sha256s(home)
    assert idx.mnist().rows() == 4
    assert before.items() <= sha256s(home).items()


def test_another_hash_leaves_nothing_behind(server, elsewhere, monkeypatch):
    folder, base = server
    family(folder, MNIST_FILES)
    monkeypatch.setitem(idx._DOWNLOADS, "mnist", (base, dict.fromkeys(sha256s(folder), "0" * 64)))
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte\.gz cannot be downloaded .* hash"
    ):
        idx.mnist()
    assert list((elsewhere / "home/mnist").iterdir()) == []


@pytest.mark.parametrize("reachable", [True, False])
def test_a_failed_download_names_the_ways_out(server, elsewhere, monkeypatch, reachable):
    _, base = server
    hashes = {f"{stem}.gz": "0" * 64 for stem in MNIST_FILES}
    monkeypatch.setitem(
        idx._DOWNLOADS, "fashion-mnist", (base if reachable else "http://127.0.0.1:9/", hashes)
    )
    with pytest.raises(DataError) as caught:
        idx.fashion_mnist()
    message = str(caught.value)
    assert "\n" not in message
    for way in ("folder = ", "$GENZOO_DATA/fashion-mnist", "dataset-fashion-mnist"):
        assert way in message


def test_emnist_comes_out_of_its_archive(server, elsewhere, monkeypatch):
    folder, base = server
    stems = [f"emnist-digits-{stem.replace('t10k', 'test')}" for stem in MNIST_FILES]
    family(elsewhere / "packed", stems)
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        for file in (elsewhere / "packed").iterdir():
            archive.write(file, f"gzip/{file.name}")
    (folder / "gzip.zip").write_bytes(bundle.getvalue())
    monkeypatch.setitem(idx._DOWNLOADS, "emnist", (base, sha256s(folder)))
    is_whole(idx.emnist("digits"), transposed=True)
    assert {file.name for file in (elsewhere / "home/emnist").iterdir()} == {
        "gzip.zip",
        *(f"{stem}.gz" for stem in stems),
    }


@pytest.mark.skipif(
    not FASHION.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed"
)
def test_fashion_mnist_has_6000_of_each_class(monkeypatch, tmp_path):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path))
    data = idx.fashion_mnist()
    assert (data.shape, data.rows("train"), data.rows("test")) == ((1, 28, 28), 60_000, 10_000)
    assert np.bincount(data.train["y"]).tolist() == [6000] * 10
    assert np.bincount(data.test["y"]).tolist() == [1000] * 10
    assert data.train["x"].mean() / 255 == pytest.approx(
        0.2860, abs=5e-5
    )  # the published mean of the training pixels


@pytest.mark.parametrize("axes", [65, 255])
def test_more_axes_than_numpy_has_are_refused(scratch, axes):
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


def test_no_axes_are_one_value(scratch):
    path = scratch / "scalar"
    path.write_bytes(bytes([0, 0, 8, 0, 7]))
    assert idx.read_idx(path).shape == ()
    assert idx.read_idx(path) == 7
