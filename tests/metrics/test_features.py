import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from genzoo.errors import DataError, SettingError
from genzoo.metrics import features as module
from genzoo.metrics.features import (
    NETWORKS,
    FeatureStatistics,
    extract_features,
    feature_network,
    network_for,
)
from genzoo.registry.build import build


def held_out(dataset, rows=None):
    x, y = (torch.as_tensor(dataset.test[name][:rows]) for name in "xy")
    return dataset.prepare(x), y


def accuracy(name, dataset, rows=None):
    x, y = held_out(dataset, rows)
    return (feature_network(name).classify(x).argmax(dim=1) == y).double().mean().item()


def test_the_digits_network_has_the_stated_accuracy():
    assert accuracy("digits-cnn", build("digits", "datasets")) == pytest.approx(
        NETWORKS["digits-cnn"].accuracy, abs=2 / 297
    )
    assert NETWORKS["digits-cnn"].accuracy > 0.97


@pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(),
    reason="the package dataset-fashion-mnist is missing",
)
def test_the_fashion_network_has_the_stated_accuracy():
    share = NETWORKS["fmnist-cnn"].accuracy
    assert share > 0.9
    measured = accuracy("fmnist-cnn", build("fashion-mnist", "datasets"), 2000)
    assert measured == pytest.approx(share, abs=4 * (share * (1 - share) / 2000) ** 0.5)


@pytest.mark.parametrize("name", NETWORKS)
def test_files_are_small_and_match_their_hash(name):
    content = NETWORKS[name].path.read_bytes()
    assert len(content) < 500_000
    assert hashlib.sha256(content).hexdigest() == NETWORKS[name].sha256


@pytest.mark.parametrize("name", NETWORKS)
def test_features_equal_the_hidden_layer(name):
    source, x = NETWORKS[name], torch.rand(7, *NETWORKS[name].shape)
    features = extract_features(name, x)
    assert features.shape == (7, source.dim)
    assert features.dtype == torch.float32
    assert (features >= 0).all()
    assert not features.requires_grad
    head = feature_network(name).head
    torch.testing.assert_close(
        features @ head.weight.T + head.bias, feature_network(name).classify(x)
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_call_of_a_process_draws_no_random_numbers(name):
    feature_network.cache_clear()
    before = torch.get_rng_state()
    extract_features(name, torch.zeros(1, *NETWORKS[name].shape))
    assert torch.equal(torch.get_rng_state(), before)


def test_many_images_are_processed_in_chunks():
    x = torch.rand(2100, 1, 8, 8)
    torch.testing.assert_close(
        extract_features("digits-cnn", x)[1990:2010], extract_features("digits-cnn", x[1990:2010])
    )


def test_half_precision_images_are_converted_to_single_precision():
    x = torch.rand(3, 1, 8, 8).bfloat16()
    assert torch.equal(extract_features("digits-cnn", x), extract_features("digits-cnn", x.float()))


@pytest.mark.parametrize("content", [b"damaged", None], ids=["damaged", "missing"])
def test_a_damaged_or_missing_file_is_refused(content, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    feature_network.cache_clear()
    if content:
        (tmp_path / "digits-cnn-v1.safetensors").write_bytes(content)
    reason = hashlib.sha256(content).hexdigest() if content else "is missing"
    with pytest.raises(
        DataError, match=f"'digits-cnn'.*digits-cnn-v1.safetensors.*{reason}.*install genzoo again"
    ):
        feature_network("digits-cnn")


def test_errors_for_unknown_names_and_shapes_list_the_networks():
    with pytest.raises(
        SettingError,
        match=r"'inception'.*fmnist-cnn for images of shape \(1, 28, 28\) and digits-cnn",
    ):
        feature_network("inception")
    with pytest.raises(
        SettingError,
        match=r"fmnist-cnn does not fit images of shape \(1, 8, 8\).*digits-cnn for images",
    ):
        extract_features("fmnist-cnn", torch.rand(2, 1, 8, 8))


def test_the_network_is_chosen_by_shape():
    assert network_for((1, 28, 28)) == "fmnist-cnn"
    assert network_for((1, 8, 8)) == "digits-cnn"
    assert [network_for(shape) for shape in ((3, 28, 28), (1, 32, 32), (2,))] == [None] * 3


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
