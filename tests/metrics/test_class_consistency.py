"""The match of samples with their labels."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

import genzoo
from genzoo import Dataset
from genzoo.errors import DataError
from genzoo.metrics import Evidence
from tests.metrics.stand_in import StandIn

CENTERS = torch.tensor([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])


def data(n=120, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    return {"x": CENTERS[y] + torch.randn(n, 2, generator=generator), "y": y}


def model(sample):
    return StandIn((2,), inputs=("x", "y"), given=("y",), classes=3, sample=sample)


def rows_of(sample, test=None, train=None):
    evidence = Evidence(
        model(sample), Dataset(train or data(seed=1), test or data()), batch_size=50
    )
    return {row.quantity: row for row in genzoo.build("class-consistency", "metrics")(evidence)}


def noisy(labels):
    return CENTERS[labels] + torch.randn(len(labels), 2)


def test_samples_of_their_class_are_consistent():
    rows = rows_of(lambda n, given: noisy(given))
    consistency = rows["consistency"]
    assert (consistency.value, consistency.floor, consistency.n) == (1, 1, 120)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (1 / 3, 1 / 3)])
def test_samples_of_other_classes_are_not(share, expected):
    def sample(n, given):
        if share:
            return noisy(torch.zeros_like(given))  # always the first of three classes
        return noisy((given + 1) % 3)

    row = rows_of(sample)["consistency"]
    assert row.value == pytest.approx(expected, abs=0.01)
    assert row.floor == 1


def test_the_distance_is_the_mean_over_classes():
    samples = []

    def sample(n, given):
        samples.append(noisy(given) + torch.tensor([2.0, 0.0]))
        return samples[-1]

    row = rows_of(sample)["intra_frechet"]
    x, y = data()["x"].double().numpy(), data()["y"].numpy()
    s = torch.cat(samples).double().numpy()
    expected = []
    for label in range(3):
        a, b = x[y == label], s[y == label]
        root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
        shift = np.square(a.mean(0) - b.mean(0)).sum()
        expected.append(shift + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root))
    assert row.value == pytest.approx(np.mean(expected), rel=1e-5)
    assert row.floor < 0.5 < row.value


def test_a_class_has_equally_many_rows_in_the_value_and_the_floor():
    """Of 40 samples of a class, ten are compared: the ten training rows of that class."""
    train = data(30, seed=1)

    def sample(n, given):
        rows = torch.empty(n, 2)
        for label in range(3):
            rows[given == label] = train["x"][train["y"] == label].repeat_interleave(4, dim=0)
        return rows

    evidence = Evidence(model(sample), Dataset(train, data()))
    rows = {row.quantity: row for row in genzoo.build("class-consistency", "metrics")(evidence)}
    row = rows["intra_frechet"]
    assert row.n == 30
    assert row.value == pytest.approx(row.floor)


def test_repeated_examples_are_consistent_but_far_within_classes():
    rows = rows_of(lambda n, given: CENTERS[given])
    assert rows["consistency"].value == 1
    assert rows["intra_frechet"].value > 5 * rows["intra_frechet"].floor


def test_refusals():
    metric = genzoo.build("class-consistency", "metrics")
    assert metric.lacking(genzoo.load("vae", shape=(2,))) == [
        "labels as the condition, as with classes = 10"
    ]
    floats = {**data(), "y": torch.rand(120)}
    with pytest.raises(DataError, match="integer labels, but the column 'y' of the test split"):
        rows_of(lambda n, given: torch.rand(n, 2), test=floats)
    one = {**data(), "y": torch.zeros(120).long()}
    with pytest.raises(DataError, match="at least two classes"):
        rows_of(lambda n, given: torch.rand(n, 2), train=one)
