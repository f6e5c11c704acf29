import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

from genzoo.errors import DataError
from genzoo.metrics import measure_memorization, nearest_neighbors


def gaussian(n, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=torch.float64)


def triple(n, dim, seed=0):
    return gaussian(3 * n, dim, seed).split(n)


@pytest.fixture(scope="module")
def digits():
    """Return three disjoint sets of 500 images, `(500, 1, 8, 8)`."""
    images = torch.from_numpy(load_digits().images / 16).float()[:, None]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[:1500]].split(500)


def test_neighbors_match_scipy():
    x, references = gaussian(700, 20), gaussian(1500, 20, seed=1)
    expected = cdist(x, references)
    distances, indices = nearest_neighbors(x, references)
    assert indices.tolist() == expected.argmin(axis=1).tolist()
    assert distances.numpy() == pytest.approx(expected.min(axis=1), rel=1e-12)


def test_the_fraction_and_its_error_match_their_definitions():
    samples, train, held_out = triple(200, 3)
    result = measure_memorization(samples, train, held_out)
    distances = cdist(samples, torch.cat([train, held_out]))
    nearest = distances.argmin(axis=1)
    is_train = nearest < 200
    share = is_train.mean()
    groups = [is_train[nearest == row] for row in np.unique(nearest)]
    variance = sum((len(group) * (group.mean() - share)) ** 2 for group in groups) / 200**2
    assert result.nearer_to_train == pytest.approx((share, math.sqrt(variance)))
    assert result.nearest.tolist() == distances[:, :200].argmin(axis=1).tolist()
    assert result.distances.numpy() == pytest.approx(distances[:, :200].min(axis=1))


@pytest.mark.parametrize("dim", [2, 16, 64])
def test_a_model_that_copies_nothing_scores_a_half(dim):
    estimates = [
        measure_memorization(*triple(200, dim, seed)).nearer_to_train for seed in range(100)
    ]
    values = [estimate.value for estimate in estimates]
    assert abs(np.mean(values) - 0.5) < 4 * stats.sem(values)
    errors = np.sqrt(np.mean([estimate.standard_error**2 for estimate in estimates]))
    assert 0.75 < errors / np.std(values, ddof=1) < 1.4


def test_a_model_of_another_distribution_also_scores_a_half():
    """The samples may be bad: the exchange of training and held-out examples changes nothing."""
    values = []
    for seed in range(100):
        samples, train, held_out = triple(200, 8, seed)
        values.append(measure_memorization(samples * 0.3 + 1, train, held_out)[0].value)
    assert abs(np.mean(values) - 0.5) < 4 * stats.sem(values)


def test_copies_are_noticed(digits):
    samples, train, held_out = digits
    noise = 0.02 * torch.randn(train.shape, generator=torch.Generator().manual_seed(0))
    honest, copied = (
        measure_memorization(x, train, held_out) for x in (samples, train.flip(0) + noise)
    )
    share, error = honest.nearer_to_train
    assert abs(share - 0.5) < 4 * error
    assert abs(honest.copying.value) < 4 * honest.copying.standard_error
    assert copied.nearer_to_train.value > 0.97
    assert copied.copying.value < -4
    assert copied.nearest.tolist() == list(range(499, -1, -1))
    half = measure_memorization(torch.cat([train[:250], samples[:250]]), train, held_out)
    assert half.nearer_to_train.value == pytest.approx(0.75, abs=0.08)


def test_a_collapse_to_few_training_images_is_noticed(digits):
    _, train, held_out = digits
    collapsed = train[torch.arange(500) % 20]
    result = measure_memorization(collapsed, train, held_out)
    assert result.nearer_to_train.value == 1
    assert result.distances.max() == 0
    assert set(result.nearest.tolist()) == set(range(20))


def test_an_image_in_both_sets_counts_as_a_half(digits):
    samples, train, _ = digits
    shuffled = train[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    result = measure_memorization(samples, train, shuffled)
    assert result.nearer_to_train == (0.5, 0)


def test_the_copying_statistic_of_one_cell_matches_scipy():
    samples, train, held_out = triple(150, 3)
    # Rounded coordinates have ties.
    for decimals in (0, 8):
        x, t, h = (z.round(decimals=decimals) for z in (samples * 0.9, train, held_out))
        generated, real = cdist(x, t).min(axis=1), cdist(h, t).min(axis=1)
        test = stats.mannwhitneyu(
            generated, real, alternative="greater", method="asymptotic", use_continuity=False
        )
        copying = measure_memorization(x, t, h, cells=1).copying
        assert copying.standard_error == 1
        assert stats.norm.sf(copying.value) == pytest.approx(test.pvalue, rel=1e-6)


def test_the_copying_statistic_of_a_model_that_copies_nothing_is_zero():
    results = [measure_memorization(*triple(300, 4, seed), cells=3).copying for seed in range(60)]
    values = [result.value for result in results]
    assert abs(np.mean(values)) < 4 * stats.sem(values)
    errors = np.sqrt(np.mean([result.standard_error**2 for result in results]))
    assert 0.7 < errors / np.std(values, ddof=1) < 1.4


def test_cells_are_weighted_by_held_out_examples():
    """There are two clusters: copies in one of them, honest samples in the other."""
    samples, train, held_out = triple(400, 2)
    for z, first in ((samples, 200), (train, 200), (held_out, 100)):
        z[:first] += 100
    samples[:200] = train[:200] + 1e-3 * gaussian(200, 2, seed=1)
    result = measure_memorization(samples, train, held_out, cells=2).copying
    scores = []
    for rows, held in ((slice(0, 200), slice(0, 100)), (slice(200, 400), slice(100, 400))):
        generated = cdist(samples[rows], train).min(axis=1)
        real = cdist(held_out[held], train).min(axis=1)
        n, m = len(generated), len(real)
        u = (generated[:, None] > real).sum()
        scores.append((u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12))
    assert result.value == pytest.approx(0.25 * scores[0] + 0.75 * scores[1], rel=1e-9)
    assert result.standard_error == pytest.approx(math.hypot(0.25, 0.75))


def test_small_cells_are_not_compared():
    assert math.isnan(measure_memorization(*triple(10, 2)).copying.value)


def test_unsuitable_sets_are_refused():
    samples, train, held_out = triple(30, 2)
    with pytest.raises(DataError, match="train, held_out have 30, 29 examples"):
        measure_memorization(samples, train, held_out[1:])
    with pytest.raises(DataError, match="samples has values that are not finite"):
        measure_memorization(samples * math.nan, train, held_out)
    with pytest.raises(DataError, match="samples, train, held_out have 1, 2, 2 features"):
        measure_memorization(samples[:, :1], train, held_out)
