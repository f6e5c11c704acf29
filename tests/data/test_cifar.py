"""CIFAR from small files in its binary format."""

import hashlib
import tarfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from genzoo.data import cifar
from genzoo.errors import DataError

BATCHES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def record(labels, red, green, blue):
    """Return the bytes of an image whose channels have one value each."""
    return bytes([*labels]) + b"".join(bytes([value]) * 1024 for value in (red, green, blue))


@pytest.fixture
def small(tmp_path):
    """Write two images in each file of CIFAR-10."""
    folder = tmp_path / "small"
    folder.mkdir()
    for number, name in enumerate(BATCHES):
        pair = (record([label], number, label, 7) for label in (number, 9 - number))
        (folder / name).write_bytes(b"".join(pair))
    return folder


def is_right(data):
    assert (data.shape, data.rows("train"), data.rows("test")) == ((3, 32, 32), 10, 2)
    assert data.train["y"].tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert data.train["y"].dtype == np.int64
    assert data.test["y"].tolist() == [5, 4]
    assert data.train["x"].dtype == np.uint8
    assert data.train["x"].reshape(10, 3, -1).min(2).tolist() == (
        data.train["x"].reshape(10, 3, -1).max(2).tolist()
    )
    assert data.train["x"][3, :, 0, 0].tolist() == [1, 8, 7]
    assert data.class_names[3] == "cat"
    return True


def archive(small, path, folder="cifar-10-batches-bin"):
    with tarfile.open(path, "w:gz") as tar:
        for file in small.iterdir():
            tar.add(file, f"{folder}/{file.name}")


def test_files_and_archives_are_read(small, tmp_path):
    assert is_right(cifar.cifar10(str(small)))
    nested = tmp_path / "nested"
    nested.mkdir()
    small.rename(nested / "cifar-10-batches-bin")
    assert is_right(cifar.cifar10(str(nested)))
    packed = tmp_path / "packed"
    packed.mkdir()
    archive(nested / "cifar-10-batches-bin", packed / "cifar-10-binary.tar.gz")
    assert is_right(cifar.cifar10(str(packed)))
    assert [path.name for path in packed.iterdir()] == ["cifar-10-binary.tar.gz"]


def test_cifar100_has_fine_and_coarse_labels(tmp_path):
    for name in ("train", "test"):
        content = record([1, 2], 1, 2, 3) + record([0, 1], 4, 5, 6)
        (tmp_path / f"{name}.bin").write_bytes(content)
    (tmp_path / "coarse_label_names.txt").write_text("fish\nflowers\n")
    (tmp_path / "fine_label_names.txt").write_text("apple\norchid\nray\n")
    fine, coarse = (cifar.cifar100(str(tmp_path), labels=name) for name in ("fine", "coarse"))
    assert (fine.train["y"].tolist(), fine.class_names) == ([2, 1], ("apple", "orchid", "ray"))
    assert (coarse.test["y"].tolist(), coarse.class_names) == ([1, 0], ("fish", "flowers"))
    assert fine.train["x"][:, :, 31, 31].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_damaged_and_missing_files_are_named(small):
    (small / "test_batch.bin").write_bytes(record([10], 0, 0, 0))
    with pytest.raises(DataError, match=r"test_batch.bin has the label 10, but labels are 0 to 9"):
        cifar.cifar10(str(small))
    (small / "test_batch.bin").write_bytes(record([1], 0, 0, 0)[:-1])
    with pytest.raises(DataError, match=r"test_batch.bin has 3,072 bytes; .* multiple of 3,073"):
        cifar.cifar10(str(small))
    (small / "test_batch.bin").unlink()
    (small / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"is the Python version, whose pickles genzoo does not"):
        cifar.cifar10(str(small))
    (small / "cifar-10-binary.tar.gz").write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(DataError, match=r"binary\.tar\.gz cannot be read"):
        cifar.cifar10(str(small))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_download_is_checked_by_its_md5(small, tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = tmp_path / "served"
    served.mkdir()
    archive(small, served / "cifar-10-binary.tar.gz")
    md5 = hashlib.md5((served / "cifar-10-binary.tar.gz").read_bytes()).hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served)) as http:
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(cifar, "_BASE", f"http://127.0.0.1:{http.server_address[1]}/")
        with pytest.raises(DataError, match=r"cannot be downloaded .*hash.* Put cifar-10-binary"):
            cifar.cifar10()
        monkeypatch.setattr(cifar, "_CIFAR10", replace(cifar._CIFAR10, digest=f"md5:{md5}"))
        assert is_right(cifar.cifar10())
        http.shutdown()
        thread.join()
    assert is_right(cifar.cifar10())  # not downloaded again
