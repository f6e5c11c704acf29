import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from genzoo.data.sklearn_digits import digits
from genzoo.registry.build import build
from genzoo.registry.records import config


def rows_of(*splits):
    return sorted(
        (*map(int, x.ravel()), int(y))
        for split in splits
        for x, y in zip(split["x"], split["y"], strict=True)
    )


def test_the_split_is_a_partition_that_keeps_labels_with_their_images():
    data, source = digits(), load_digits()
    assert (data.rows("train"), data.rows("test"), data.shape, data.levels) == (
        1500,
        297,
        (1, 8, 8),
        17,
    )
    assert data.train["x"].dtype == np.uint8
    assert data.train["y"].dtype == np.int64
    assert data.class_names == tuple("0123456789")
    expected = sorted(
        (*map(int, x), int(y)) for x, y in zip(source.data, source.target, strict=True)
    )
    assert rows_of(data.train, data.test) == expected


def test_the_split_never_changes_and_is_shuffled():
    data = digits()
    assert data.train["y"][:12].tolist() == [2, 8, 2, 6, 6, 7, 1, 9, 8, 5, 2, 8]
    counts = np.bincount(data.test["y"], minlength=10)
    assert counts.min() >= 20  # about 30 held-out images of each digit


def test_level_16_becomes_one():
    data = digits()
    x = data.prepare(torch.from_numpy(data.train["x"]))
    assert x.dtype == torch.float32
    assert x.max() == 1
    assert torch.equal(x * 16, torch.from_numpy(data.train["x"]).float())


@pytest.mark.parametrize("settings", [{"binarize": "threshold"}, {"dequantize": True}])
def test_settings_reach_the_dataset(settings):
    data = build({"name": "digits", **settings}, "datasets")
    defaults = {"binarize": None, "dequantize": False, "augment": ()}
    assert config(data) == {"name": "digits", **defaults, **settings}
    x = data.prepare(torch.from_numpy(data.train["x"]))
    if data.binarize:
        assert torch.equal(x, (torch.from_numpy(data.train["x"]) > 8).float())
    else:
        assert torch.equal((x * 17).floor(), torch.from_numpy(data.train["x"]).float())
