"""The registered metrics that compare features of samples and held-out examples."""

import pytest
import torch
from sklearn.datasets import load_digits

import genzoo
from genzoo.errors import DataError
from genzoo.metrics import (
    classifier_two_sample_test,
    debiased_frechet_distance,
    fidelity_and_diversity,
    frechet_standard_error,
    kernel_distance,
    kernel_permutation_test,
    measure_memorization,
    sliced_wasserstein,
)
from tests.metrics.stand_in import StandIn, measurements, replay

NAMES = ("kernel-distance", "sliced-wasserstein", "precision-recall", "two-sample", "memorization")


@pytest.fixture(scope="module")
def digits():
    images = torch.from_numpy(load_digits().images / 16).float()[:, None]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order]


@pytest.fixture(scope="module")
def sets(digits):
    """Return samples, held-out images, and training images, and their pixels."""
    test, train, other = digits[:300], digits[300:600], digits[600:900]
    samples = (other + 0.2 * torch.rand(300, 1, 8, 8)).clamp(max=1)
    return (samples, test, train), tuple(x.flatten(1) for x in (samples, test, train))


def rows_of(name, sets, **settings):
    samples, test, train = sets[0]
    spec = {"name": name, "network": "pixels", **settings}
    return measurements(spec, replay(samples), test, train)


def test_kernel_distance(sets):
    samples, test, train = sets[1]
    rows = rows_of("kernel-distance", sets)
    row, p_value = rows["squared_distance"], rows["p_value"]
    assert (row.value, row.standard_error) == pytest.approx(kernel_distance(test, samples))
    assert row.floor == pytest.approx(kernel_distance(test, train).value)
    assert (row.n, row.network, row.higher_is_better) == (300, "pixels-v1", False)
    assert p_value.value == kernel_permutation_test(test, samples) < 0.01


def test_sliced_wasserstein(sets):
    samples, test, train = sets[1]
    row = rows_of("sliced-wasserstein", sets, directions=20)["mind"]
    expected = sliced_wasserstein(test, samples, directions=20)
    assert (row.value, row.standard_error) == pytest.approx([3 * 64 * e for e in expected])
    assert row.floor == pytest.approx(3 * 64 * sliced_wasserstein(test, train, directions=20).value)
    assert row.value > row.floor


def test_precision_recall(sets):
    samples, test, train = sets[1]
    rows = rows_of("precision-recall", sets, k=3)
    expected = fidelity_and_diversity(test, samples, k=3)
    floors = fidelity_and_diversity(test, train, k=3)
    assert list(rows) == list(expected)
    for name, row in rows.items():
        assert (row.value, row.standard_error) == expected[name]
        assert row.floor == pytest.approx(floors[name].value)
        assert row.higher_is_better is True


def test_two_sample(sets):
    samples, test, _ = sets[1]
    rows = rows_of("two-sample", sets)
    expected = classifier_two_sample_test(test, samples)
    names = ("accuracy", "accuracy_low", "accuracy_high", "p_value")
    assert tuple(rows[name].value for name in names) == (
        expected.accuracy, expected.low, expected.high, expected.p_value,
    )  # fmt: skip
    assert (rows["accuracy"].floor, rows["accuracy"].n) == (0.5, 300)


def test_memorization(sets, digits):
    samples, test, train = sets[1]
    rows = rows_of("memorization", sets)
    expected = measure_memorization(samples, train, test)
    for name in ("nearer_to_train", "copying"):
        row = rows[name]
        assert (row.value, row.standard_error) == getattr(expected, name)
    assert rows["nearer_to_train"].floor == 0.5
    assert rows["nearer_to_train"].higher_is_better is None
    assert next(iter(rows)) == "duplicates"
    assert rows["duplicates"].value == 0
    both = measurements("memorization", replay(digits[:300]), digits[:300], digits[290:600])
    assert both["duplicates"].value == 10
    # A model that repeats training images.
    copies = measurements("memorization", replay(digits[300:600]), digits[:300], digits[300:600])
    assert copies["nearer_to_train"].value > 0.99
    assert copies["copying"].value < -5


def test_fewer_training_rows_than_held_out_rows(sets):
    samples, test, train = sets[0]
    flat = sets[1][1]
    spec = {"name": "kernel-distance", "network": "pixels"}
    row = measurements(spec, replay(samples), test, train[:100])["squared_distance"]
    assert row.floor == pytest.approx(kernel_distance(flat[::2], flat[1::2]).value)
    spec["name"] = "memorization"
    few = measurements(spec, replay(samples), test, train[:100])["nearer_to_train"]
    even = torch.arange(100) * 3
    expected = measure_memorization(sets[1][0], sets[1][2][:100], flat[even])
    assert few.value == expected.nearer_to_train.value


def test_frechet_has_an_error_and_a_debiased_value(sets):
    samples, test, train = sets[1]
    rows = rows_of("frechet", sets)
    assert rows["distance"].standard_error == pytest.approx(frechet_standard_error(test, samples))
    debiased = rows["debiased"]
    assert debiased.value == pytest.approx(debiased_frechet_distance(test, samples).value)
    assert debiased.floor == pytest.approx(debiased_frechet_distance(test, train).value)
    assert debiased.value < rows["distance"].value
    images = [x[:100] for x in sets[0]]
    assert list(rows_of("frechet", (images, None))) == ["distance"]


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_thins_out_rows_evenly(sets, name):
    thinned = tuple(x[torch.arange(100) * 3] for x in sets[0])
    settings = {"directions": 5} if name == "sliced-wasserstein" else {}
    limited = rows_of(name, sets, limit=100, **settings)
    whole = rows_of(name, (thinned, None), **settings)
    assert list(limited) == list(whole)
    for key, row in limited.items():
        assert row.value == pytest.approx(whole[key].value)
        assert row.floor == pytest.approx(whole[key].floor)
        # duplicates are counted in all rows
        assert row.n == (300 if key == "duplicates" else whole[key].n)


@pytest.mark.parametrize("name", NAMES)
def test_bad_evidence_is_refused(digits, name):
    with pytest.raises(DataError, match=r"needs at least \d+ held-out examples.*, but there are 3"):
        measurements(name, replay(digits), digits[:3], digits)
    broken = replay(digits / 0)
    with pytest.raises(DataError, match="features of the samples are not finite"):
        measurements(name, broken, digits[:100], digits[100:200])
    lacking = genzoo.build(name, "metrics").lacking
    pair = StandIn((1, 8, 8), sample=None, inputs=("x", "y"))
    assert lacking(pair) == ["a single generated column"]
