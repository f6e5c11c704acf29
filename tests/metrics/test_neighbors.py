import numpy as np
import pytest
import torch
from prdc import compute_prdc
from scipy.spatial.distance import cdist
from scipy.special import betaln, comb, gammaln
from sklearn.datasets import load_digits

from genzoo.errors import DataError
from genzoo.metrics import coverage_null, debiased_frechet_distance, fidelity_and_diversity


def gaussian(n, dim, scale=1.0, shift=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, dim, generator=generator, dtype=torch.float64) + shift


def values_of(real, samples, k=5):
    return {
        name: estimate.value
        for name, estimate in fidelity_and_diversity(real, samples, k=k).items()
    }


def clipped_by_definition(real, samples, k):
    """Return the clipped density and coverage as the paper defines them."""
    n, m = len(real), len(samples)
    within, across = cdist(real, real), cdist(real, samples)
    np.fill_diagonal(within, np.inf)
    radius = np.sort(within, axis=1)[:, k - 1]
    clipped = np.minimum(radius, np.median(radius))[:, None]
    density, ideal = (
        np.minimum((distance <= clipped).sum(axis=0) / k, 1).mean() for distance in (across, within)
    )
    covered = np.minimum((across <= radius[:, None]).sum(axis=1), k).mean() / k
    expected = np.zeros(m + 1)
    for good in range(k, m + 1):
        j = np.arange(good + 1)
        probability = np.exp(
            gammaln(good + 1) - gammaln(j + 1) - gammaln(good - j + 1)
            + betaln(k + j, n + good - k - j) - betaln(k, n - k)
        )  # fmt: skip
        expected[good] = (np.minimum(j, k) * probability).sum() / k
    return min(density / ideal, 1), np.searchsorted(expected, covered) / (m + 1)


@pytest.mark.parametrize(("n", "dim", "k"), [(40, 1, 3), (301, 2, 5), (300, 16, 5), (1500, 3, 1)])
def test_other_implementations(n, dim, k):
    real, samples = gaussian(n, dim), gaussian(n, dim, 0.8, 0.3, seed=1)
    values = values_of(real, samples, k)
    expected = compute_prdc(real.numpy(), samples.numpy(), nearest_k=k)
    expected["clipped_density"], expected["clipped_coverage"] = clipped_by_definition(
        real.numpy(), samples.numpy(), k
    )
    assert values == pytest.approx(expected, abs=1e-9)


def test_the_values_for_equal_distributions():
    values = [
        values_of(gaussian(500, 2, seed=seed), gaussian(500, 2, seed=seed + 1000))
        for seed in range(100)
    ]
    mean = {name: np.mean([value[name] for value in values]) for name in values[0]}
    assert mean["density"] == pytest.approx(1, abs=0.01)
    assert mean["coverage"] == pytest.approx(coverage_null(500, 500), abs=0.003)
    assert mean["precision"] == pytest.approx(0.995, abs=0.005)
    assert mean["recall"] == pytest.approx(0.992, abs=0.006)
    for name in ("clipped_density", "clipped_coverage"):
        assert 0.95 < mean[name] <= 1


def test_precision_and_recall_of_equal_distributions_are_lower_in_many_dimensions():
    values = [
        values_of(gaussian(500, 32, seed=seed), gaussian(500, 32, seed=seed + 1000))
        for seed in range(20)
    ]
    mean = {name: np.mean([value[name] for value in values]) for name in values[0]}
    assert mean["precision"] == pytest.approx(0.80, abs=0.02)
    assert mean["recall"] == pytest.approx(0.81, abs=0.02)
    assert mean["density"] == pytest.approx(1, abs=0.06)
    assert mean["coverage"] == pytest.approx(coverage_null(500, 500), abs=0.01)


def test_the_null_of_coverage_is_the_hypergeometric_probability():
    """The k nearest of n - 1 + m points are all real with probability C(n-1, k) / C(n-1+m, k)."""
    for n, m, k in ((10, 10, 5), (50, 20, 3), (7, 4, 1)):
        expected = 1 - comb(n - 1, k) / comb(n - 1 + m, k)
        assert coverage_null(n, m, k) == pytest.approx(expected, rel=1e-12)
    assert coverage_null(5000, 5000) == pytest.approx(0.9688, abs=1e-4)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9])
def test_the_clipped_forms_are_the_fraction_of_good_samples(fraction):
    real, samples = gaussian(2000, 4), gaussian(2000, 4, seed=1)
    samples[int(fraction * 2000) :] += 100
    values = values_of(real, samples)
    assert values["clipped_coverage"] == pytest.approx(fraction, abs=0.05)
    assert values["clipped_density"] == pytest.approx(fraction, abs=0.05)


def test_an_outlier_spoils_density_but_not_its_clipped_form():
    real, samples = gaussian(500, 2), gaussian(500, 2, 0.1, 12, seed=1)
    real[0] = 15
    values = values_of(real, samples)
    assert values["precision"] == 1
    assert values["density"] > 0.15
    assert values["clipped_density"] == 0


@pytest.mark.parametrize("dim", [2, 16])
def test_the_standard_errors_are_the_deviations_of_the_values(dim):
    estimates = [
        fidelity_and_diversity(
            gaussian(1000, dim, seed=seed), gaussian(1000, dim, 1.2, 0.2, seed=seed + 1000)
        )
        for seed in range(50)
    ]
    for name in ("density", "coverage", "clipped_density", "clipped_coverage"):
        deviation = np.std([estimate[name].value for estimate in estimates], ddof=1)
        errors = np.mean([estimate[name].standard_error for estimate in estimates])
        assert 0.6 < errors / deviation < 1.6, name


def test_small_samples_have_no_standard_error():
    estimates = fidelity_and_diversity(gaussian(150, 2), gaussian(150, 2, seed=1))
    assert {estimate.standard_error for estimate in estimates.values()} == {None}


def test_the_order_of_rows_and_the_origin_do_not_matter():
    real, samples = gaussian(300, 8), gaussian(300, 8, seed=1)
    values = values_of(real, samples)
    assert values_of(real.flip(0), samples.roll(7, 0)) == values
    assert values_of(real + 1000, samples + 1000) == values
    constant = torch.full((300, 5), 3.0)
    assert values_of(torch.cat([real, constant], 1), torch.cat([samples, constant], 1)) == values


def test_copies_of_the_real_examples_count_as_within_the_radius():
    real = gaussian(300, 8)
    values = values_of(real, real.flip(0))
    assert values["precision"] == values["recall"] == values["coverage"] == 1
    # The copy of the center and of its k neighbors.
    assert values["density"] == pytest.approx(6 / 5)


def test_collapse_shows_where_the_frechet_distance_is_mild():
    images = torch.from_numpy(load_digits().images / 16).flatten(1)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    real, other, rest = images[order[:800]], images[order[800:1600]], images[order[1600:1797]]
    collapsed = rest[torch.arange(800) % 40]
    healthy, poor = values_of(real, other), values_of(real, collapsed)
    assert poor["coverage"] < 0.6 * healthy["coverage"]
    assert poor["clipped_coverage"] < 0.6 * healthy["clipped_coverage"]
    assert poor["recall"] < 0.1 * healthy["recall"]
    assert poor["precision"] > 0.8 * healthy["precision"]
    noise = torch.rand(800, 64, generator=torch.Generator().manual_seed(0))
    mild, severe = (debiased_frechet_distance(real, x).value for x in (collapsed, noise))
    assert mild < 0.3 * severe


def test_unsuitable_samples_are_refused():
    x = gaussian(20, 2)
    with pytest.raises(DataError, match="real, samples have 20, 19 examples"):
        fidelity_and_diversity(x, x[1:])
    with pytest.raises(DataError, match="real has 6 examples, but at least 7"):
        fidelity_and_diversity(x[:6], x[:6])
    with pytest.raises(DataError, match="k is 0"):
        fidelity_and_diversity(x, x, k=0)
