import math
from types import SimpleNamespace

import pytest
import torch

from genzoo.build import build


def model(**methods):
    return SimpleNamespace(shape=(1, 2, 3), **methods)


def test_mean_over_examples_not_over_batches():
    exact = model(log_prob=lambda x: x.flatten(1).sum(1))
    values = build("likelihood", "metrics")(exact, [torch.full((3, 1, 2, 3), 0.5), torch.full((1, 1, 2, 3), 0.25)])
    assert values == {"log_prob": pytest.approx((3 * 3 + 1.5) / 4)}


def test_a_fair_coin_has_one_bit():
    exact = model(log_prob=lambda x: torch.full((len(x),), -6 * math.log(2)))
    assert build("likelihood", "metrics")(exact, [torch.ones(2, 1, 2, 3)])["bits_per_dim"] == pytest.approx(1)


def test_the_uniform_density_has_all_bits_of_the_levels():
    exact = model(log_prob=lambda x: torch.zeros(len(x)))
    measure = build({"name": "likelihood", "levels": 256}, "metrics")
    assert measure(exact, [torch.rand(5, 1, 2, 3)]) == {"log_prob": 0, "bits_per_dim": pytest.approx(8)}


def test_bounds_are_called_bounds():
    def bound(x, samples):
        return torch.full((len(x),), -6.0 / samples)

    bounded = model(elbo=lambda x: torch.full((len(x),), -9.0), log_prob_bound=bound)
    values = build({"name": "likelihood", "samples": 2}, "metrics")(bounded, [torch.zeros(2, 1, 2, 3)])
    assert values == {"elbo": -9, "log_prob_bound": -3, "bits_per_dim_bound": pytest.approx(3 / (6 * math.log(2)))}


def test_grey_values_have_no_bits():
    exact = model(log_prob=lambda x: x.sum((1, 2, 3)))
    assert list(build("likelihood", "metrics")(exact, [torch.rand(2, 1, 2, 3)])) == ["log_prob"]


def test_either_likelihood_or_bound_is_needed():
    lacking = build("likelihood", "metrics").lacking
    assert lacking(model(log_prob=None)) == lacking(model(elbo=None)) == []
    assert lacking(model()) == ["log_prob|elbo"]
