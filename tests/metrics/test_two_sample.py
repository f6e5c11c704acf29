import pytest
import torch
from scipy import stats

from genzoo.errors import DataError
from genzoo.metrics import classifier_two_sample_test, wilson_interval


def gaussian(n, dim, scale=1.0, shift=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, dim, generator=generator, dtype=torch.float64) + shift


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (5, 10), (640, 1000), (9, 9)])
def test_the_interval_matches_scipy(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson_interval(successes, n) == pytest.approx(tuple(expected), abs=1e-12)


def test_shifted_gaussians_reach_the_accuracy_of_bayes():
    """The best classifier of N(0, 1) and N(2, 1) is right with probability Phi(1)."""
    test = classifier_two_sample_test(gaussian(4000, 1), gaussian(4000, 1, shift=2, seed=1))
    best = stats.norm.cdf(1)
    assert test.n == 4000
    assert best - 0.03 < test.accuracy < best + 4 * (best * (1 - best) / 4000) ** 0.5
    assert test.low < test.accuracy < test.high
    assert test.p_value < 1e-12


def test_a_difference_that_a_linear_classifier_cannot_see():
    """N(0, 1) and N(0, 9): the best threshold on |x| is right with probability 0.742."""
    x, y = gaussian(3000, 1), gaussian(3000, 1, 3, seed=1)
    threshold = (2 * 3**2 * torch.log(torch.tensor(3.0)) / (3**2 - 1)).sqrt().item()
    best = stats.norm.cdf(threshold) - stats.norm.cdf(threshold / 3) + 0.5
    test = classifier_two_sample_test(x, y)
    assert test.accuracy == pytest.approx(best, abs=0.04)


def test_the_accuracy_for_equal_distributions():
    tests = [
        classifier_two_sample_test(
            gaussian(100, 3, seed=seed), gaussian(100, 3, seed=seed + 1000), seed=seed
        )
        for seed in range(12)
    ]
    scores = [(test.accuracy - 0.5) * 2 * test.n**0.5 for test in tests]
    assert abs(sum(scores) / 12) < 4 / 12**0.5
    assert sum(test.p_value < 0.05 for test in tests) < stats.binom(12, 0.05).ppf(0.9999)


def test_the_errors_follow_from_the_accuracy():
    test = classifier_two_sample_test(gaussian(200, 2), gaussian(200, 2, shift=0.7, seed=1))
    n, accuracy = test.n, test.accuracy
    assert 0.5 < accuracy < 1
    assert test.standard_error == pytest.approx((accuracy * (1 - accuracy) / n) ** 0.5)
    assert test.p_value == pytest.approx(stats.norm(0.5, 0.5 / n**0.5).sf(accuracy))
    assert (test.low, test.high) == wilson_interval(round(accuracy * n), n)


def test_the_seed_fixes_the_result_and_leaves_torch_alone():
    x, y = gaussian(100, 2), gaussian(100, 2, shift=0.5, seed=1)
    state = torch.get_rng_state()
    first, second, other = (classifier_two_sample_test(x, y, seed=seed) for seed in (0, 0, 1))
    assert first == second != other
    assert torch.equal(torch.get_rng_state(), state)


def test_features_of_any_scale_and_constant_features():
    x, y = gaussian(300, 2), gaussian(300, 2, shift=9, seed=1)
    scale = torch.tensor([1e6, 1e-6])
    constant = torch.ones(300, 1)
    wide = [torch.cat([z * scale, constant], 1) for z in (x, y)]
    assert classifier_two_sample_test(*wide).accuracy == 1


def test_unsuitable_samples_are_refused():
    x = gaussian(30, 2)
    with pytest.raises(DataError, match="x has 19 examples, but at least 20"):
        classifier_two_sample_test(x[:19], x[:19])
    with pytest.raises(DataError, match="x, y have 30, 25 examples"):
        classifier_two_sample_test(x, x[:25])
