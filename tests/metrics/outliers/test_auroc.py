"""The AUROC against scikit-learn, SciPy, and the definition of DeLong's variance."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from genzoo.errors import DataError
from genzoo.metrics import auroc


def normals(seed, n, m, shift, decimals=8):
    """Return scores of inliers and outliers; few decimals give ties."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.normal(shift, 1.5, size=m)
    return np.round(x, decimals), np.round(y, decimals)


def of(x, y):
    return auroc(torch.from_numpy(x), torch.from_numpy(y))


def pairs(x, y):
    """Return the matrix of the definition: 1 where an outlier is above, 1/2 where it is equal."""
    return (y[:, None] > x).astype(float) + 0.5 * (y[:, None] == x)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (50, 7), (300, 400)])
@pytest.mark.parametrize("decimals", [8, 0])
@pytest.mark.parametrize("shift", [-2, 0, 0.5])
def test_the_value_equals_scikit_learn_and_the_u_statistic(n, m, decimals, shift):
    x, y = normals(0, n, m, shift, decimals)
    value = of(x, y).value
    labels = np.repeat([0, 1], [n, m])
    assert value == pytest.approx(roc_auc_score(labels, np.concatenate([x, y])), abs=1e-12)
    assert value == pytest.approx(stats.mannwhitneyu(y, x).statistic / (n * m), abs=1e-12)


@pytest.mark.parametrize("decimals", [8, 0])
def test_the_standard_error_is_that_of_the_rows_and_columns_of_all_pairs(decimals):
    x, y = normals(1, 60, 35, 0.7, decimals)
    matrix = pairs(x, y)
    rows, columns = matrix.mean(1), matrix.mean(0)
    expected = math.sqrt(rows.var(ddof=1) / len(y) + columns.var(ddof=1) / len(x))
    assert of(x, y).standard_error == pytest.approx(expected, rel=1e-10)


def test_the_standard_error_agrees_with_the_bootstrap():
    x, y = normals(2, 200, 150, 0.7)
    statistic = lambda x, y: stats.mannwhitneyu(y, x).statistic / (len(x) * len(y))  # noqa: E731
    bootstrap = stats.bootstrap(
        (x, y), statistic, n_resamples=600, vectorized=False, rng=0, method="percentile"
    )
    assert of(x, y).standard_error == pytest.approx(bootstrap.standard_error, rel=0.1)


@pytest.mark.parametrize("shift", [0, 1, 2.5])
def test_the_interval_covers_the_true_area(shift):
    """For normals, the area is the probability that their difference is positive."""
    area = stats.norm.cdf(shift / math.sqrt(1 + 1.5**2))
    results = [of(*normals(seed, 80, 60, shift)) for seed in range(400)]
    covered = np.mean([result.low <= area <= result.high for result in results])
    assert 0.92 <= covered <= 0.98


@pytest.mark.parametrize(("n", "m"), [(10, 3), (4, 50)])
def test_separated_scores_have_the_exact_interval_of_independent_pairs(n, m):
    x, y = torch.arange(n), 100 + torch.arange(m)
    k = min(n, m)
    exact = stats.binomtest(k, k).proportion_ci(method="exact")
    assert auroc(x, y) == pytest.approx((1, 0, exact.low, 1))
    assert auroc(y, x) == pytest.approx((0, 0, 0, 1 - exact.low))


def test_equal_scores_are_undecided_and_infinite_scores_are_ordered():
    assert auroc(torch.ones(5), torch.ones(3)) == (0.5, 0, 0, 1)
    assert auroc(torch.tensor([0.0, math.inf]), torch.tensor([1.0, math.inf])).value == 0.625


def test_refuses_few_scores_and_nan():
    with pytest.raises(DataError, match=r"outliers has 1 scores.*at least 2"):
        auroc(torch.ones(5), torch.ones(1))
    with pytest.raises(DataError, match=r"inliers has scores that are NaN"):
        auroc(torch.tensor([0, math.nan]), torch.ones(2))
