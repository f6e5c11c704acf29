"""Metrics of models with labels: each passes the labels of the held-out rows to the model."""

import numpy as np
import pytest
import torch

import genzoo
from genzoo.contract import Dataset
from genzoo.errors import SettingError

SMALL = {"name": "mlp", "hidden": (8,)}
NETS = {"encoder": SMALL, "decoder": SMALL, "latent_dim": 2, "classes": 3, "shape": (4,)}
Y = torch.arange(30) % 3
X = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
DATA = Dataset({"x": X, "y": Y}, {"x": X, "y": Y})


def with_strong_labels(name, **settings):
    """Return a model whose results differ a lot between labels."""
    model = genzoo.load(name, **NETS, **settings).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


def values(model, metric, n=30):
    return {row.quantity: row.value for row in genzoo.evaluate(model, DATA, metric, n=n)}


@torch.no_grad()
def test_codes_and_reconstructions_are_those_of_the_labels():
    wae = with_strong_labels("wae-mmd")
    z = wae.encode(X, Y)
    error = (X - wae.decode(z, Y)).square().mean().item()
    assert values(wae, "reconstruction")["squared_error"] == pytest.approx(error, rel=1e-5)
    squared_norm = z.square().mean().item()
    assert values(wae, "codes")["squared_norm"] == pytest.approx(squared_norm, rel=1e-5)


@torch.no_grad()
def test_the_likelihood_is_that_of_the_labels():
    rnade = genzoo.load("rnade", hidden=5, components=2, classes=3, shape=(4,)).eval()
    rnade.label_bias.normal_()
    expected = rnade.log_prob(X, Y).mean().item()
    assert values(rnade, "likelihood")["log_prob"] == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_the_kl_and_its_parts_are_those_of_the_labels():
    vae = with_strong_labels("vae")
    mean, sd = vae.posterior(X, Y).mean, vae.posterior(X, Y).stddev
    kl = (mean.square() + sd.square() - 1 - 2 * sd.log()).sum(1) / 2
    rows = values(vae, "elbo-surgery")
    # one code for each of 30 examples
    assert rows["kl"] == pytest.approx(kl.mean().item(), rel=0.2)
    assert rows["kl"] == pytest.approx(rows["mutual_information"] + rows["marginal_kl"])
    names = ["lower_bound", "simulated_lower_bound", "simulated_upper_bound", "gap"]
    assert [*values(vae, {"name": "ais", "limit": 2, "steps": 2, "chains": 1})] == names


@torch.no_grad()
def test_the_usage_of_a_mixture_is_that_of_the_labels():
    wae = with_strong_labels("wae-mmd", prior={"name": "mog", "components": 2})
    shares = wae.prior.component(wae.encode(X, Y)).double().mean(0).numpy()
    perplexity = np.exp(-(shares * np.log(shares)).sum())
    assert values(wae, "mixture-usage")["perplexity"] == pytest.approx(perplexity, rel=1e-5)


def test_every_default_metric_measures_a_model_with_labels():
    gan = genzoo.load(
        "gan", latent_dim=2, generator=SMALL, critic=SMALL, classes=10, shape=(1, 8, 8)
    )
    rows = genzoo.evaluate(gan, "digits", ["class-consistency", "memorization", "frechet"], n=60)
    measured = {row.quantity for row in rows}
    assert {"consistency", "intra_frechet", "nearer_to_train"} <= measured


def test_outlier_scores_are_refused_in_words():
    with pytest.raises(SettingError, match=r"new rows have no labels\. Train it without classes"):
        genzoo.outliers(with_strong_labels("vae"), X, DATA)
