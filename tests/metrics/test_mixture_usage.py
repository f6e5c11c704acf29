"""The use of components against the closed form of a ring, and against counts by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from genzoo import build
from tests.metrics.stand_in import StandIn, measurements

RING = {"name": "mog", "components": 8, "means": "ring", "radius": 2.0, "scale": 0.3}


def ring(**members):
    return StandIn((2,), prior=build(RING, "priors", dim=2), encode=lambda x: x, **members)


def labeled(n, seed):
    """Return samples of the ring and the components that drew them, without the prior's code."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(8, (n,), generator=generator)
    angle = y * (2 * math.pi / 8)
    center = 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return {"x": center + 0.3 * torch.randn(n, 2, generator=generator), "y": y}


def test_the_ring_has_its_known_values():
    test, train = labeled(20_000, 0), labeled(5000, 1)
    rows = measured("mixture-usage", ring(), test, train)
    assert rows["perplexity"].value == pytest.approx(7.999, abs=0.005)
    assert rows["accuracy"].value == pytest.approx(0.9874, abs=3e-3)
    assert rows["nmi"].value == pytest.approx(0.9635, abs=6e-3)


def measured(metric, model, test, train):
    from genzoo import Dataset
    from genzoo.metrics import Evidence

    evidence = Evidence(model, Dataset(train, test), n=20_000, seed=0)
    return {row.quantity: row for row in build(metric, "metrics")(evidence)}


def test_one_used_component_has_perplexity_one():
    rows = measurements("mixture-usage", ring(), torch.tensor([[2.0, 0.0]]).repeat(30, 1))
    assert list(rows) == ["perplexity"]
    assert rows["perplexity"].value == pytest.approx(1, abs=1e-4)


def test_accuracy_uses_the_labels_of_training_examples():
    """Two components have the training labels 5 and 7; two of four held-out rows agree."""
    train = {
        "x": torch.tensor([[2.0, 0], [2, 0], [2, 0], [-2, 0]]),
        "y": torch.tensor([5, 5, 7, 7]),
    }
    test = {
        "x": torch.tensor([[2.0, 0], [2, 0], [-2, 0], [-2, 0]]),
        "y": torch.tensor([5, 7, 7, 5]),
    }
    rows = measured("mixture-usage", ring(), test, train)
    assert rows["accuracy"].value == 0.5
    assert rows["nmi"].value == pytest.approx(0, abs=1e-9)
    assert rows["accuracy"].n == 4


def test_floors_are_the_values_by_chance():
    """SciPy's expected mutual information of independent labels; a third class is frequent."""
    test, train = labeled(120, 0), labeled(400, 1)
    for rows in (test, train):
        rows["y"] = torch.where(rows["y"] < 5, 7, rows["y"])
    rows = measured("mixture-usage", ring(), test, train)
    assert rows["accuracy"].floor == pytest.approx((test["y"] == 7).double().mean().item())
    codes = ring().prior.component(test["x"]).argmax(1).numpy()
    y = test["y"].numpy()
    expected = expected_mutual_information(contingency_matrix(y, codes, sparse=True), len(y))
    entropies = [stats.entropy(np.bincount(z)) for z in (y, codes)]
    assert rows["nmi"].floor == pytest.approx(expected / np.mean(entropies), rel=0.15)
    assert rows["nmi"].floor > 0.03
    assert rows["nmi"].value > 3 * rows["nmi"].floor


def test_independent_labels_reach_the_floor():
    test, train = labeled(400, 0), labeled(400, 1)
    generator = torch.Generator().manual_seed(2)
    test["y"] = torch.randint(8, (400,), generator=generator)
    row = measured("mixture-usage", ring(), test, train)["nmi"]
    assert row.value == pytest.approx(row.floor, rel=0.4)


def test_columns_that_are_not_labels_are_left_out():
    x = torch.rand(6, 2)
    for y in (torch.rand(6), torch.randint(3, (6, 2))):
        rows = measured("mixture-usage", ring(), {"x": x, "y": y}, {"x": x, "y": y})
        assert list(rows) == ["perplexity"]


def test_a_fitted_sampler_comes_before_the_prior():
    vae = build({"name": "vae", "latent_dim": 2}, shape=(2,))
    metric = build("mixture-usage", "metrics")
    assert metric.lacking(vae) == ["a prior or sampler that is a mixture"]
    vae.fit_sampler(torch.randn(50, 2), {"name": "mog", "components": 3})
    assert metric.lacking(vae) == []
    rows = measurements(metric, vae.eval(), torch.randn(40, 2))
    assert 1 <= rows["perplexity"].value <= 3
