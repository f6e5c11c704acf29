"""Columns, and their conversion to inputs; tests of reading data are in tests/data."""

import numpy as np
import pytest
import torch

from genzoo import Dataset
from genzoo.errors import DataError


def test_symbols_are_read_as_one_hot_vectors():
    stored = torch.tensor([[0, 2, 1], [3, 3, 0]], dtype=torch.uint8)
    data = Dataset({"x": stored, "label": torch.tensor([7, 8])}, symbols=4)
    seen = data.prepare(stored, torch.float64)
    assert seen.dtype == torch.float64
    assert np.array_equal(seen.numpy(), np.eye(4)[stored.numpy()])
    assert (data.shape, data.shape_of("label")) == ((3, 4), ())
    # only uint8 columns hold symbols
    assert torch.equal(data.prepare(data.train["label"]), data.train["label"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"symbols": 3}, "column 'x': holds 3, but 3 levels or symbols are 0 to 2"),
        ({"symbols": 0}, "symbols = 0; expected 1 to 256"),
        ({"symbols": 257}, "symbols = 257; expected 1 to 256"),
        ({"symbols": 4, "binarize": "threshold"}, "excludes binarize, dequantize, and augment"),
    ],
)
def test_values_other_than_symbols_are_refused(settings, message):
    with pytest.raises(DataError, match=message):
        Dataset({"x": torch.tensor([[0, 3]], dtype=torch.uint8)}, **settings)


def test_each_column_has_its_own_shape():
    data = Dataset({"x": torch.zeros(4, 1, 8, 8), "y": torch.zeros(4, 3, 8, 8)})
    assert (data.shape, data.shape_of("y")) == ((1, 8, 8), (3, 8, 8))
    with pytest.raises(DataError, match="no column 'z'; it has x, y"):
        data.shape_of("z")


def test_there_may_be_more_held_out_columns_than_training_columns():
    data = Dataset({"x": torch.zeros(4, 2)}, {"x": torch.zeros(3, 2), "truth": torch.ones(3, 2)})
    assert set(data.split("test")) == {"x", "truth"}


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (torch.ones(2, 1, 4, 4), "has 2 rows, but the other columns have"),
        (torch.full((3, 1, 4, 4), 7.0), "floats in"),
    ],
)
def test_additional_columns_are_checked_like_others(truth, message):
    x = torch.zeros(3, 1, 4, 4)
    with pytest.raises(DataError, match=message):
        Dataset({"x": x}, {"x": x, "truth": truth})
