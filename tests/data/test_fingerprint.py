"""Fingerprints against hashlib on bytes written by hand, and the changes that they detect."""

import hashlib

import numpy as np
import pytest
import torch

from genzoo.contract.dataset import Dataset
from genzoo.data import fingerprint as module
from genzoo.data.fingerprint import changes, fingerprint

X = np.random.RandomState(0).rand(40, 3).astype("<f4")
Y = np.arange(40) % 5


def dataset(x=X, y=Y, **settings):
    return Dataset({"x": x, "y": y}, {"x": x[:7], "y": y[:7]}, **settings)


def read(old, new, columns=("x", "y"), split="train"):
    return changes(fingerprint(old), fingerprint(new), split, columns)


def test_a_fingerprint_has_type_shape_and_hash_of_each_column():
    written = hashlib.sha256(b"float32 (40, 3)" + X.tobytes()).hexdigest()[:32]
    table = fingerprint(dataset())
    assert table["train"]["x"] == f"float32 (40, 3) {written}"
    labels = hashlib.sha256(b"int64 (40,)" + Y.astype("<i8").tobytes()).hexdigest()[:32]
    assert table["train"]["y"] == f"int64 (40,) {labels}"
    assert table["settings"] == {"levels": 256, "dequantize": False, "groups": [["x", "y"]]}


def test_storage_does_not_change_the_fingerprint(tmp_path):
    np.save(tmp_path / "x.npy", X)
    turned = np.asfortranarray(X)
    for x in (
        torch.from_numpy(X),
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        turned,
        torch.from_numpy(X.T.copy()).T,
    ):
        assert fingerprint(dataset(x)) == fingerprint(dataset())
    assert fingerprint(dataset(name="other")) == fingerprint(dataset())


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (dataset(X[::-1].copy()), "the train column 'x' holds other values"),
        (
            dataset(np.where(np.arange(120).reshape(40, 3) == 119, 0, X)),
            "the train column 'x' holds other values",
        ),
        (dataset(y=Y[::-1].copy()), "the train column 'y' holds other values"),
        (dataset(X.astype("f8")), r"the train column 'x' was float32 (40, 3), now float64 (40, 3)"),
        (dataset(X[:39], Y[:39]), r"the train column 'x' was float32 (40, 3), now float32 (39, 3)"),
        (dataset(binarize="threshold"), "binarize was None, now 'threshold'"),
        (dataset(binarize="stochastic"), "binarize was None, now 'stochastic'"),
        (dataset(dequantize=True), "dequantize was False, now True"),
        (dataset(augment=("flip",)), "augment was None, now ['flip']"),
        (dataset(levels=17), "levels was 256, now 17"),
        (dataset(symbols=9), "symbols was None, now 9"),
        (
            dataset(groups=(("x",), ("y",))),
            "the groups of columns were [['x', 'y']], now [['x'], ['y']]",
        ),
        (Dataset({"x": X}), "the train column 'y' is gone"),
    ],
)
def test_differences_that_a_model_sees_are_named(new, message):
    assert message in read(dataset(), new)
    assert read(dataset(), dataset()) == []


def test_unused_columns_do_not_change_the_fingerprint():
    assert read(dataset(), dataset(y=Y[::-1].copy()), ("x",)) == []
    assert read(dataset(), dataset(groups=(("x",), ("y",))), ("x",)) == []
    truth = Dataset({"x": X}, {"x": X[:7], "truth": X[7:14]})
    assert read(truth, Dataset({"x": X}, {"x": X[:7]}), ("x", "truth"), "test") == [
        "the test column 'truth' is gone"
    ]
    assert read(truth, Dataset({"x": X}, {"x": X[1:8]}), ("x",), "train") == []
    assert read(truth, Dataset({"x": X}, {"x": X[:7]}, augment=("flip",)), ("x",), "test") == []


def test_unpaired_columns_of_different_lengths_have_a_fingerprint():
    pairs = Dataset({"a": X, "b": X[:9]}, groups=(("a",), ("b",)))
    assert fingerprint(pairs)["train"].keys() == {"a", "b"}
    assert read(pairs, Dataset({"a": X, "b": X[1:10]}, groups=(("a",), ("b",))), ("a", "b")) == [
        "the train column 'b' holds other values"
    ]


def test_a_large_column_is_hashed_from_a_bounded_sample(monkeypatch):
    rows, seen = 1_000_003, []
    monkeypatch.setattr(module, "_WHOLE", 1 << 20)
    monkeypatch.setattr(module, "_SAMPLE", 1 << 18)
    monkeypatch.setattr(module, "_BLOCK", 1 << 12)
    ranges = list(module._blocks(rows, 8))
    assert ranges[0] == (0, 512)
    assert ranges[-1] == (rows - 512, rows)
    assert sum(end - begin for begin, end in ranges) * 8 == 1 << 18
    assert len({end - begin for begin, end in ranges}) == 1
    x = torch.zeros(rows, 2)
    real = module.add_tensor
    monkeypatch.setattr(
        module,
        "add_tensor",
        lambda digest, rows: (seen.append(rows.numel() * 4), real(digest, rows)),
    )
    before = module._digest(x)
    assert sum(seen) == 1 << 18
    for row in (0, rows - 1, ranges[7][0]):
        x[row] = 1
        assert module._digest(x) != before
        x[row] = 0
    assert module._digest(x) == before


def test_a_row_larger_than_a_block_is_hashed_completely(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 4)
    x = torch.zeros(3, 5)
    before = module._digest(x)
    x[2, 4] = 1
    assert module._digest(x) != before


@pytest.mark.parametrize(
    "damage", [{"settings": 3}, {"train": []}, {"settings": {"groups": 5}}, {"train": {"x": 7}}]
)
def test_a_damaged_fingerprint_counts_as_different(damage):
    new = fingerprint(dataset())
    assert changes({**new, **damage}, new, "train", ("x", "y"))
