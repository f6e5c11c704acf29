"""Rows that occur in both splits."""

import pytest
import torch
from sklearn.datasets import load_digits

from genzoo import Dataset, build
from genzoo.data.duplicates import count_duplicates


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_counts_each_held_out_row_that_was_trained_on(dtype):
    x = torch.arange(48).view(6, 2, 2, 2)[:, :1].to(dtype)
    test = torch.cat([x[:2], x[:1], x[5:] + 100])
    data = Dataset({"x": x / 255 if dtype.is_floating_point else x},
                   {"x": test / 255 if dtype.is_floating_point else test})  # fmt: skip
    assert count_duplicates(data) == 3
    assert count_duplicates(data, n=2) == 2


def test_a_single_different_number_makes_a_row_different():
    x = torch.rand(2500, 3)
    other = x.clone()
    other[:, 2] += 1e-3
    assert count_duplicates(Dataset({"x": x}, {"x": other})) == 0
    assert count_duplicates(Dataset({"x": x}, {"x": x.flip(0)})) == 2500


@pytest.mark.parametrize("numbers", [1, 8, 100])
def test_the_values_that_are_converted_at_once_are_limited(numbers, monkeypatch):
    """A row of 4 values is converted alone if even one is too many."""
    sizes = []
    double = torch.Tensor.double
    monkeypatch.setattr("genzoo.data.duplicates._NUMBERS", numbers)
    monkeypatch.setattr(torch.Tensor, "double", lambda x: (sizes.append(x.numel()), double(x))[1])
    x = torch.arange(80).view(20, 2, 2)
    assert count_duplicates(Dataset({"x": x}, {"x": x[5:]})) == 15
    assert max(sizes) == max(4, min(numbers, 80))


def test_zeros_of_both_signs_and_dtypes_are_equal():
    data = Dataset({"x": torch.tensor([[0.0, 1.0]])}, {"x": torch.tensor([[-0.0, 1.0]]).double()})
    assert count_duplicates(data) == 1


def test_digits_agree_with_a_count_by_numpy():
    images = load_digits().images.reshape(-1, 64)
    data = build("digits", "datasets")
    assert count_duplicates(data) == 0
    assert len({row.tobytes() for row in images}) == len(images)
