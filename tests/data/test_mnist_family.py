"""The datasets of the MNIST family, from four small files in their format."""

import gzip
import hashlib
import io
import re
import struct
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from genzoo.data import mnist_family
from genzoo.errors import DataError

FASHION = Path("/usr/share/datasets/fashion-mnist")


def pack(axes, values, code=0x08, letter="B"):
    header = bytes([0, 0, code, len(axes)]) + b"".join(struct.pack(">I", axis) for axis in axes)
    return header + struct.pack(f">{len(values)}{letter}", *values)


def test_downloads_use_https_and_are_checked_by_sha256():
    for base, hashes in mnist_family._DOWNLOADS.values():
        assert base.startswith("https://")
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes.values())


def family(folder, stems, train=5, test=3, zipped=True, first=0):
    """Write images, whose values depend on the number of the image, the row, and the column."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        rows = train if "train" in stem else test
        values = [
            (n + r * 10 + c * 50) % 256 for n in range(rows) for r in range(2) for c in range(4)
        ]
        content = pack([rows], list(range(first, first + rows)))
        if "images" in stem:
            content = pack([rows, 2, 4], values)
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
def data_home(tmp_path, monkeypatch):
    """Set up empty data folders, and allow connections to this machine only."""
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(mnist_family, "_DEBIAN", tmp_path / "debian")
    return tmp_path


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "factory", [mnist_family.mnist, mnist_family.kmnist, mnist_family.fashion_mnist]
)
def test_a_folder_is_read(data_home, factory, zipped):
    family(data_home / "mine", MNIST_FILES, zipped=zipped)
    is_whole(factory(str(data_home / "mine")))


@pytest.mark.parametrize("place", ["home/mnist", "debian/mnist"])
def test_home_and_debian_are_searched(data_home, place):
    family(data_home / place, MNIST_FILES)
    is_whole(mnist_family.mnist())


def test_home_comes_before_debian(data_home):
    family(data_home / "home/mnist", MNIST_FILES)
    family(data_home / "debian/mnist", MNIST_FILES, train=4)
    is_whole(mnist_family.mnist())


def test_emnist_images_are_transposed(data_home):
    stems = [f"emnist-letters-{stem.replace('t10k', 'test')}" for stem in MNIST_FILES]
    family(data_home / "home/emnist", stems, first=1)
    data = mnist_family.emnist()
    assert data.shape == (1, 4, 2)
    is_whole(data, transposed=True)


# The classes of EMNIST's mapping files, as ASCII codes: label 0, 1, ...
DIGIT_CODES = [*range(48, 58)]
SMALL_OF_47 = [97, 98, 100, 101, 102, 103, 104, 110, 113, 114, 116]
EMNIST_CODES = {
    "byclass": [*DIGIT_CODES, *range(65, 91), *range(97, 123)],
    "bymerge": [*DIGIT_CODES, *range(65, 91), *SMALL_OF_47],
    "balanced": [*DIGIT_CODES, *range(65, 91), *SMALL_OF_47],
    "letters": [*range(97, 123)],
    "digits": DIGIT_CODES,
    "mnist": DIGIT_CODES,
}


@pytest.mark.parametrize("split", EMNIST_CODES)
def test_labels_begin_at_0_and_have_the_names_of_their_classes(data_home, split):
    stems = [f"emnist-{split}-{stem.replace('t10k', 'test')}" for stem in MNIST_FILES]
    first = 1 if split == "letters" else 0
    rows = len(EMNIST_CODES[split])
    family(data_home / "mine", stems, train=rows, first=first)
    data = mnist_family.emnist(split, folder=str(data_home / "mine"))
    assert data.train["y"].tolist() == [*range(rows)]
    assert [ord(name) for name in data.class_names] == EMNIST_CODES[split]
    family(data_home / "mine", stems, train=rows + 1, first=first)
    with pytest.raises(DataError, match=f"labels-idx1.* holds labels from {first} to"):
        mnist_family.emnist(split, folder=str(data_home / "mine"))


def test_ten_classes_have_their_published_names(data_home):
    family(data_home / "mine", MNIST_FILES)
    named = {
        factory: factory(str(data_home / "mine")).metadata["class_names"]
        for factory in (mnist_family.mnist, mnist_family.fashion_mnist, mnist_family.kmnist)
    }
    assert named[mnist_family.mnist] == tuple("0123456789")
    assert [*named[mnist_family.kmnist]] == [
        "o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo",
    ]  # fmt: skip
    clothes = named[mnist_family.fashion_mnist]
    assert (len(clothes), clothes[0], clothes[7], clothes[9]) == (
        10,
        "t-shirt",
        "sneaker",
        "ankle boot",
    )


def test_a_missing_or_unsuitable_file_in_a_folder_is_named(data_home):
    folder = data_home / "mine"
    family(folder, MNIST_FILES)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"mine has no t10k-labels-idx1-ubyte\.gz"):
        mnist_family.mnist(str(folder))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(pack([3], [0, 1, 2], 0x0D, "f"))
    with pytest.raises(
        DataError, match=r"t10k-labels-idx1-ubyte holds float32 .* needs uint8 with 1 axes"
    ):
        mnist_family.mnist(str(folder))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(pack([2], [0, 1]))
    with pytest.raises(DataError, match="different lengths"):
        mnist_family.mnist(str(folder))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(data_home):
    """Start a web server for the folder `served`."""
    folder = data_home / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as http:
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_address[1]}/"
        http.shutdown()
        thread.join()


def sha256s(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_a_download_is_checked_and_cached(server, data_home, monkeypatch):
    folder, base = server
    family(folder, MNIST_FILES)
    monkeypatch.setitem(mnist_family._DOWNLOADS, "mnist", (base, sha256s(folder)))
    is_whole(mnist_family.mnist())
    assert sha256s(data_home / "home/mnist") == sha256s(folder)
    for file in folder.iterdir():
        file.unlink()
    is_whole(mnist_family.mnist())  # not downloaded again


def test_a_download_adds_missing_files_and_replaces_none(server, data_home, monkeypatch):
    folder, base = server
    family(folder, MNIST_FILES)
    monkeypatch.setitem(mnist_family._DOWNLOADS, "mnist", (base, sha256s(folder)))
    home = data_home / "home/mnist"
    family(home, MNIST_FILES[:2], train=4)
    before = sha256s(home)
    assert mnist_family.mnist().rows() == 4
    assert before.items() <= sha256s(home).items()


def test_a_download_with_a_wrong_hash_is_not_stored(server, data_home, monkeypatch):
    folder, base = server
    family(folder, MNIST_FILES)
    monkeypatch.setitem(
        mnist_family._DOWNLOADS, "mnist", (base, dict.fromkeys(sha256s(folder), "0" * 64))
    )
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte\.gz cannot be downloaded .* hash"
    ):
        mnist_family.mnist()
    assert list((data_home / "home/mnist").iterdir()) == []


@pytest.mark.parametrize("reachable", [True, False])
def test_a_failed_download_names_the_alternatives(server, data_home, monkeypatch, reachable):
    _, base = server
    hashes = {f"{stem}.gz": "0" * 64 for stem in MNIST_FILES}
    monkeypatch.setitem(
        mnist_family._DOWNLOADS,
        "fashion-mnist",
        (base if reachable else "http://127.0.0.1:9/", hashes),
    )
    with pytest.raises(DataError) as caught:
        mnist_family.fashion_mnist()
    message = str(caught.value)
    assert "\n" not in message
    for way in ("folder = ", "$GENZOO_DATA/fashion-mnist", "dataset-fashion-mnist"):
        assert way in message


def test_emnist_is_extracted_from_its_archive(server, data_home, monkeypatch):
    folder, base = server
    stems = [f"emnist-digits-{stem.replace('t10k', 'test')}" for stem in MNIST_FILES]
    family(data_home / "packed", stems)
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        for file in (data_home / "packed").iterdir():
            archive.write(file, f"gzip/{file.name}")
    (folder / "gzip.zip").write_bytes(bundle.getvalue())
    monkeypatch.setitem(mnist_family._DOWNLOADS, "emnist", (base, sha256s(folder)))
    is_whole(mnist_family.emnist("digits"), transposed=True)
    assert {file.name for file in (data_home / "home/emnist").iterdir()} == {
        "gzip.zip",
        *(f"{stem}.gz" for stem in stems),
    }


@pytest.mark.skipif(
    not FASHION.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed"
)
def test_fashion_mnist_has_6000_of_each_class(monkeypatch, tmp_path):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path))
    data = mnist_family.fashion_mnist()
    assert (data.shape, data.rows("train"), data.rows("test")) == ((1, 28, 28), 60_000, 10_000)
    assert np.bincount(data.train["y"]).tolist() == [6000] * 10
    assert np.bincount(data.test["y"]).tolist() == [1000] * 10
    # the published mean of the training pixels
    assert data.train["x"].mean() / 255 == pytest.approx(0.2860, abs=5e-5)
