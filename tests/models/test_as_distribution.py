"""Models, priors, decoders, and encoders as distributions of torch and Pyro."""

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import (
    SVI,
    Importance,
    Predictive,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceMeanField_ELBO,
)
from torch.distributions import Distribution, constraints

import genzoo
from genzoo import as_distribution

LEVELS = torch.linspace(0, 1, 3)


@pytest.fixture(autouse=True)
def _clean():
    pyro.clear_param_store()
    torch.manual_seed(0)
    with pyro.validation_enabled():
        yield
    pyro.clear_param_store()


def shaken(name, **settings):
    """Return a model whose weights are random, so that no two outcomes are equally likely."""
    model = genzoo.build(name, **settings)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model


def nade(**settings):
    return shaken("nade", hidden=3, shape=(4,), **settings)


def pixel_rnn(**settings):
    return shaken("pixel-rnn", levels=3, hidden=4, depth=1, shape=(1, 2, 2), **settings)


def rnade(**settings):
    return shaken("rnade", hidden=3, components=2, shape=(2,), **settings)


EXACT = {"nade": nade, "pixel-rnn": pixel_rnn, "rnade": rnade}


@pytest.mark.parametrize("name", EXACT)
def test_shapes_follow_the_conventions_of_torch(name):
    model = EXACT[name]()
    p = as_distribution(model)
    assert isinstance(p, Distribution)
    assert isinstance(p, dist.TorchDistribution)
    assert p.batch_shape == ()
    assert p.event_shape == model.shape
    assert p.sample().shape == model.shape
    assert p.sample((2, 3)).shape == p.shape((2, 3)) == (2, 3, *model.shape)
    assert p.log_prob(p.sample()).shape == ()
    x = p.expand((5, 1)).sample((2,))
    assert x.shape == (2, 5, 1, *model.shape)
    assert p.support.check(x).all()
    assert p.log_prob(x).shape == (2, 5, 1)
    assert p.expand((5, 4)).log_prob(x).shape == (2, 5, 4)
    torch.testing.assert_close(p.log_prob(x).flatten(), model.log_prob(x.flatten(0, 2)))
    assert p.expand((5,)).to_event(1).log_prob(p.sample((5,))).shape == ()
    assert not p.has_rsample


@pytest.mark.parametrize("make", [nade, pixel_rnn])
def test_probabilities_are_those_of_enumeration(make):
    """The outcomes are a product of levels, their probabilities sum to 1, and samples agree."""
    model = make()
    levels = torch.linspace(0, 1, model.levels).tolist()
    p = as_distribution(model)
    outcomes = p.enumerate_support()
    assert p.has_enumerate_support
    expected = torch.tensor(list(itertools.product(levels, repeat=4)))
    assert torch.equal(outcomes.flatten(1), expected)
    probabilities = p.log_prob(outcomes).exp()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    n = 4000
    samples = p.sample((n,)).flatten(1)
    shares = (samples[:, None] == expected).all(2).float().mean(0)
    assert (shares - probabilities).abs().max() < 5 * (0.25 / n) ** 0.5


def test_a_density_integrates_to_one():
    p = as_distribution(rnade())
    axis = torch.linspace(-60, 60, 601)
    grid = torch.cartesian_prod(axis, axis).view(601, 601, 2)
    density = p.log_prob(grid).detach().exp()
    volume = torch.trapezoid(torch.trapezoid(density, axis), axis)
    assert volume.item() == pytest.approx(1, abs=0.02)
    assert (p.support.base_constraint, p.support.event_dim) == (constraints.real, 1)
    assert not p.has_enumerate_support


def test_values_outside_the_support_are_refused():
    with pytest.raises(ValueError, match="within the support"):
        as_distribution(nade()).log_prob(torch.full((4,), 0.5))
    with pytest.raises(ValueError, match="within the support"):
        as_distribution(pixel_rnn()).log_prob(torch.full((1, 2, 2), 0.25))
    with pytest.raises(ValueError, match="within the support"):
        as_distribution(rnade()).log_prob(torch.tensor([0.0, torch.nan]))
    with pytest.raises(NotImplementedError, match="outcomes"):
        as_distribution(genzoo.build("nade", shape=(1, 28, 28), hidden=2)).enumerate_support()


def test_labels_are_a_batch_of_distributions():
    model = nade(classes=2)
    p = as_distribution(model, given=torch.tensor([0, 1, 1]))
    assert p.batch_shape == (3,)
    assert p.sample((5,)).shape == (5, 3, 4)
    logs = p.log_prob(p.enumerate_support())
    assert logs.shape == (16, 3)
    torch.testing.assert_close(logs.exp().sum(0), torch.ones(3))
    torch.testing.assert_close(logs[:, 1], logs[:, 2])
    assert (logs[:, 0] - logs[:, 1]).abs().max() > 0.1
    assert p.expand((2, 3)).sample().shape == (2, 3, 4)


def test_svi_maximizes_the_likelihood():
    model, x = nade(), torch.randint(2, (6, 4)).float()

    def program(x):
        pyro.module("nade", model)
        with pyro.plate("rows", len(x)):
            pyro.sample("x", as_distribution(model), obs=x)

    svi = SVI(program, lambda x: None, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    expected = -model.log_prob(x).sum().item()
    losses = [svi.step(x) for _ in range(30)]
    assert losses[0] == pytest.approx(expected, rel=1e-5)
    assert losses[-1] < losses[0] - 1


def mixture(model, x=None):
    """A noisy observation of the first bit of a sample."""
    bits = pyro.sample("bits", as_distribution(model), infer={"enumerate": "parallel"})
    pyro.sample("x", dist.Bernoulli(0.1 + 0.8 * bits[..., 0]), obs=x)


def test_pyro_enumerates_and_weights_samples():
    """The evidence of an observation is a sum over all outcomes, computed here by hand."""
    model = nade()
    outcomes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    likelihood = 0.1 + 0.8 * outcomes[:, 0]
    evidence = (model.log_prob(outcomes).exp() * likelihood).sum().log().item()
    x = torch.tensor(1.0)
    elbo = TraceEnum_ELBO(max_plate_nesting=0)
    assert -elbo.loss(mixture, lambda model, x: None, model, x) == pytest.approx(evidence, abs=1e-5)
    estimate = Importance(mixture, num_samples=100).run(model, x)
    assert estimate.get_log_normalizer().item() == pytest.approx(evidence, abs=0.3)
    draws = Predictive(mixture, num_samples=10)(model)
    assert draws["bits"].flatten(0, -2).shape == (10, 4)


def test_a_vae_in_a_program_of_its_parts():
    """The program of prior, decoder, and encoder has the loss of the VAE."""
    vae = genzoo.build("vae", latent_dim=2, shape=(5,), sigma=0.3).double()
    x = torch.randn(7, 5, dtype=torch.float64)

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", as_distribution(vae.prior))
            pyro.sample("x", as_distribution(vae, z=z), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", as_distribution(vae, x=x))

    torch.manual_seed(1)
    loss = TraceMeanField_ELBO().loss(model, guide, x) / len(x)
    torch.manual_seed(1)
    assert vae.loss(x)["loss"].item() == pytest.approx(loss, rel=1e-9)
    vectorized = Trace_ELBO(num_particles=3, vectorize_particles=True)
    assert vectorized.loss(model, guide, x) > 0
    assert Predictive(model, num_samples=4, return_sites=["z"])(x)["z"].shape == (4, 7, 2)


@pytest.mark.parametrize("prior", ["normal", "mog", "uniform"])
def test_a_prior_is_a_distribution_of_vectors(prior):
    source = genzoo.build(prior, "priors", dim=3)
    p = as_distribution(source)
    z = p.sample((2, 5))
    assert z.shape == (2, 5, 3)
    torch.testing.assert_close(p.log_prob(z).flatten(), source.log_prob(z.flatten(0, 1)))
    if prior == "normal":
        expected = torch.distributions.Normal(0, 1).log_prob(z).sum(-1)
        torch.testing.assert_close(p.log_prob(z), expected)


def test_deterministic_parts_are_points():
    wae = genzoo.build("wae-mmd", latent_dim=2, shape=(5,))
    z, x = torch.randn(3, 2, 2), torch.randn(4, 5)
    decoder, encoder = as_distribution(wae, z=z), as_distribution(wae, x=x)
    assert decoder.batch_shape == (3, 2)
    assert decoder.event_shape == (5,)
    torch.testing.assert_close(decoder.sample()[1], wae.decode(z[1]))
    torch.testing.assert_close(encoder.sample(), wae.encode(x))
    gan = genzoo.build("gan", latent_dim=2, shape=(5,))
    assert as_distribution(gan, z=z).sample((2,)).shape == (2, 3, 2, 5)


@pytest.mark.parametrize("settings", [{}, {"likelihood": "bernoulli"}])
@pytest.mark.parametrize("model", ["vae", "wae-mmd"])
def test_one_latent_code_has_an_empty_batch_shape(model, settings):
    source = genzoo.build(model, latent_dim=2, shape=(5,), **(settings if model == "vae" else {}))
    p = as_distribution(source, z=torch.zeros(2))
    assert p.batch_shape == ()
    assert p.log_prob(p.sample()).shape == ()


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("vae", {}, "no exact likelihood.*pass z.*, or x"),
        ("gan", {}, r"no exact likelihood.*pass z for the decoder p\(x \| z\)\.$"),
        ("nade", {"given": torch.zeros(1).long()}, "not conditional; leave out given"),
        ("vae", {"z": [0.0]}, r"z is \[0.0\]; pass a tensor"),
        ("gan", {"x": torch.zeros(1, 4)}, "no encoder"),
        ("rnade", {"z": torch.zeros(1, 4)}, r"no decode\(z\)"),
        ("vae", {"z": torch.zeros(1, 16), "x": torch.zeros(1, 4)}, "leave out x"),
    ],
)
def test_a_distribution_that_does_not_exist_is_an_error(source, arguments, message):
    with pytest.raises(genzoo.SettingError, match=message):
        as_distribution(genzoo.build(source, shape=(4,)), **arguments)


def test_wrong_sources_are_errors():
    with pytest.raises(genzoo.SettingError, match="given=labels"):
        as_distribution(nade(classes=2))
    vae = genzoo.build("vae", latent_dim=2, shape=(5,), classes=3)
    with pytest.raises(genzoo.SettingError, match=r"given has shape \(2,\).*batch shape \(3,\)"):
        as_distribution(vae, z=torch.zeros(3, 2), given=torch.tensor([0, 1]))
    with pytest.raises(genzoo.SettingError, match="not a Linear"):
        as_distribution(torch.nn.Linear(2, 2))
    with pytest.raises(genzoo.SettingError, match="leave out z"):
        as_distribution(genzoo.build("normal", "priors", dim=2), z=torch.zeros(1, 2))
