"""Features of examples, and their statistics against NumPy."""

import numpy as np
import pytest
import torch

from genzoo.errors import DataError, SettingError
from genzoo.metrics import FeatureStatistics, default_network, extract_features
from genzoo.registry.build import build


@pytest.fixture
def network():
    return build("digits-cnn", "networks", shape=(1, 8, 8))


def test_many_images_are_processed_in_chunks(network):
    x = torch.rand(2100, 1, 8, 8)
    torch.testing.assert_close(extract_features(network, x)[1990:2010], network(x[1990:2010]))


def test_half_precision_images_are_converted_to_single_precision(network):
    x = torch.rand(3, 1, 8, 8).bfloat16()
    features = extract_features(network, x)
    assert features.dtype == torch.float32
    assert torch.equal(features, extract_features(network, x.float()))
    with torch.autocast("cpu"):
        assert torch.equal(features, extract_features(network, x))


def test_examples_of_another_shape_are_refused(network):
    with pytest.raises(DataError, match=r"digits-cnn-v1.*\(1, 8, 8\), not \(1, 9, 8\)"):
        extract_features(network, torch.rand(2, 1, 9, 8))


def test_the_default_network_depends_on_the_shape():
    names = {
        (1, 28, 28): "fmnist-cnn",
        (1, 8, 8): "digits-cnn",
        (3, 28, 28): "random-conv",
        (3, 64, 64): "random-conv",
        (2,): "pixels",
        (32, 27): "pixels",
    }
    assert {shape: default_network(shape) for shape in names} == names


def test_an_instance_of_another_shape_is_refused(network):
    with pytest.raises(SettingError, match=r"shape = \(1, 8, 8\), but its owner needs \(3, 8, 8\)"):
        build(network, "networks", shape=(3, 8, 8))


def test_statistics_equal_numpy_for_all_batch_sizes():
    f = 100 + torch.randn(90, 5) @ torch.randn(5, 5)  # a mean that is far from zero
    for parts in ([90], [1, 80, 9], [30, 30, 30]):
        statistics = FeatureStatistics(5)
        for part in f[torch.randperm(90)].split(parts):
            statistics.update(part)
        assert statistics.n == 90
        assert statistics.mean.numpy() == pytest.approx(f.double().numpy().mean(axis=0), rel=1e-12)
        assert statistics.covariance.numpy() == pytest.approx(
            np.cov(f.double().numpy().T), abs=1e-9
        )


def test_one_example_has_no_covariance():
    with pytest.raises(DataError, match="at least two examples, but there are 1"):
        _ = FeatureStatistics(2).update(torch.ones(1, 2)).covariance
