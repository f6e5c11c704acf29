"""The sampler of an autoencoder: a density that is fitted to the codes after training."""

import pytest
import torch
from sklearn.mixture import GaussianMixture

import genzoo
from genzoo.errors import DataError, SettingError
from genzoo.models.vae import VAE
from genzoo.models.wae import WAEMMD

MOG = {"name": "mog", "components": 3}
DATA = torch.rand(200, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def wae():
    torch.manual_seed(0)
    return WAEMMD(latent_dim=2, sampler=MOG, shape=(4,))


def test_is_sklearns_mixture_of_the_codes(wae):
    prior_samples = wae.sample(500)
    wae.fit_sampler(DATA)
    with torch.no_grad():
        codes = wae.encode(DATA).double().numpy()
    floor = 1e-6 * codes.var(axis=0).mean()
    mixture = GaussianMixture(3, covariance_type="diag", reg_covar=floor, random_state=0).fit(codes)
    weights, means, scales = wae.latent_distribution.gaussians()
    torch.testing.assert_close(weights, torch.from_numpy(mixture.weights_).float())
    torch.testing.assert_close(means, torch.from_numpy(mixture.means_).float())
    torch.testing.assert_close(scales.square(), torch.from_numpy(mixture.covariances_).float())
    with torch.no_grad():
        reconstructions = wae.decode(wae.encode(DATA))
    error = (wae.sample(5000).mean(0) - reconstructions.mean(0)).abs().max()
    assert error < 0.02
    assert error < (prior_samples.mean(0) - reconstructions.mean(0)).abs().max()


def test_a_random_encoder_gives_codes_from_its_posterior():
    torch.manual_seed(0)
    vae = VAE(latent_dim=2, sampler={"name": "mog", "components": 1}, shape=(4,))
    vae.fit_sampler(DATA.repeat(50, 1))
    with torch.no_grad():
        posterior = vae.posterior(DATA)
    variance = posterior.variance.mean(0) + posterior.mean.var(0, correction=0)
    torch.testing.assert_close(vae.latent_distribution.variance, variance, rtol=0.05, atol=0)


def test_likelihoods_still_use_the_prior():
    torch.manual_seed(0)
    vae = VAE(latent_dim=2, sigma=0.5, sampler=MOG, shape=(4,)).eval()
    torch.manual_seed(1)
    before = vae.log_prob_bound(DATA)
    vae.fit_sampler(DATA)
    torch.manual_seed(1)
    torch.testing.assert_close(vae.log_prob_bound(DATA), before, rtol=0, atol=0)


def model():
    torch.manual_seed(0)
    return VAE(latent_dim=2, sampler=MOG, shape=(4,))


def test_a_run_fits_it_to_the_averaged_weights_and_keeps_it(tmp_path):
    run = genzoo.fit(model(), DATA, tmp_path / "run", steps=20, batch_size=50, ema=0.9)
    loaded = genzoo.load(tmp_path / "run")
    assert loaded.latent_distribution is loaded.sampler
    torch.testing.assert_close(loaded.state_dict(), run.model.state_dict(), rtol=0, atol=0)
    means = loaded.sampler.means.clone()
    loaded.fit_sampler(DATA)
    # the codes are drawn anew, so the means are close and not equal
    torch.testing.assert_close(loaded.sampler.means.mean(0), means.mean(0), rtol=0, atol=0.3)


def test_resume_fits_the_same_sampler(tmp_path):
    settings = {"steps": 10, "batch_size": 50, "checkpoint_every": 5}
    whole = genzoo.fit(model(), DATA, tmp_path / "run", **settings).model.state_dict()
    checkpoints = sorted((tmp_path / "run" / "checkpoints").iterdir())
    checkpoints[-1].unlink()
    resumed = genzoo.fit(model(), DATA, tmp_path / "run", resume=True, **settings)
    torch.testing.assert_close(resumed.model.state_dict(), whole, rtol=0, atol=0)


def test_one_call_adds_it_to_a_trained_model_and_the_record_keeps_it(tmp_path):
    torch.manual_seed(0)
    vae = VAE(latent_dim=2, shape=(4,))
    prior = vae.latent_distribution
    assert prior is vae.prior
    vae.fit_sampler(DATA, MOG)
    assert vae.latent_distribution is vae.sampler
    run = genzoo.fit(vae, DATA, tmp_path / "run", steps=2, batch_size=50)
    assert genzoo.load(tmp_path / "run").has_fitted_sampler
    torch.testing.assert_close(run.model.sampler.means, genzoo.load(tmp_path / "run").sampler.means)


def test_errors():
    with pytest.raises(SettingError, match=r"sampler = Uniform.*fit\(codes\).*mog"):
        VAE(sampler="uniform", shape=(4,))
    with pytest.raises(SettingError, match=r"sampler = MixtureOfGaussians.*learn"):
        VAE(sampler={**MOG, "learn": True}, shape=(4,))
    with pytest.raises(DataError, match=r"50 components.*\(10, 2\)"):
        VAE(latent_dim=2, shape=(4,)).fit_sampler(DATA[:10])


def test_commands_say_where_samples_come_from(tmp_path, genzoo_):
    genzoo.fit(model(), DATA, tmp_path / "run", steps=2, batch_size=50)
    code, printed = genzoo_("sample", str(tmp_path / "run"), "-o", str(tmp_path / "samples.npy"))
    assert code == 0
    assert "the sampler that was fitted to the latent codes, not the prior" in printed
