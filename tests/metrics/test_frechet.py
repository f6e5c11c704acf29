from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.datasets import load_digits

import genzoo
from genzoo.errors import DataError, SettingError
from genzoo.metrics.features import feature_network
from genzoo.metrics.frechet import frechet_distance
from genzoo.registry.build import build

DISTANCE, FLOOR = "distance (digits-cnn-v1)", "floor (digits-cnn-v1)"


def with_scipy(mean1, covariance1, mean2, covariance2):
    root = linalg.sqrtm(covariance1 @ covariance2).real
    return ((mean1 - mean2) ** 2).sum() + np.trace(covariance1 + covariance2 - 2 * root)


def moments(x):
    return x.mean(axis=0), np.cov(x.T)


def distance_of(*arrays):
    return frechet_distance(*map(torch.from_numpy, arrays))


class StandIn(SimpleNamespace):
    unpack = genzoo.Model.unpack


def model(sample, shape=(1, 8, 8), **more):
    return StandIn(**{"shape": shape, "inputs": ("x",), "given": (), "sample": sample, **more})


def replay(x):
    """Return a model whose samples are the rows of `x`, one after another."""
    rows = iter(x)
    return model(lambda n: torch.stack([next(rows) for _ in range(n)]))


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


@pytest.mark.filterwarnings("ignore:Matrix is singular")
def test_distance_and_floor_match_scipy_on_the_features(digits):
    real, fake = digits[:401], (digits[401:802] + 0.3 * torch.rand(401, 1, 8, 8)).clamp(max=1)
    values = build("frechet", "metrics")(replay(fake), real.split([150, 1, 250]))
    see = lambda x: feature_network("digits-cnn")(x).double().numpy()  # noqa: E731
    assert list(values) == [DISTANCE, FLOOR]
    assert values[DISTANCE] == pytest.approx(
        with_scipy(*moments(see(real)), *moments(see(fake))), rel=1e-4
    )
    assert values[FLOOR] == pytest.approx(
        with_scipy(*moments(see(real[::2])), *moments(see(real[1::2]))), rel=1e-4
    )


def test_the_order_of_batches_does_not_matter(digits):
    parts, metric = digits[:300].split(100), build("frechet", "metrics")
    values = [
        metric(replay(digits[300:600]), order)[DISTANCE]
        for order in (parts, parts[::-1], [digits[:300]])
    ]
    assert values[1:] == pytest.approx(values[:1] * 2, rel=1e-5)


def test_worse_images_have_a_larger_distance(digits):
    torch.manual_seed(0)
    real, other = digits[:800], digits[800:1600]
    metric = build("frechet", "metrics")
    fakes = (
        other,
        (other + 0.3 * torch.rand_like(other)).clamp(max=1),
        torch.rand_like(other),
        other.mean(dim=0).expand_as(other),
    )
    values = [metric(replay(fake), [real])[DISTANCE] for fake in fakes]
    assert values == sorted(values)
    assert metric(replay(real), [real])[DISTANCE] == pytest.approx(0, abs=1e-3)


def test_the_network_is_chosen_by_shape_or_by_name(digits):
    real, twenty_eight = digits[:20], torch.rand(20, 1, 28, 28)
    assert list(build("frechet", "metrics")(replay(real), [real])) == [DISTANCE, FLOOR]
    named = build({"name": "frechet", "network": "fmnist-cnn"}, "metrics")
    clothes = model(lambda n: torch.rand(n, 1, 28, 28), (1, 28, 28))
    for metric in (named, build("frechet", "metrics")):
        assert list(metric(clothes, [twenty_eight])) == [
            "distance (fmnist-cnn-v1)",
            "floor (fmnist-cnn-v1)",
        ]
    assert named.lacking(model(None)) == ["images of shape (1, 28, 28)"]
    with pytest.raises(SettingError, match=r"fmnist-cnn does not fit images of shape \(1, 8, 8\)"):
        named(replay(real), [real])
    with pytest.raises(SettingError, match=r'metric.network = "inception": expected.*fmnist-cnn'):
        build({"name": "frechet", "network": "inception"}, "metrics")


def test_other_shapes_are_not_resized():
    metric, color_model = (
        build("frechet", "metrics"),
        model(lambda n: torch.rand(n, 3, 28, 28), (3, 28, 28)),
    )
    assert metric.lacking(color_model) == ["images of shape (1, 28, 28) or (1, 8, 8)"]
    with pytest.raises(
        SettingError,
        match=r"shape \(3, 28, 28\).*fmnist-cnn for images of shape \(1, 28, 28\) and digits-cnn",
    ):
        metric(color_model, [torch.rand(8, 3, 28, 28)])


def test_unsuitable_models_are_refused():
    lacking = build("frechet", "metrics").lacking
    assert lacking(build("vae", shape=(1, 8, 8))) == []
    assert lacking(model(None, inputs=("x", "y"), given=("y",))) == []
    assert lacking(model(None, inputs=("x", "y"))) == ["a single generated column"]


def test_a_conditional_model_is_given_the_labels_of_the_held_out_images():
    """Sampling the image of each label gives distance 0; ignoring the labels does not."""
    digits = torch.from_numpy(load_digits().images).float()[:200, None] / 16
    label = torch.arange(200)
    like = {"shape": (1, 8, 8), "inputs": ("x", "y"), "given": ("y",)}
    right = StandIn(**like, sample=lambda n, given: digits[given])
    wrong = StandIn(**like, sample=lambda n, given: digits[given * 0])
    batches = [{"x": digits[i : i + 50], "y": label[i : i + 50]} for i in range(0, 200, 50)]
    distances = [
        build("frechet", "metrics")(model_, batches)["distance (digits-cnn-v1)"]
        for model_ in (right, wrong)
    ]
    assert abs(distances[0]) < 1e-3
    assert distances[1] > 10


def test_too_few_images_are_refused(digits):
    with pytest.raises(DataError, match="at least four held-out images, but there are 3"):
        build("frechet", "metrics")(replay(digits), [digits[:3]])
