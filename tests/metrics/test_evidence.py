"""Evidence: the rows, samples, and features of an evaluation, and their independence."""

import numpy as np
import pytest
import torch

import genzoo
from genzoo import Dataset
from genzoo.errors import DataError, SettingError
from genzoo.metrics import Evidence
from tests.metrics.stand_in import StandIn, evidence_of, replay

X = torch.arange(60.0).view(20, 3)


def sampler(**members):
    """Return a model that samples random numbers."""
    return StandIn((3,), sample=lambda n, given=None: torch.rand(n, 3), **members)


def test_held_out_rows_are_the_first_ones_in_batches():
    evidence = evidence_of(sampler(), X, n=7, batch_size=3)
    assert evidence.n == 7
    assert [len(batch) for batch in evidence.batches()] == [3, 3, 1]
    assert torch.equal(torch.cat(list(evidence.examples("test"))), X[:7])
    assert evidence_of(sampler(), X).n == 20


def test_training_rows_are_chosen_by_the_seed():
    train = torch.arange(300.0).view(100, 3)

    def rows(**settings):
        return torch.cat(list(evidence_of(sampler(), X, train, **settings).examples("train")))

    first = rows()
    assert torch.equal(first, rows())
    assert torch.equal(first, rows(batch_size=7))
    chosen = (first[:, 0] / 3).long().tolist()
    assert len(set(chosen)) == 20
    assert chosen != list(range(20))
    assert not torch.equal(first, rows(seed=1))
    assert len(torch.cat(list(evidence_of(sampler(), X, train[:5]).examples("train")))) == 5


def test_columns_of_a_training_row_stay_together_and_unpaired_ones_do_not():
    train = {"x": torch.arange(100.0)[:, None], "y": torch.arange(100)}
    model = StandIn((1,), inputs=("x", "y"), given=("y",), sample=None)
    batch = next(
        evidence_of(model, {"x": torch.zeros(9, 1), "y": torch.zeros(9)}, train).batches("train")
    )
    assert torch.equal(batch["x"][:, 0], batch["y"].float())
    unpaired = {"x": torch.arange(100.0)[:, None], "y": torch.arange(50.0)[:, None]}
    data = Dataset(unpaired, {name: x[:9] for name, x in unpaired.items()}, (("x",), ("y",)))
    batch = next(Evidence(model, data).batches("train"))
    assert len(batch["x"]) == len(batch["y"]) == 9
    assert not torch.equal(batch["x"], batch["y"])


def test_labels_belong_to_the_rows_of_batches():
    x = torch.arange(30.0)[:, None]
    data = Dataset({"x": x, "y": x[:, 0].int()}, {"x": x[:9] + 100, "y": 100 + torch.arange(9)})
    evidence = Evidence(StandIn((1,)), data, n=8, batch_size=3)
    for split in ("test", "train"):
        rows = torch.cat(list(evidence.examples(split)))
        assert torch.equal(evidence.labels("y", split), rows[:, 0].long())
        assert evidence.labels("x", split) is evidence.labels("z", split) is None


def test_labels_of_another_group_are_not_those_of_the_rows():
    columns = {"x": torch.rand(6, 1), "y": torch.arange(6)}
    data = Dataset(columns, columns, groups=(("x",), ("y",)))
    assert Evidence(StandIn((1,)), data).labels("y", "train") is None


def test_samples_are_drawn_once_and_depend_only_on_the_seed():
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    evidence = evidence_of(sampler(), X, batch_size=6)
    samples = evidence.samples
    assert torch.rand(()) == expected
    assert samples is evidence.samples
    assert samples.shape == (20, 3)
    assert len({*samples.flatten().tolist()}) == 60
    assert torch.equal(evidence_of(sampler(), X, batch_size=6).samples, samples)
    assert not torch.equal(evidence_of(sampler(), X, batch_size=6, seed=1).samples, samples)
    assert torch.equal(torch.cat(list(evidence.examples("samples"))), samples)


def test_pairs_share_their_conditions():
    """The model returns its condition, so each sample must equal its label."""
    model = StandIn((1,), inputs=("x", "y"), given=("y",), sample=lambda n, given: given[:, None])
    y = torch.arange(20.0)
    for x, samples in evidence_of(model, {"x": y[:, None], "y": y}, batch_size=6).pairs():
        assert torch.equal(x, samples)


def test_models_of_several_columns_have_a_mapping_of_samples():
    columns = {"x": X, "y": X.flip(1)}
    model = StandIn(
        (3,), inputs=("x", "y"), sample=lambda n: {"x": torch.zeros(n, 3), "y": torch.ones(n, 2)}
    )
    evidence = evidence_of(model, columns, batch_size=6)
    assert {name: tuple(s.shape) for name, s in evidence.samples.items()} == {
        "x": (20, 3),
        "y": (20, 2),
    }
    x, samples = list(evidence.pairs())[3]
    assert torch.equal(x["y"], X.flip(1)[18:])
    assert torch.equal(samples["y"], torch.ones(2, 2))
    with pytest.raises(DataError, match="one generated column; StandIn has x, y"):
        evidence.features(None, "test")


def test_features_are_computed_once_per_network_and_shared():
    calls = []

    class Sums(genzoo.contract.FeatureNetwork):
        version = "sums-v1"

        def __init__(self, shape):
            super().__init__(shape, 1)

        def forward(self, x):
            calls.append(len(x))
            return x.sum(1, keepdim=True)

    evidence, network = evidence_of(replay(X + 1), X, batch_size=15), Sums((3,))
    view = evidence.reading(("x",))
    for _ in range(2):
        features = view.features(network, "samples")
    assert calls == [15, 5]
    np.testing.assert_array_equal(features.numpy(), (X + 1).sum(1, keepdim=True).numpy())
    assert evidence.features(network, "samples") is features
    np.testing.assert_array_equal(evidence.features("pixels", "test").numpy(), X.numpy())
    assert evidence.network("pixels") is view.network("pixels")


def test_columns_of_a_metric_are_read_in_addition():
    data = {"x": X, "truth": 2 * X}
    evidence = evidence_of(sampler(), data)
    (batch,) = evidence.reading(("truth",)).batches()
    assert torch.equal(batch["truth"], 2 * batch["x"])
    (plain,) = evidence.batches()
    assert torch.equal(plain, X)
    with pytest.raises(DataError, match="no column 'depth'"):
        next(evidence.reading(("depth",)).batches())


def test_data_that_do_not_fit_the_model_are_refused_by_name():
    with pytest.raises(DataError, match="has no test split"):
        Evidence(sampler(), X)
    with pytest.raises(DataError, match="reads the column 'y', but the test split of data has x"):
        evidence_of(sampler(inputs=("x", "y"), given=("y",)), {"x": X})
    with pytest.raises(DataError, match=r"shape \(3,\).*'x' of data has examples of shape \(4,\)"):
        evidence_of(sampler(), torch.rand(5, 4))
    for n in (0, 2.5, "many"):
        with pytest.raises(SettingError, match=r"n = .*whole number from 1"):
            evidence_of(sampler(), X, n=n)
    with pytest.raises(SettingError, match=r"batch_size = 0.*whole number from 1"):
        evidence_of(sampler(), X, batch_size=0)


def test_more_samples_than_fit_into_memory_are_refused(monkeypatch):
    monkeypatch.setattr("genzoo.memory.free_memory", lambda device: 100)
    with pytest.raises(SettingError, match=r"n = 20 samples needs .*take fewer"):
        _ = evidence_of(sampler(), X).samples
