"""The network that learns from the training split: what it learns, and when it is trained."""

import re

import numpy as np
import pytest
import torch

import genzoo
from genzoo.errors import DataError, SettingError
from genzoo.metrics import Evidence, SelfTrained
from genzoo.metrics.networks.self_trained import _Decoder
from tests.metrics.stand_in import StandIn

SHAPE = (1, 8, 8)
FAST = {"steps": 30}


@pytest.fixture(scope="module")
def digits():
    return genzoo.build("digits", "datasets")


@pytest.fixture(scope="module")
def x(digits):
    return digits.prepare(torch.as_tensor(digits.train["x"]))


def test_features_keep_more_of_the_image_than_before(x):
    """A linear map from features predicts the image better, on other rows."""

    def residual(network):
        with torch.no_grad():
            f = torch.cat([network(x), torch.ones(len(x), 1)], dim=1).double().numpy()
        targets = x.flatten(1).double().numpy()
        weights = np.linalg.lstsq(f[:1000], targets[:1000], rcond=None)[0]
        return np.square(f[1000:] @ weights - targets[1000:]).mean()

    torch.manual_seed(0)
    mean_image = (x[1000:] - x[:1000].mean(0)).square().mean().item()
    small = {"dim": 8}
    learned = SelfTrained(SHAPE, steps=300, **small)
    learned.fit(x)
    assert residual(learned) < 0.8 * residual(SelfTrained(SHAPE, **small)) < mean_image


def test_the_version_names_the_seed_and_the_weights(x):
    def version(**settings):
        network = SelfTrained(SHAPE, **{**FAST, **settings})
        note = network.fit(x[: settings.pop("rows", None)])
        assert note.startswith(f"{network.version} was trained in ")
        return network.version

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = version()
    assert torch.equal(torch.rand(3), expected)
    assert re.fullmatch(r"self-trained-v1 \(seed 0, [0-9a-f]{8}\)", first)
    with torch.inference_mode():
        assert version() == first
    assert version(seed=1).startswith("self-trained-v1 (seed 1, ")
    others = {version(steps=31), version(dim=32), version(seed=1)}
    assert len({first, *others}) == 4
    other_rows = SelfTrained(SHAPE, **FAST)
    other_rows.fit(x[:500])
    assert other_rows.version != first
    assert SelfTrained(SHAPE).version == "self-trained-v1 (untrained)"


def test_a_network_is_trained_once(x):
    network = SelfTrained(SHAPE, **FAST)
    assert network.training_rows == 10_000
    network.fit(x)
    assert network.training_rows == 0
    assert not any(p.requires_grad for p in network.parameters())
    version, features = network.version, network(x[:5])
    assert network.fit(1 - x) == ""
    assert network.version == version
    assert torch.equal(network(x[:5]), features)


def test_an_evaluation_trains_it_on_the_training_split(digits, x, monkeypatch):
    calls = []

    real = SelfTrained.fit

    def fit(self, rows):
        calls.append(rows)
        return real(self, rows)

    monkeypatch.setattr(SelfTrained, "fit", fit)
    table = {"name": "self-trained", **FAST}
    samples = torch.rand(297, 8, 8, generator=torch.Generator().manual_seed(0))
    metrics = [
        {"name": "frechet", "network": table},
        {"name": "precision-recall", "network": table},
        {"name": "memorization", "network": table},
    ]
    evaluation = genzoo.evaluate(samples, digits, metrics)
    assert evaluation.skipped == {}
    assert len(calls) == 1
    assert sorted(calls[0].flatten(1).tolist()) == sorted(x.flatten(1).tolist())
    versions = {row.network for row in evaluation if row.network}
    assert len(versions) == 1
    (note,) = evaluation.notes
    assert note.startswith(f"{versions.pop()} was trained in 30 steps on 1,500 training examples")
    assert re.search(r"which took \d+\.\d s\.$", note)
    assert f"- {note}\n" in evaluation.to_markdown()
    other = genzoo.evaluate(samples, digits, metrics[:1], n=90, seed=7)
    assert other["frechet", "distance"].network == evaluation["frechet", "distance"].network
    assert torch.equal(calls[1], calls[0])


def test_training_rows_are_limited_and_unconditional():
    """A model with labels reads two columns, and the network only the images."""
    x, y = torch.rand(80, 3, 5, 7), torch.arange(80) % 3
    data = genzoo.Dataset({"x": x[:50], "y": y[:50]}, {"x": x[50:], "y": y[50:]})
    model = StandIn((3, 5, 7), inputs=("x", "y"), given=("y",))
    network = SelfTrained((3, 5, 7), **FAST)
    network.training_rows = 40
    evidence = Evidence(model, data)
    assert evidence.features(network, "test").shape == (30, 64)
    assert "40 training examples" in evidence.notes[0]


def test_the_network_does_not_depend_on_the_batch_size():
    data = genzoo.build({"name": "digits", "dequantize": True}, "datasets")
    versions = {
        Evidence(StandIn(SHAPE), data, batch_size=size).network(SelfTrained(SHAPE, **FAST)).version
        for size in (70, 1000)
    }
    assert len(versions) == 1


def test_an_instance_is_trained_and_can_be_shared(digits):
    network = SelfTrained(SHAPE, **FAST)
    samples = torch.rand(60, 8, 8)
    first, second = (
        genzoo.evaluate(samples, digits, genzoo.metrics.Frechet(network), n=100) for _ in range(2)
    )
    assert first == second
    assert len(first.notes) == 1
    assert second.notes == []


def test_a_file_replaces_the_training(x, tmp_path, monkeypatch):
    file = tmp_path / "networks" / "mine.safetensors"
    first = SelfTrained(SHAPE, file=str(file), **FAST)
    note = first.fit(x)
    assert file.is_file()
    monkeypatch.setattr(SelfTrained, "_train", None)
    again = SelfTrained(SHAPE, file=str(file), **FAST)
    assert again.fit(x) == note
    assert again.version == first.version
    assert torch.equal(again(x[:9]), first(x[:9]))
    for settings, rows, word in (
        ({"seed": 1}, x, "seed"),
        ({"steps": 31}, x, "steps"),
        ({"dim": 8}, x, "dim"),
        ({}, x[:100], "examples"),
    ):
        other = SelfTrained(SHAPE, **{"file": str(file), **FAST, **settings})
        with pytest.raises(
            DataError, match=f"mine.safetensors holds a network of other {word}; .*"
        ):
            other.fit(rows)
    file.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"mine\.safetensors cannot be read.*remove it"):
        SelfTrained(SHAPE, file=str(file), **FAST).fit(x)


def test_a_file_in_the_home_folder_is_read_again(x, tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    first, again = (SelfTrained(SHAPE, file="~/net.safetensors", **FAST) for _ in range(2))
    first.fit(x)
    assert (tmp_path / "net.safetensors").is_file()
    monkeypatch.setattr(SelfTrained, "_train", None)
    again.fit(x)
    assert again.version == first.version


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 9, 12), (2, 5, 40), (1, 28, 28), (3, 33, 65)])
def test_images_of_any_size(shape):
    x = torch.rand(6, *shape)
    network = SelfTrained(shape, dim=7, steps=2)
    network.fit(x)
    assert network(x).shape == (6, 7)
    assert network(x).isfinite().all()
    assert _Decoder(shape, 7)(network(x)).shape == x.shape


def test_large_images_use_fewer_rows():
    assert SelfTrained((3, 256, 256)).training_rows == 2**26 // (3 * 256 * 256)


def test_vectors_are_refused_by_name():
    with pytest.raises(SettingError, match=r"self-trained.*shape \(5,\); use .pixels."):
        SelfTrained((5,))
