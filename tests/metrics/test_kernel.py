import numpy as np
import pytest
import torch
from scipy import stats
from torchmetrics.image.kid import poly_mmd

from genzoo.errors import DataError
from genzoo.metrics import kernel_distance, kernel_permutation_test


def features(n, m, dim, shift=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return x, torch.randn(m, dim, generator=generator, dtype=torch.float64) + shift


def naive(x, y):
    """Return the U-statistic, with loops over pairs."""
    kernel = lambda a, b: (np.dot(a, b) / len(a) + 1) ** 3  # noqa: E731
    n, m = len(x), len(y)
    within_x = [kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j]
    within_y = [kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j]
    across = [kernel(a, b) for a in x for b in y]
    return np.mean(within_x) + np.mean(within_y) - 2 * np.mean(across)


@pytest.mark.parametrize(("n", "m", "dim"), [(2, 2, 1), (30, 20, 3), (20, 35, 60)])
def test_the_sum_over_all_pairs(n, m, dim):
    x, y = features(n, m, dim)
    assert kernel_distance(x, y).value == pytest.approx(naive(x.numpy(), y.numpy()), rel=1e-9)


def test_torchmetrics_over_several_chunks():
    x, y = features(2000, 2000, 16)
    assert kernel_distance(x, y).value == pytest.approx(poly_mmd(x, y).item(), rel=1e-6)


def test_the_mean_is_the_distance_of_the_distributions():
    """For N(0, 1) and N(1, 1), moments of the normal distribution give 4 + 32 - 2 * 7 = 22."""
    values = [kernel_distance(*features(200, 100, 1, 1.0, seed)).value for seed in range(300)]
    assert abs(np.mean(values) - 22) < 4 * stats.sem(values)


def test_the_standard_error_matches_the_jackknife():
    x, y = (z.numpy() for z in features(60, 40, 2))
    variance = 0.0
    for sample, value in (
        (x, lambda rows: naive(x[rows], y)),
        (y, lambda rows: naive(x, y[rows])),
    ):
        n = len(sample)
        leave_one_out = [value(np.arange(n) != i) for i in range(n)]
        variance += (n - 1) * np.var(leave_one_out)
    error = kernel_distance(torch.from_numpy(x), torch.from_numpy(y)).standard_error
    assert error == pytest.approx(variance**0.5, rel=0.05)


def test_the_p_value_matches_scipy():
    x, y = features(12, 9, 2, 0.4)
    rows = np.concatenate([x, y])
    expected = stats.permutation_test(
        (np.arange(12), np.arange(12, 21)),
        lambda first, second: naive(rows[first], rows[second]),
        n_resamples=500,
        alternative="greater",
        vectorized=False,
        rng=np.random.default_rng(0),
    ).pvalue
    assert 0.02 < expected < 0.5
    assert kernel_permutation_test(x, y, permutations=2000) == pytest.approx(expected, abs=0.06)


def test_the_level_and_the_power_of_the_test():
    p_values = [
        [
            kernel_permutation_test(*features(30, 40, 3, shift, seed), permutations=99, seed=seed)
            for seed in range(200)
        ]
        for shift in (0.0, 1.0)
    ]
    rejections = [sum(p <= 0.05 for p in values) for values in p_values]
    assert rejections[0] < stats.binom(200, 0.05).ppf(0.9999)
    assert stats.kstest(p_values[0], "uniform").pvalue > 1e-3
    assert rejections[1] > 180


def test_equal_rows_are_ties():
    x = torch.ones(20, 3)
    assert kernel_permutation_test(x, x, permutations=99) == 1
    assert kernel_distance(x, x) == pytest.approx((0, 0), abs=1e-12)


def test_the_test_limits_the_rows_and_is_repeatable():
    x, y = features(300, 200, 2, 0.2)
    values = {kernel_permutation_test(x, y, limit=50, permutations=99, seed=3) for _ in range(2)}
    assert len(values) == 1
    assert kernel_permutation_test(x, y, limit=3, permutations=99) > 0.04


def test_unsuitable_samples_are_refused():
    x = torch.randn(5, 2)
    with pytest.raises(DataError, match="y has 1 examples, but at least 2"):
        kernel_distance(x, x[:1])
    with pytest.raises(DataError, match="x, y have 2, 1 features"):
        kernel_distance(x, x[:, :1])
    with pytest.raises(DataError, match="x has values that are not finite"):
        kernel_distance(x / 0, x)
