import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.datasets import load_digits

from genzoo.errors import DataError, SettingError
from genzoo.metrics.frechet import (
    debiased_frechet_distance,
    frechet_bias,
    frechet_distance,
    frechet_standard_error,
)
from genzoo.registry.build import build
from tests.metrics.stand_in import StandIn, measurements, replay


def with_scipy(mean1, covariance1, mean2, covariance2):
    root = linalg.sqrtm(covariance1 @ covariance2).real
    return ((mean1 - mean2) ** 2).sum() + np.trace(covariance1 + covariance2 - 2 * root)


def moments(x):
    return x.mean(axis=0), np.cov(x.T)


def distance_of(*arrays):
    return frechet_distance(*map(torch.from_numpy, arrays))


@pytest.fixture(scope="module")
def digits():
    return torch.from_numpy(load_digits().images / 16).float()[:, None]


def test_random_covariances_match_scipy():
    rng = np.random.default_rng(0)
    for dim in (1, 2, 20):
        a, b = rng.normal(size=(2, 50, dim)) @ rng.normal(size=(dim, dim)) + rng.normal(
            size=(2, 1, dim)
        )
        one, two = ([m, c.reshape(dim, dim)] for m, c in map(moments, (a, b)))
        assert distance_of(*one, *two) == pytest.approx(with_scipy(*one, *two), rel=1e-9)


def test_diagonal_gaussians_match_the_closed_form():
    mean1, mean2, sd1, sd2 = (torch.rand(6) for _ in range(4))
    expected = ((mean1 - mean2).square() + (sd1 - sd2).square()).sum().item()
    assert frechet_distance(
        mean1, sd1.square().diag(), mean2, sd2.square().diag()
    ) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("rank1", "rank2"), [(3, 3), (30, 4), (1, 1), (0, 5)])
def test_singular_covariances_match_the_nuclear_norm(rank1, rank2):
    """For A A^T and B B^T, the trace of the root is the nuclear norm of A^T B."""
    rng, zero = np.random.default_rng(1), np.zeros(30)
    a, b = rng.normal(size=(30, rank1)), rng.normal(size=(30, rank2))
    root = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    expected = (a**2).sum() + (b**2).sum() - 2 * root
    assert distance_of(zero, a @ a.T, zero, b @ b.T) == pytest.approx(expected, abs=1e-4)


@pytest.mark.filterwarnings("ignore:Matrix is singular")
def test_constant_pixels_match_scipy(digits):
    one = digits[:800].flatten(1).double().numpy()
    assert (one.std(axis=0) == 0).any()
    two = one + 0.1 * np.random.default_rng(0).normal(size=one.shape)
    assert distance_of(*moments(one), *moments(two)) == pytest.approx(
        with_scipy(*moments(one), *moments(two)), abs=1e-6
    )


def measured(samples, test, train=None, network=None, **settings):
    """Return the measured distance of a model with the given samples."""
    metric = build({"name": "frechet", "network": network} if network else "frechet", "metrics")
    return measurements(metric, replay(samples), test, train, **settings)["distance"]


def features_of(x):
    return build("digits-cnn", "networks", shape=(1, 8, 8))(x).double().numpy()


@pytest.mark.filterwarnings("ignore:Matrix is singular")
def test_distance_and_floors_match_scipy_on_the_features(digits):
    real, fake = digits[:401], (digits[401:802] + 0.3 * torch.rand(401, 1, 8, 8)).clamp(max=1)
    f = features_of
    row = measured(fake, real, digits[802:1203], batch_size=150)
    assert (row.quantity, row.network, row.n) == ("distance", "digits-cnn-v1", 401)
    expected = with_scipy(*moments(f(real)), *moments(f(fake)))
    assert row.value == pytest.approx(expected, rel=1e-4)
    floor = with_scipy(*moments(f(real)), *moments(f(digits[802:1203])))
    assert row.floor == pytest.approx(floor, rel=1e-4)
    halves = with_scipy(*moments(f(real[::2])), *moments(f(real[1::2])))
    few = measured(fake, real, digits[802:1202])  # one training row too few
    assert few.floor == pytest.approx(halves, rel=1e-4)


def test_the_size_of_batches_does_not_matter(digits):
    values = [
        measured(digits[300:600], digits[:300], batch_size=size).value for size in (100, 70, 300)
    ]
    assert values[1:] == pytest.approx(values[:1] * 2, rel=1e-5)


def test_worse_images_have_a_larger_distance(digits):
    torch.manual_seed(0)
    real, other = digits[:800], digits[800:1600]
    fakes = (
        other,
        (other + 0.3 * torch.rand_like(other)).clamp(max=1),
        torch.rand_like(other),
        other.mean(dim=0).expand_as(other),
    )
    values = [measured(fake, real).value for fake in fakes]
    assert values == sorted(values)
    assert measured(real, real).value == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("shape", "version"),
    [((1, 8, 8), "digits-cnn-v1"), ((3, 6, 9), "random-conv-v1"), ((2,), "pixels-v1")],
)
def test_every_shape_has_a_network(shape, version):
    torch.manual_seed(0)
    x, other = torch.rand(2, 100, *shape)
    row = measured(other, x)
    assert row.network == version
    assert 0 < row.value < measured(other / 2, x).value


def test_pixels_of_gaussians_match_the_closed_form():
    x, y = torch.randn(2, 20_000, 3, generator=torch.Generator().manual_seed(0))
    row = measured(2 * y + 1, x, n=20_000)
    assert row.value == pytest.approx(3 * 1 + 3 * (2 - 1) ** 2, rel=0.02)


def test_a_network_is_chosen_by_name_and_does_not_resize(digits):
    assert measured(digits[:70], digits[70:140], network="pixels").network == "pixels-v1"
    with pytest.raises(SettingError, match=r"fmnist-cnn-v1 reads images of shape \(1, 28, 28\)"):
        measured(digits[:70], digits[70:140], network="fmnist-cnn")
    with pytest.raises(SettingError, match="inception"):
        measured(digits[:70], digits[70:140], network="inception")


def test_unsuitable_models_are_refused():
    def model(**members):
        return StandIn((1, 8, 8), sample=None, **members)

    lacking = build("frechet", "metrics").lacking
    assert lacking(build("vae", shape=(1, 8, 8))) == []
    assert lacking(model(inputs=("x", "y"), given=("y",))) == []
    assert lacking(model(inputs=("x", "y"))) == ["a single generated column"]


def test_a_conditional_model_is_given_the_labels_of_the_held_out_images(digits):
    """Sampling the image of each label gives distance 0; ignoring the labels does not."""
    labels = torch.arange(200)
    like = {"inputs": ("x", "y"), "given": ("y",)}
    right = StandIn((1, 8, 8), **like, sample=lambda n, given: digits[given])
    wrong = StandIn((1, 8, 8), **like, sample=lambda n, given: digits[given * 0])
    distances = [
        measurements("frechet", model, {"x": digits[:200], "y": labels}, batch_size=50)
        for model in (right, wrong)
    ]
    assert abs(distances[0]["distance"].value) < 1e-3
    assert distances[1]["distance"].value > 10


def test_too_few_images_are_refused_or_warned_about(digits):
    with pytest.raises(DataError, match=r"at least four held-out examples.*, but there are 3"):
        measured(digits[:3], digits[:3])
    with pytest.warns(UserWarning, match="32 examples are too few for the 32 features"):
        measured(digits[:32], digits[:32])


def test_too_many_features_are_refused():
    x = torch.rand(4, 2049)
    with pytest.raises(SettingError, match="2,048 features at most, but pixels-v1 has 2,049"):
        measured(x, x)


def skewed(n, dim, seed):
    """Return correlated features that are not Gaussian."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(dim, dim))
    return rng.exponential(size=(n, dim)) @ mixing


def scipy_distance(x, y):
    return with_scipy(*moments(x), *moments(y))


def test_the_bias_constant_of_gaussians_matches_the_closed_form():
    scales = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    x = torch.randn(100_000, 3, generator=torch.Generator().manual_seed(0)) * scales
    variances = scales.square()
    pairs = variances[:, None] * variances / (variances[:, None] + variances)
    expected = 1.25 * variances.sum() + pairs.sum() / 2
    assert frechet_bias(x) == pytest.approx(expected.item(), rel=0.02)
    constant = torch.full((len(x), 2), 7.0)
    assert frechet_bias(torch.cat([x, constant], 1)) == pytest.approx(frechet_bias(x), rel=1e-9)


def test_the_bias_constant_predicts_the_mean_distance():
    n, m = 300, 200
    distances = [
        scipy_distance(skewed(n, 3, seed), skewed(m, 3, seed + 10_000)) for seed in range(300)
    ]
    predicted = frechet_bias(torch.from_numpy(skewed(50_000, 3, 1))) * (1 / n + 1 / m)
    assert np.mean(distances) == pytest.approx(predicted, rel=0.12)


@pytest.mark.parametrize("dead", [0, 2])
def test_the_standard_error_matches_the_jackknife(dead):
    x, y = skewed(500, 3, 0), 1.5 * skewed(400, 3, 1) + 1
    variance = 0.0
    for sample, distance in (
        (x, lambda rows: scipy_distance(x[rows], y)),
        (y, lambda rows: scipy_distance(x, y[rows])),
    ):
        n = len(sample)
        leave_one_out = [distance(np.arange(n) != i) for i in range(n)]
        variance += (n - 1) * np.var(leave_one_out)
    wide = [np.concatenate([z, np.ones((len(z), dead))], axis=1) for z in (x, y)]
    error = frechet_standard_error(*map(torch.from_numpy, wide))
    assert error == pytest.approx(variance**0.5, rel=0.06)


def test_the_debiased_distance_is_unbiased_and_its_error_true():
    dim, n = 4, 250
    truth = dim * (1.5 - 1) ** 2
    estimates, raw = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(n, dim)), 1.5 * rng.normal(size=(n, dim))
        estimates.append(debiased_frechet_distance(torch.from_numpy(x), torch.from_numpy(y)))
        raw.append(scipy_distance(x, y))
    values = np.array([estimate.value for estimate in estimates])
    deviation = values.std(ddof=1)
    assert abs(values.mean() - truth) < 4 * deviation / 300**0.5
    assert np.mean(raw) - truth > 6 * deviation / 300**0.5
    errors = np.mean([estimate.standard_error for estimate in estimates])
    assert errors == pytest.approx(deviation, rel=0.2)


def test_the_debiased_distance_combines_whole_and_halves():
    x, y = skewed(101, 3, 0), skewed(80, 3, 1)
    expected = 2 * scipy_distance(x, y) - (
        scipy_distance(x[::2], y[::2]) + scipy_distance(x[1::2], y[1::2])
    ) / 2  # fmt: skip
    estimate = debiased_frechet_distance(torch.from_numpy(x), torch.from_numpy(y))
    assert estimate.value == pytest.approx(expected, rel=1e-6)


def test_fewer_rows_than_features_cause_a_warning():
    x, y = torch.randn(2, 20, 30)
    with pytest.warns(UserWarning, match="20 rows with 30 features .* use more than 60 rows"):
        estimate = debiased_frechet_distance(x, y)
    assert np.isfinite(estimate).all()


@pytest.mark.filterwarnings("ignore:The Fréchet distance of")
def test_unsuitable_features_are_refused():
    x = torch.randn(5, 2)
    with pytest.raises(DataError, match="x has 3 examples, but at least 4"):
        debiased_frechet_distance(x[:3], x)
    with pytest.raises(DataError, match="y has values that are not finite"):
        frechet_standard_error(x, x / 0)
    with pytest.raises(DataError, match="x has 1 examples"):
        frechet_bias(x[:1])
