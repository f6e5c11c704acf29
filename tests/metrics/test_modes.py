import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from genzoo.data.toy_points import toy
from genzoo.errors import DataError, SettingError
from genzoo.registry.build import build
from tests.metrics.stand_in import StandIn, measurements

CENTERS = {
    "8-gaussians": np.array(
        [[2 * math.cos(math.radians(45 * k)), 2 * math.sin(math.radians(45 * k))] for k in range(8)]
    )
    / 1.414,
    "25-gaussians": np.array([[a, b] for a in (-4, -2, 0, 2, 4) for b in (-4, -2, 0, 2, 4)])
    / 2.828,
}
DEVIATION = {"8-gaussians": 0.02 / 1.414, "25-gaussians": 0.05 / 2.828}
TRUE = 1 - math.exp(-4.5)
"""The fraction of a two-dimensional Gaussian within three standard deviations."""


def model_of_points(points):
    """Return a model whose samples are the points, over and over."""
    points, start = torch.as_tensor(points).float(), 0

    def sample(n):
        nonlocal start
        start += n
        return points[torch.arange(start - n, start) % len(points)]

    return StandIn((2,), sample=sample)


def measured(metric, points, held_out, **settings):
    """Return quantity -> value, and the floors under the names that end in `_floor`."""
    rows = measurements(metric, model_of_points(points), held_out, **settings)
    floors = {f"{name}_floor": row.floor for name, row in rows.items() if row.floor is not None}
    return {**{name: row.value for name, row in rows.items()}, **floors}


def draws(distribution, n, seed=0, modes=slice(None)):
    rng = np.random.default_rng(seed)
    centers = CENTERS[distribution][modes]
    return centers[rng.integers(len(centers), size=n)] + DEVIATION[distribution] * rng.normal(
        size=(n, 2)
    )


def measure(distribution, points, n=600, **settings):
    """Evaluate points against held-out points from numpy."""
    held_out = torch.from_numpy(draws(distribution, 2 * n, seed=1)).float()
    return measured({"name": "modes", "samples": n, **settings}, points, held_out)


@pytest.mark.parametrize("distribution", CENTERS)
def test_collapse_on_one_mode(distribution):
    k = len(CENTERS[distribution])
    values = measure(distribution, np.repeat(CENTERS[distribution][:1], 600, axis=0))
    assert (values["modes"], values["modes_of"], values["high_quality"]) == (1, k, 1)
    assert values["reverse_kl"] == pytest.approx(math.log(k), rel=1e-6)  # 2.079 and 3.219
    assert values["w1"] > 10 * values["w1_floor"]


@pytest.mark.slow
@pytest.mark.parametrize("distribution", CENTERS)
def test_true_points_have_values_near_their_floors(distribution):
    values = measure(distribution, draws(distribution, 2500), n=2500)
    k = len(CENTERS[distribution])
    assert values["modes"] == values["modes_of"] == k
    for name in ("high_quality", "high_quality_floor"):
        assert values[name] == pytest.approx(TRUE, abs=4 * math.sqrt(TRUE * (1 - TRUE) / 2500))
    for name in (
        "reverse_kl",
        "reverse_kl_floor",
    ):  # 2n times the value is chi-squared with K - 1 degrees of freedom
        assert 2 * 2500 * values[name] == pytest.approx(k - 1, abs=4 * math.sqrt(2 * (k - 1)))
    assert values["w1"] == pytest.approx(values["w1_floor"], rel=0.5)


@pytest.mark.slow
def test_the_floor_of_the_reverse_kl():
    floors = [measure("8-gaussians", draws("8-gaussians", 100), n=100)["reverse_kl"]]
    floors += [
        measure("8-gaussians", draws("8-gaussians", 100, seed), n=100)["reverse_kl"]
        for seed in range(2, 200)
    ]
    error = np.std(floors) / math.sqrt(len(floors))
    # the next order is O(1 / n^2)
    assert np.mean(floors) == pytest.approx(7 / 200, abs=4 * error + 0.001)


@pytest.mark.parametrize("distribution", CENTERS)
def test_a_missing_mode_is_not_counted(distribution):
    k = len(CENTERS[distribution])
    values = measure(distribution, draws(distribution, 1000, modes=slice(1, None)), n=1000)
    assert (values["modes"], values["modes_of"]) == (k - 1, k)
    assert values["reverse_kl"] == pytest.approx(
        math.log(k / (k - 1)) + (k - 2) / 2000, abs=4 * math.sqrt(2 * k) / 2000
    )


def test_uniform_noise_has_low_quality():
    noise = np.random.default_rng(0).uniform(-1.7, 1.7, size=(1000, 2))
    values = measure("25-gaussians", noise, n=1000)
    share = 25 * math.pi * (3 * DEVIATION["25-gaussians"]) ** 2 / 3.4**2
    assert values["high_quality"] == pytest.approx(share, abs=4 * math.sqrt(share / 1000))
    assert values["reverse_kl"] < 0.1  # every sample belongs to its nearest mode
    assert values["w1"] > 2 * values["w1_floor"]


def test_modes_need_enough_samples():
    points = np.concatenate(
        [np.repeat(CENTERS["8-gaussians"][[k]], c, axis=0) for k, c in ((0, 581), (1, 10), (2, 9))]
    )
    assert measure("8-gaussians", points)["modes"] == 2
    assert measure("8-gaussians", points, least=9)["modes"] == 3


def test_high_quality_ends_at_three_deviations():
    for deviations, share in ((2.99, 1), (3.01, 0)):
        values = measure(
            "8-gaussians",
            np.tile(CENTERS["8-gaussians"], (75, 1))
            + np.array([deviations * DEVIATION["8-gaussians"], 0]),
        )
        assert (values["modes"], values["high_quality"]) == (8 * share, share)


def test_the_distance_equals_scipy():
    held_out = draws("8-gaussians", 120, seed=1).astype("float32")
    points = draws("8-gaussians", 60, seed=2).astype("float32")
    values = measured({"name": "modes", "samples": 60}, points, held_out, batch_size=7)

    def w1(x, y):
        cost = cdist(x, y)
        return cost[linear_sum_assignment(cost)].mean()

    assert values["w1"] == pytest.approx(w1(points, held_out[::2]), rel=1e-9)
    assert values["w1_floor"] == pytest.approx(w1(held_out[1::2], held_out[::2]), rel=1e-9)


def test_the_distribution_of_the_dataset_is_recognized():
    for distribution in CENTERS:
        x = toy(distribution, rows=100).test["x"]
        assert measured("modes", x, x)["modes_of"] == len(CENTERS[distribution])
    x = toy("moons", rows=100).test["x"]
    assert sorted(measured("modes", x, x)) == ["w1", "w1_floor"]
    named = {"name": "modes", "distribution": "8-gaussians"}
    assert measured(named, x, x)["modes_of"] == 8


@pytest.mark.parametrize(("samples", "expected"), [(15, 15), (80, 50)])
def test_at_most_half_of_the_held_out_points_are_compared(samples, expected):
    x = draws("8-gaussians", 100)
    rows = measurements({"name": "modes", "samples": samples}, model_of_points(x), x)
    assert {row.n for row in rows.values()} == {expected}


def test_the_error_of_the_share_is_binomial():
    center = CENTERS["8-gaussians"][:1]
    points = np.repeat(np.concatenate([center, center + 1]), [75, 25], axis=0)
    held_out = draws("8-gaussians", 200, seed=1)
    row = measurements("modes", model_of_points(points), held_out)["high_quality"]
    assert row.value == 0.75
    assert row.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 100))


def test_unsuitable_models_are_refused():
    def model(shape=(2,), **members):
        return StandIn(shape, sample=None, **members)

    lacking = build("modes", "metrics").lacking
    assert lacking(build("vae", shape=(2,))) == []
    assert (
        lacking(model(shape=(1, 8, 8)))
        == lacking(model(shape=(3,)))
        == ["points in the plane, of shape (2,)"]
    )
    assert lacking(model(inputs=("x", "y"), given=("y",))) == []


def test_invalid_settings_and_data_are_named():
    with pytest.raises(
        SettingError, match=r'metric.distribution = "moons": expected.*25-gaussians'
    ):
        build({"name": "modes", "distribution": "moons"}, "metrics")
    with pytest.raises(DataError, match="at least two held-out points, but there are 1"):
        measured("modes", torch.zeros(1, 2), torch.zeros(1, 2))
