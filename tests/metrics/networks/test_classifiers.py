"""The classifiers: their files, their accuracy, and their hidden layers."""

import hashlib
from pathlib import Path

import pytest
import torch

from genzoo.errors import DataError, SettingError
from genzoo.metrics import DigitsCNN, FashionCNN
from genzoo.metrics.networks import classifiers
from genzoo.registry.build import build

NETWORKS = pytest.mark.parametrize("cls", [DigitsCNN, FashionCNN])


def network_of(cls):
    return cls(cls.file.shape)


def accuracy(cls, dataset, rows=None):
    x, y = (torch.as_tensor(dataset.test[name][:rows]) for name in "xy")
    return (network_of(cls).classify(dataset.prepare(x)).argmax(dim=1) == y).double().mean().item()


def test_the_digits_network_has_the_stated_accuracy():
    stated = DigitsCNN.file.accuracy
    assert accuracy(DigitsCNN, build("digits", "datasets")) == pytest.approx(stated, abs=2 / 297)
    assert stated > 0.97


@pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(),
    reason="the package dataset-fashion-mnist is missing",
)
def test_the_fashion_network_has_the_stated_accuracy():
    share = FashionCNN.file.accuracy
    assert share > 0.9
    measured = accuracy(FashionCNN, build("fashion-mnist", "datasets"), 2000)
    assert measured == pytest.approx(share, abs=4 * (share * (1 - share) / 2000) ** 0.5)


@NETWORKS
def test_files_are_small_and_match_their_hash(cls):
    content = cls.file.path.read_bytes()
    assert len(content) < 500_000
    assert hashlib.sha256(content).hexdigest() == cls.file.sha256


@NETWORKS
def test_features_equal_the_hidden_layer(cls):
    network, x = network_of(cls), torch.rand(7, *cls.file.shape)
    features = network(x)
    assert features.shape == (7, network.dim)
    assert (features >= 0).all()
    assert not features.requires_grad
    head = network.classifier.head
    torch.testing.assert_close(features @ head.weight.T + head.bias, network.classify(x))


@pytest.mark.parametrize("content", [b"damaged", None], ids=["damaged", "missing"])
def test_a_damaged_or_missing_file_is_refused(content, tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "FOLDER", tmp_path)
    if content:
        (tmp_path / "digits-cnn-v1.safetensors").write_bytes(content)
    reason = hashlib.sha256(content).hexdigest() if content else "is missing"
    with pytest.raises(DataError, match=f"digits-cnn-v1.safetensors.*{reason}.*install genzoo"):
        network_of(DigitsCNN)


def test_other_shapes_are_refused():
    with pytest.raises(SettingError, match=r"\(1, 28, 28\), not \(3, 28, 28\); use .random-conv"):
        FashionCNN((3, 28, 28))
