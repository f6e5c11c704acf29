import pyro
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceMeanField_ELBO

from genzoo.contract.standardize import standardize
from genzoo.models.vae import VAE

SETTINGS = [
    {},
    {"likelihood": "bernoulli", "beta": 2.0},
    {"sigma": "learned"},
    {"sigma": 0.3, "beta": 0.5},
    {"beta": 0.0},
]


@pytest.fixture(autouse=True)
def _clean():
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


def make(**settings):
    torch.manual_seed(0)
    return VAE(3, shape=(1, 5, 4), **settings).double(), torch.rand(7, 1, 5, 4, dtype=torch.float64)


def pyro_loss(elbo, vae, x):
    torch.manual_seed(1)
    return elbo.loss(vae.model, vae.guide, x) / len(x)


def our_loss(vae, x):
    torch.manual_seed(1)
    return vae.loss(x)["loss"].item()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_closed_form_elbo_equals_pyro(settings):
    vae, x = make(**settings)
    assert our_loss(vae, x) == pytest.approx(pyro_loss(TraceMeanField_ELBO(), vae, x), rel=1e-9)


def test_the_elbo_of_a_standardized_model_equals_pyro():
    vae = VAE(3, shape=(5,), sigma=0.3).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    scale = torch.tensor([0.1, 1.0, 2.0, 5.0, 100.0]).double()
    standardize(vae, torch.randn(5).double(), scale)
    expected = our_loss(vae, x) + scale.log().sum().item()
    assert pyro_loss(TraceMeanField_ELBO(), vae, x) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("prior", ["normal", "mog"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_sampled_elbo_equals_pyro(settings, prior):
    vae, x = make(prior=prior, divergence={"name": "kl", "estimator": "monte-carlo"}, **settings)
    assert our_loss(vae, x) == pytest.approx(pyro_loss(Trace_ELBO(), vae, x), rel=1e-9)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_svi_equals_a_plain_training_loop(settings):
    vae, x = make(**settings)
    twin, _ = make(**settings)
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-2}), TraceMeanField_ELBO())
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-2)
    for seed in range(3):
        torch.manual_seed(seed)
        svi.step(x)
        torch.manual_seed(seed)
        optimizer.zero_grad()
        (len(x) * twin.loss(x)["loss"]).backward()
        optimizer.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(vae.state_dict()[name], value, msg=name)


def test_pyro_samples_from_the_prior():
    vae, x = make(prior="mog", sigma=0.3)
    samples = Predictive(vae.model, num_samples=400, return_sites=["z"])(x)["z"].reshape(-1, 3)
    expected = vae.prior.sample(2800)
    torch.testing.assert_close(samples.square().mean(), expected.square().mean(), rtol=0.1, atol=0)
