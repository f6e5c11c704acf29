"""The use of components against the closed form of a ring, and against counts by hand."""

import math

import pytest
import torch

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
