"""Models as estimators of scikit-learn."""

import itertools
import pickle
import pickletools

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import genzoo
from genzoo.sklearn import GenerativeEstimator

SMALL = {"name": "mlp", "hidden": (8,)}
CODER = {"latent_dim": 2, "encoder": SMALL, "decoder": SMALL}
ADVERSARIAL = {"latent_dim": 2, "generator": SMALL, "critic": SMALL}


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal([5.0, -300.0, 0.0], [0.01, 40.0, 1.0], (60, 3))


def estimator(model="wae-mmd", settings=CODER, steps=2, **arguments):
    return GenerativeEstimator(
        model, steps, batch_size=16, settings=settings, random_state=0, **arguments
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", ["wae-mmd", "gan"])
def test_the_checks_of_scikit_learn_pass(model):
    results = check_estimator(GenerativeEstimator(model, steps=2))
    assert {result["status"] for result in results} <= {"passed", "skipped"}


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("wae-mmd", CODER),
        ("gan", ADVERSARIAL),
        ("rnade", {"hidden": 8}),
        ("vae", CODER),
    ],
)
def test_samples_follow_the_units_of_the_data(model, settings, x):
    """A change of units by powers of two is exact, so a model must learn the same distribution."""
    factor, offset = np.array([0.5, 1024.0, 2.0]), np.array([0.0, 4096.0, -8.0])
    first = estimator(model, settings).fit(x)
    second = estimator(model, settings).fit(x * factor + offset)
    samples, rescaled = first.sample(50, random_state=1), second.sample(50, random_state=1)
    tolerance = 1e-3 * x.std(0) * factor
    assert (np.abs(samples * factor + offset - rescaled) < tolerance).all()
    if model in ("rnade", "vae"):
        densities = second.score_samples(x * factor + offset) + np.log(factor).sum()
        np.testing.assert_allclose(densities, first.score_samples(x), atol=1e-2)
    else:
        assert not hasattr(first, "score_samples")
        assert second.score(x * factor + offset) == pytest.approx(first.score(x), abs=1e-3)


def test_a_density_integrates_to_one():
    x = np.random.default_rng(0).normal(7000, 200, (200, 1))
    rnade = estimator("rnade", {"hidden": 4, "components": 2}, steps=20).fit(x)
    grid = np.linspace(2000, 12000, 4001)[:, None]
    densities = np.exp(rnade.score_samples(grid).astype(float))
    assert np.trapezoid(densities, grid[:, 0]) == pytest.approx(1, abs=1e-3)
    assert rnade.score(x) == pytest.approx(rnade.score_samples(x).mean(), rel=1e-5)


def test_probabilities_of_bits_sum_to_one():
    bits = np.array(list(itertools.product([0.0, 1.0], repeat=4)))
    nade = estimator("nade", {"hidden": 4}).fit(bits)
    assert np.exp(nade.score_samples(bits)).sum() == pytest.approx(1, abs=1e-5)
    assert set(np.unique(nade.sample(20, random_state=0))) <= {0.0, 1.0}
    with pytest.raises(ValueError, match=r"0\.5"):
        nade.score_samples(bits / 2)


def test_methods_that_a_model_lacks_are_absent(x):
    gan = estimator("gan", ADVERSARIAL)
    assert not hasattr(gan, "transform")
    assert not hasattr(gan, "fit_transform")
    gan.fit(x)
    assert not hasattr(gan, "transform")
    assert gan.inverse_transform(np.zeros((4, 2))).shape == (4, 3)
    assert not hasattr(estimator("no-such-model"), "transform")


def test_the_score_without_a_likelihood_is_minus_the_energy_distance(x):
    """For rows far from all samples, the distance is about twice that of the means."""
    wae = estimator().fit(x)
    shift = np.array([0.0, 1e6, 0.0])
    in_deviations = 1e6 / x.std(0)[1]
    assert wae.score(x + shift) == pytest.approx(-2 * in_deviations, rel=1e-3)
    assert wae.score(x) > -2
    assert wae.score(x) == wae.score(x)
    assert np.isfinite(wae.score(x[:1]))


def test_codes_are_decoded_in_the_units_of_the_data(x):
    wae = estimator(steps=80, train={"players": {"autoencoder": {"lr": 0.02}}}).fit(x)
    codes = wae.transform(x)
    assert codes.shape == (60, 2)
    decoded = wae.inverse_transform(codes)
    error = ((decoded - x) ** 2).mean(0) / x.var(0)
    assert error.mean() < 0.7  # two of three independent columns fit into two coordinates
    assert list(wae.get_feature_names_out()) == ["generativeestimator0", "generativeestimator1"]


def test_images_are_rows_with_a_shape():
    x = load_digits().data[:40] / 16
    settings = {"shape": (1, 8, 8), **CODER}
    wae = estimator(settings=settings).fit(x)
    assert wae.model_.shape == (1, 8, 8)
    samples = wae.sample(5)
    assert samples.shape == (5, 64)
    assert samples.min() >= 0
    assert samples.max() <= 1
    assert wae.inverse_transform(wae.transform(x)).shape == (40, 64)


def test_pipelines_searches_and_clones(x):
    pipeline = make_pipeline(StandardScaler(), estimator("vae"))
    grid = {"generativeestimator__settings": [CODER, {**CODER, "latent_dim": 1}]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(x)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    first, second = estimator(), clone(estimator())
    np.testing.assert_array_equal(first.fit_transform(x), second.fit_transform(x))


def test_a_pickle_holds_the_bytes_of_a_run_folder(x, tmp_path):
    wae = estimator().fit(x)
    pickled = pickle.dumps(wae)
    words = {str(argument) for _, argument, _ in pickletools.genops(pickled)}
    assert {"recipe.toml", "model.safetensors"} <= words
    assert not any(word.startswith("torch") for word in words)
    restored = pickle.loads(pickled)
    np.testing.assert_array_equal(restored.transform(x), wae.transform(x))
    np.testing.assert_array_equal(restored.sample(5, random_state=3), wae.sample(5, random_state=3))
    assert pickle.loads(pickle.dumps(estimator())).steps == 2
    folder = genzoo.save(restored.model_, tmp_path / "run")
    assert genzoo.load(folder).is_standardized


def test_random_state_decides_everything(x):
    first, second = (estimator().fit(x) for _ in range(2))
    np.testing.assert_array_equal(first.transform(x), second.transform(x))
    state = torch.get_rng_state()
    assert (first.sample(4, random_state=0) != first.sample(4, random_state=1)).any()
    assert (first.sample(4) != first.sample(4)).any()
    assert torch.equal(torch.get_rng_state(), state)
    vae = estimator("vae").fit(x)
    np.testing.assert_array_equal(vae.score_samples(x), vae.score_samples(x))


def test_double_precision(x):
    wae = estimator(train={"precision": "64-true"}).fit(x * 1e100)
    assert wae.transform(x).dtype == wae.sample(2).dtype == np.float64
    assert np.isfinite(wae.sample(2)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "vea"}, "Did you mean 'vae'"),
        ({"model": {"name": "vae"}}, "expected the name of a registered model"),
        ({"model": genzoo.build("vae", shape=(3,))}, "expected the name of a registered model"),
        ({"settings": {"classes": 3}}, r"reads x, y.*leave classes out"),
        ({"settings": {"latent": 3}}, "latent_dim"),
        ({"settings": {"shape": (2, 2)}}, r"X has 3 features.*\(2, 2\) has 4 values"),
        ({"settings": ["classes"]}, "settings = .*expected a dict"),
        ({"train": "cpu"}, "train = .*expected a dict"),
        ({"batch_size": "all"}, 'batch_size = "all": expected a whole number'),
        ({"batch_size": 0}, "batch_size = 0: expected a whole number"),
        ({"train": {"seed": 3}}, "random_state"),
        ({"train": {"steps": 3}}, "argument steps"),
        ({"train": {"stpes": 3}}, "steps"),
    ],
)
def test_a_wrong_argument_is_named_by_fit(arguments, message, x):
    with pytest.raises(ValueError, match=message):
        GenerativeEstimator(**{"steps": 2, **arguments}).fit(x)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([[1.0, np.nan, 2.0]] * 3, "NaN"),
        ([[1e39, 2.0]] * 3, "too large for float32"),
        ([[1e10, 0.0], [1e10 + 1, 1.0]] * 3, "64-true"),
        ([[1.0, 2.0]], "1 sample"),
    ],
)
def test_bad_data_are_a_value_error(data, message):
    with pytest.raises(ValueError, match=message):
        estimator().fit(data)


def test_bad_calls_are_value_errors(x):
    with pytest.raises(NotFittedError):
        estimator().sample()
    wae = estimator().fit(x)
    with pytest.raises(ValueError, match=r"4 columns.*have 2"):
        wae.inverse_transform(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="expecting 3 features"):
        wae.transform(x[:, :2])
