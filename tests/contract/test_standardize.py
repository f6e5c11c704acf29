"""A standardized model is its plain twin after a change of units, in every method that it has."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch.distributions import Normal

import genzoo
from genzoo import Dataset
from genzoo.contract.standardize import standardize
from genzoo.data.stream import iterate_split
from genzoo.errors import DataError, RunError, SettingError
from genzoo.runs.checkpoint import load_weights
from genzoo.train.standardization import column_statistics

MEAN, SCALE = torch.tensor([100.0, -0.5, 3.0]), torch.tensor([20.0, 1e-3, 1.0])
Z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
X = Z * SCALE + MEAN
SMALL = {"name": "mlp", "hidden": (8,)}
NAMES = {
    "vae": {"latent_dim": 2, "encoder": SMALL, "decoder": SMALL, "sigma": 0.5},
    "wae-mmd": {"latent_dim": 2, "encoder": SMALL, "decoder": SMALL},
    "wgan-gp": {"latent_dim": 2, "generator": SMALL, "critic": SMALL},
    "rnade": {"hidden": 4, "components": 2},
}


def twins(name):
    torch.manual_seed(0)
    plain = genzoo.load(name, shape=(3,), **NAMES[name])
    model = copy.deepcopy(plain)
    standardize(model, MEAN, SCALE)
    return plain.eval(), model.eval()


def results(name, call):
    values = []
    for model, x in zip(twins(name), (Z, X), strict=True):
        torch.manual_seed(1)
        values.append(call(model, x))
    return values


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


DATA = {
    "sample": lambda m, x: m.sample(5),
    "decode": lambda m, x: m.decode(torch.ones(4, 2)),
    "reconstruct": lambda m, x: m.reconstruct(x),
    "conditional": lambda m, x: m.conditional(torch.ones(4, 2)).sample(),
    "complete": lambda m, x: m.complete(x, torch.tensor([True, False, True])),
}
DENSITIES = {
    "log_prob": lambda m, x: m.log_prob(x),
    "score_samples": lambda m, x: m.score_samples(x=x),
    "elbo": lambda m, x: m.elbo(x),
    "log_prob_bound": lambda m, x: m.log_prob_bound(x, samples=3),
    "conditional": lambda m, x: m.conditional(torch.ones(6, 2)).log_prob(x),
    "conditionals": lambda m, x: m.conditionals(x).log_prob(x).sum(1),
}
FEATURES = {
    "encode": lambda m, x: m.encode(x),
    "posterior": lambda m, x: m.posterior(x).mean,
    "score": lambda m, x: m.score(x),
    "loss": lambda m, x: m.loss(x)["loss"],
    "fit_sampler": lambda m, x: m.fit_sampler(x, {"name": "mog", "components": 2}).sampler.means,
}


def cases(calls, **models):
    pairs = [(model, key) for key in calls for model in models.get(key, ())]
    return [pytest.param(model, calls[key], id=f"{model}-{key}") for model, key in pairs]


@pytest.mark.parametrize(
    ("name", "call"),
    cases(
        DATA,
        sample=NAMES,
        decode=("vae", "wgan-gp"),
        reconstruct=("vae", "wae-mmd"),
        conditional=("vae",),
        complete=("rnade",),
    ),
)
def test_examples_are_in_the_units_of_the_data(name, call):
    plain, model = results(name, call)
    close(model, plain * SCALE + MEAN)


@pytest.mark.parametrize(
    ("name", "call"),
    cases(
        DENSITIES,
        log_prob=("rnade",),
        score_samples=("rnade",),
        conditionals=("rnade",),
        elbo=("vae",),
        log_prob_bound=("vae",),
        conditional=("vae",),
    ),
)
def test_densities_are_those_of_the_data(name, call):
    plain, model = results(name, call)
    close(model, plain - SCALE.log().sum())


@pytest.mark.parametrize(
    ("name", "call"),
    cases(
        FEATURES,
        encode=("vae", "wae-mmd"),
        posterior=("vae",),
        score=("wgan-gp",),
        loss=("vae", "wae-mmd", "rnade"),
        fit_sampler=("vae",),
    ),
)
def test_codes_scores_and_losses_are_those_of_standardized_data(name, call):
    plain, model = results(name, call)
    close(model, plain)


@pytest.mark.parametrize("name", ["wgan-gp", "vae"])
def test_the_losses_of_players_are_those_of_standardized_data(name):
    def losses(model, x):
        torch.manual_seed(1)
        return torch.stack([player.loss(x)["loss"] for player in model.players()])

    plain, model = results(name, losses)
    close(model, plain)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("vae", lambda m, x: m.conditional(torch.ones(6, 2))),
        ("rnade", lambda m, x: m.conditionals(x)),
    ],
)
def test_distributions_have_the_moments_of_the_data(name, call):
    plain, model = results(name, call)
    close(model.mean, plain.mean * SCALE + MEAN)
    close(model.variance, plain.variance * SCALE**2)


def test_a_density_of_one_column_integrates_to_one():
    model = genzoo.load("rnade", hidden=4, components=2, shape=(1,))
    standardize(model, torch.tensor([50.0]), torch.tensor([10.0]))
    x = torch.linspace(-150, 250, 20_001)[:, None]
    density = model.log_prob(x).exp().detach()
    assert torch.trapezoid(density, x[:, 0]).item() == pytest.approx(1, abs=1e-3)


def test_an_exported_program_has_the_units_of_the_data():
    class Program(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model.reconstruct(x), self.model.encode(x)

    _, model = twins("vae")
    program = torch.export.export(Program(model), (X,)).module()
    for value, expected in zip(program(X), Program(model)(X), strict=True):
        close(value, expected)


def test_statistics_are_those_of_the_training_split():
    x = torch.cat([X, torch.full((6, 1), 0.1)], 1)
    data = Dataset({"x": x[:4]}, {"x": x[4:] + 1e6}, standardize=True)
    scaler = StandardScaler().fit(x[:4].double().numpy())
    mean, scale = column_statistics(data, "x")
    close(mean, torch.from_numpy(scaler.mean_))
    close(scale, torch.from_numpy(scaler.scale_))
    assert scale[3] == 1


def test_a_table_in_a_file_is_standardized(tmp_path):
    np.save(tmp_path / "x.npy", X.numpy())
    data = genzoo.build(
        {"name": "npy", "path": tmp_path / "x.npy", "standardize": True}, "datasets"
    )
    assert data.standardize
    rows = np.concatenate([data.train["x"], data.test["x"]])
    assert sorted(rows[:, 0]) == sorted(X[:, 0].tolist())
    mean, scale = column_statistics(data, "x")
    close(mean, torch.from_numpy(np.mean(data.train["x"], 0, dtype=float)))
    close(scale, torch.from_numpy(np.std(data.train["x"], 0, dtype=float)))


def fit(data, out=None, **settings):
    table = {"name": "rnade", "hidden": 4, "components": 2}
    return genzoo.fit(table, data, out, batch_size=8, progress=False, **settings)


@pytest.fixture
def table():
    generator = torch.Generator().manual_seed(0)
    x = Normal(MEAN, SCALE).icdf(torch.rand(64, 3, generator=generator))
    return torch.cat([x, torch.full((64, 1), 7.0)], 1)


def test_small_deviations_from_a_large_mean_need_double_precision():
    rows = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.stack([rows[:, 0], rows[:, 1] * 10 + 1.7e9], 1)
    data = Dataset({"x": x}, {"x": x[:16]}, standardize=True)
    with pytest.raises(DataError, match=r"column 1 of x .* 1\.7e\+09 .* float32 .*64-true"):
        fit(data, steps=1)
    model = fit(data, steps=1, precision="64-true").model
    scaler = StandardScaler().fit(x.numpy())
    torch.testing.assert_close(model.data_mean, torch.from_numpy(scaler.mean_), rtol=1e-12, atol=0)
    torch.testing.assert_close(model.data_scale, torch.from_numpy(scaler.scale_))
    read = next(iterate_split(data, ("x",), 16, model))
    assert torch.equal(read, x[:16])


def test_a_run_folder_keeps_the_units(table, tmp_path):
    data = Dataset({"x": table}, {"x": table[:16]}, standardize=True)
    run = fit(data, tmp_path / "run", steps=2, ema=0.5)
    loaded = genzoo.load(tmp_path / "run")
    saved = genzoo.load(genzoo.save(loaded, tmp_path / "saved"))
    resumed = fit(data, tmp_path / "run", steps=3, ema=0.5, resume=True).model
    whole = fit(data, steps=3, ema=0.5).model
    begun = fit(data, steps=1, init_from=tmp_path / "run").model
    for one, two in ((run.model, loaded), (loaded, saved), (resumed, whole)):
        assert torch.equal(one.log_prob(table), two.log_prob(table))
    for model in (run.model, loaded, saved, resumed, begun):
        assert model.is_standardized
        torch.testing.assert_close(model.data_mean, table.mean(0), rtol=1e-4, atol=1e-4)
        sample = model.sample(50)
        assert ((sample - table.mean(0)).abs() < 10 * table.std(0) + 10).all()


def test_weights_in_other_units_are_refused():
    plain, model = twins("vae")
    with pytest.raises(RunError, match=r"not standardized, and this VAE is; leave out standardize"):
        load_weights(model, plain.state_dict(), Path("run"))


def test_very_different_scales_are_named(table):
    with pytest.warns(UserWarning, match=r"deviation of column 1 .*, and that of column 0 .* Set"):
        fit(Dataset({"x": table}), steps=1)
    with pytest.raises(SettingError, match="not a single table of real numbers"):
        fit(Dataset({"x": torch.rand(8, 1, 2, 2)}, standardize=True), steps=1)
    with pytest.raises(SettingError, match=r"'x' is int64 of shape \(8, 2\); .*x\.float\(\)"):
        fit(Dataset({"x": torch.arange(16).view(8, 2)}, standardize=True), steps=1)
    with pytest.raises(SettingError, match="Independent models discrete values"):
        genzoo.fit("independent", Dataset({"x": torch.eye(8)}, standardize=True), batch_size=4)
