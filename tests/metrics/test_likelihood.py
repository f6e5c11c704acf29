import math

import numpy as np
import pytest
import torch

from genzoo.registry.build import build
from tests.metrics.stand_in import StandIn, measurements, values


def model(**methods):
    return StandIn((1, 2, 3), **methods)


def test_the_mean_is_over_examples_not_over_batches():
    exact = model(log_prob=lambda x: x.flatten(1).sum(1))
    x = torch.cat([torch.full((3, 1, 2, 3), 0.5), torch.full((1, 1, 2, 3), 0.25)])
    x += 1e-7 * torch.arange(24).view(4, 1, 2, 3)  # equal values would be levels
    row = measurements("likelihood", exact, x, batch_size=3)["log_prob"]
    assert row.value == pytest.approx((3 * 3 + 1.5) / 4, rel=1e-4)
    assert row.standard_error == pytest.approx(np.std([3, 3, 3, 1.5], ddof=1) / 2, rel=1e-4)
    assert (row.n, row.higher_is_better) == (4, True)


@pytest.mark.parametrize("levels", [None, 256])
def test_a_fair_coin_has_one_bit(levels):
    exact = model(log_prob=lambda x: torch.full((len(x),), -6 * math.log(2)), is_discrete=True)
    measured = values({"name": "likelihood", "levels": levels}, exact, torch.ones(2, 1, 2, 3))
    assert measured["bits_per_dim"] == pytest.approx(1)


def test_the_uniform_density_has_all_bits_of_the_levels():
    exact = model(log_prob=lambda x: torch.zeros(len(x)))
    assert values({"name": "likelihood", "levels": 256}, exact, torch.rand(5, 1, 2, 3)) == {
        "log_prob": 0,
        "bits_per_dim": pytest.approx(8),
    }


def test_bounds_are_named_as_bounds():
    def bound(x, samples):
        return torch.full((len(x),), -6.0 / samples)

    bounded = model(
        elbo=lambda x: torch.full((len(x),), -9.0), log_prob_bound=bound, is_discrete=True
    )
    assert values({"name": "likelihood", "samples": 2}, bounded, torch.zeros(2, 1, 2, 3)) == {
        "elbo": -9,
        "log_prob_bound": -3,
        "bits_per_dim_bound": pytest.approx(3 / (6 * math.log(2))),
    }


def test_the_importance_weighted_bound_reads_limited_examples():
    bounded = model(
        elbo=lambda x: torch.full((len(x),), -9.0),
        log_prob_bound=lambda x, samples: -x.flatten(1).sum(1) / samples,
    )
    x = torch.arange(6.0)[:, None, None, None].expand(6, 1, 2, 3) / 6
    table = {"name": "likelihood", "samples": 1, "limit": 3}
    rows = measurements(table, bounded, x, batch_size=2)
    assert (rows["elbo"].n, rows["log_prob_bound"].n) == (6, 4)
    assert rows["log_prob_bound"].value == pytest.approx(-(0 + 1 + 2 + 3) / 4)


@pytest.mark.parametrize(
    ("discrete", "x", "levels"),
    [
        (False, torch.rand(2, 1, 2, 3), None),  # gray values without a number of levels
        (False, torch.ones(2, 1, 2, 3), None),  # a density at bits
        (False, torch.ones(2, 1, 2, 3), 2),
        (False, torch.randint(9, (40, 1, 2, 3)) / 8, 9),  # a density at gray levels
        (True, torch.rand(2, 1, 2, 3), None),  # the cross-entropy of gray values
        (True, torch.rand(2, 1, 2, 3), 256),
    ],
)
def test_continuous_likelihoods_have_no_bits(discrete, x, levels):
    exact = model(log_prob=lambda x: x.sum((1, 2, 3)), is_discrete=discrete)
    assert list(values({"name": "likelihood", "levels": levels}, exact, x)) == ["log_prob"]


@pytest.mark.parametrize(("likelihood", "bits"), [("gaussian", False), ("bernoulli", True)])
def test_a_vae_has_bits_only_with_a_bernoulli_likelihood(likelihood, bits):
    vae = build({"name": "vae", "likelihood": likelihood}, shape=(1, 2, 3))
    assert ("bits_per_dim_bound" in values("likelihood", vae, torch.ones(2, 1, 2, 3))) == bits


def test_a_likelihood_or_a_bound_is_required():
    lacking = build("likelihood", "metrics").lacking
    assert lacking(model(log_prob=None)) == lacking(model(elbo=None)) == []
    assert lacking(model()) == ["log_prob|elbo"]


def test_a_model_of_levels_counts_no_extra_bits_for_levels():
    """Uniform over 17 levels: log2(17) bits per number, and no extra term for the levels."""
    model = build(
        {"name": "pixel-rnn", "levels": 17, "layer": "conv", "hidden": 2, "depth": 1},
        shape=(1, 2, 3),
    )
    with torch.no_grad():
        model.head[-1].weight.zero_()
        model.head[-1].bias.zero_()
    x = torch.randint(17, (3, 1, 2, 3)) / 16
    assert values({"name": "likelihood", "levels": 256}, model, x) == {
        "log_prob": pytest.approx(-6 * math.log(17)),
        "bits_per_dim": pytest.approx(math.log2(17)),
    }


def test_a_conditional_likelihood_is_measured_with_labels():
    model = build(
        {"name": "pixel-rnn", "layer": "conv", "hidden": 2, "depth": 1, "classes": 3},
        shape=(1, 2, 3),
    )
    with torch.no_grad():
        model.layers[0].label.weight.normal_()
    assert build("likelihood", "metrics").lacking(model) == []
    x, y = torch.randint(2, (4, 1, 2, 3)).float(), torch.tensor([0, 1, 2, 0])
    expected = model.log_prob(x, y).mean().item()
    measured = values("likelihood", model, {"x": x, "y": y}, batch_size=3)
    assert measured["log_prob"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("members", "x", "basis", "ranks"),
    [
        ({}, torch.rand(40, 1, 2, 3), "density", True),
        ({}, torch.randint(9, (40, 1, 2, 3)) / 8, "density of data that are not deq", False),
        ({}, torch.randint(2, (40, 1, 2, 3)).float(), "density of data that are not deq", False),
        ({"is_discrete": True}, torch.randint(2, (40, 1, 2, 3)).float(), "probability of b", True),
        ({"is_discrete": True}, torch.rand(40, 1, 2, 3), "cross-entropy of gray values", False),
        (
            {"is_discrete": True, "bits_per_dim": None},
            torch.randint(9, (40, 1, 2, 3)) / 8,
            "probability of levels",
            True,
        ),
    ],
)
def test_the_basis_says_what_a_likelihood_means(members, x, basis, ranks):
    exact = model(log_prob=lambda x: x.sum((1, 2, 3)), **members)
    row = measurements("likelihood", exact, x)["log_prob"]
    assert row.basis.startswith(basis)
    assert row.higher_is_better == (True if ranks else None)


@pytest.mark.parametrize("batch_size", [1, 100, 400])
def test_white_dequantized_data_are_noticed_in_batches_of_any_size(batch_size):
    """Float32 has only 65,536 values from 255/256 to 1, so most of these pixels are equal."""
    x = ((255 + torch.rand(400, 1, 28, 28, dtype=torch.float64)) / 256).float()
    assert 2 * x.unique().numel() < x.numel()
    exact = StandIn((1, 28, 28), log_prob=lambda x: torch.zeros(len(x)))
    table = {"name": "likelihood", "levels": 256}
    rows = measurements(table, exact, x, batch_size=batch_size)
    assert rows["log_prob"].basis == "density, dequantized 256 levels"
    assert rows["bits_per_dim"].value == pytest.approx(8)


def test_the_estimator_of_a_bound_has_its_number_of_samples():
    bounded = model(
        elbo=lambda x: torch.full((len(x),), -9.0),
        log_prob_bound=lambda x, samples: torch.full((len(x),), -8.0),
        is_discrete=True,
    )
    rows = measurements({"name": "likelihood", "samples": 7}, bounded, torch.ones(2, 1, 2, 3))
    estimators = [row.estimator for row in rows.values()]
    assert estimators == ["mean", "7 importance samples", "7 importance samples"]
