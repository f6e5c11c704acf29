"""Models with labels: what networks read, closed forms for each label, and wrong labels."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn.functional import one_hot

import genzoo
from genzoo.contract import SampleDivergence
from genzoo.contract.standardize import standardize
from genzoo.distributed import emulate_rank
from genzoo.divergences.mmd import MMD
from genzoo.errors import DataError, SettingError
from genzoo.metrics.annealing import ais_lower_bound, ais_upper_bound
from genzoo.models.gan import DCGAN, GAN
from genzoo.models.vae import VAE
from genzoo.models.wae import WAEGAN, WAEMMD
from genzoo.models.wgan import WGAN
from genzoo.models.wgan_gp import WGANGP
from genzoo.priors.mixture import MixtureOfGaussians
from genzoo.priors.simple import Normal, Uniform
from tests.models.linear import LINEAR

SMALL = {"name": "mlp", "hidden": (8,)}
NETS = {"generator": SMALL, "critic": SMALL}
MOG = {"name": "mog", "components": 2, "learn": True}
Y = torch.tensor([0, 2, 1, 2])


class Recorder(nn.Module):
    """A critic that keeps its inputs; its score is linear in them."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.inputs = []

    def forward(self, x):
        self.inputs.append(x.detach())
        return x.flatten(1) @ self.weight


def record(model, weight=None):
    """Replace the critic of a model by a recorder, and return it."""
    shape = model.critic.shape
    model.critic = Recorder(torch.zeros(math.prod(shape)) if weight is None else weight)
    return model.critic


# --- what networks read


def test_vectors_get_one_hot_coordinates_and_images_get_constant_maps():
    vae = VAE(2, classes=3, shape=(5,))
    x = torch.rand(4, 5)
    expected = torch.cat([x, one_hot(Y, 3).float()], 1)
    assert torch.equal(vae.with_labels(x, Y), expected)
    images = torch.rand(4, 1, 2, 3)
    seen = vae.with_labels(images, Y)
    assert seen.shape == (4, 4, 2, 3)
    assert torch.equal(seen[:, :1], images)
    for row, label in enumerate(Y):
        for k in range(3):
            assert (seen[row, 1 + k] == (k == label)).all()


def test_networks_are_as_wide_as_their_inputs():
    vae = VAE(2, classes=3, shape=(1, 8, 8))
    assert vae.encoder.shape == (4, 8, 8)
    assert (vae.decoder.dim, vae.prior.dim) == (5, 2)
    wae = WAEGAN(2, classes=3, shape=(6,))
    assert (wae.encoder.shape, wae.critic.shape) == ((9,), (5,))
    gan = GAN(2, classes=3, shape=(1, 8, 8))
    assert (gan.critic.shape, gan.generator.dim) == ((4, 8, 8), 5)


def test_an_unconditional_model_has_no_labels():
    vae = VAE(2, shape=(5,))
    assert (vae.inputs, vae.given, vae.encoder.shape, vae.decoder.dim) == (("x",), (), (5,), 2)
    torch.manual_seed(0)
    samples = vae.sample(3)
    torch.manual_seed(0)
    # no label is drawn before the latent codes
    assert torch.equal(samples, vae.decoder(torch.randn(3, 2)).detach())


@pytest.mark.parametrize("kind", [GAN, WGAN, WGANGP])
def test_the_critic_sees_real_and_generated_images_with_the_labels_of_the_batch(kind):
    gan = kind(2, classes=3, shape=(2, 2, 3), **NETS)
    critic = record(gan)
    x = torch.rand(4, 2, 2, 3)
    gan.critic_loss({"x": x, "y": Y})
    real, fake = critic.inputs[:2]
    maps = one_hot(Y, 3).float()[:, :, None, None].expand(4, 3, 2, 3)
    torch.testing.assert_close(real, torch.cat([2 * x - 1, maps], 1))
    assert torch.equal(fake[:, 2:], maps)
    assert not torch.equal(fake[:, :2], real[:, :2])
    critic.inputs.clear()
    gan.generator_loss({"x": x, "y": Y})
    assert torch.equal(critic.inputs[0][:, 2:], maps)


def test_the_generator_reads_the_labels_of_the_batch():
    gan = GAN(2, classes=3, shape=(5,), **NETS)
    seen = []
    gan.generator.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    batch = {"x": torch.rand(4, 5), "y": Y}
    gan.critic_loss(batch)
    gan.generator_loss(batch)
    gan.sample(4, Y)
    for z in seen:
        assert torch.equal(z[:, 2:], one_hot(Y, 3).float())


def test_a_learned_prior_shares_the_labels_of_the_batch_among_its_strata():
    gan = GAN(2, classes=3, prior=MOG, shape=(5,), **NETS)
    seen = []
    gan.generator.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    y = torch.arange(12) % 3
    gan.generator_loss({"x": torch.rand(12, 5), "y": y})
    assert torch.equal(seen[0][:, 2:].sum(0), torch.tensor([4.0, 4, 4]))


@pytest.mark.parametrize("every", [1, 4])
def test_a_penalty_is_of_the_gradient_with_respect_to_the_example(every):
    weight = torch.randn(5 + 3)
    gan = GAN(2, classes=3, penalty={"name": "r1", "every": every}, shape=(5,), **NETS)
    record(gan, weight)
    batch = {"x": torch.rand(4, 5), "y": Y}
    gan.before_critic_step(0)
    report = gan.critic_loss(batch)
    torch.testing.assert_close(report["penalty"], weight[:5].square().sum() / 2)
    gan.before_critic_step(1)
    assert ("penalty" in gan.critic_loss(batch)) == (every == 1)


def test_a_gradient_penalty_interpolates_at_the_label_of_the_example():
    weight = torch.randn(3, 5)

    class Bilinear(nn.Module):
        """A critic whose gradient with respect to x is the row of the label."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(weight)

        def forward(self, x):
            return (x[:, :5] * (x[:, 5:] @ self.weight)).sum(1)

    gan = WGANGP(2, classes=3, shape=(5,), **NETS)
    gan.critic = Bilinear()
    report = gan.critic_loss({"x": torch.rand(4, 5), "y": Y})
    expected = (weight.norm(dim=1)[Y] - 1).square().mean()
    torch.testing.assert_close(report["penalty"], expected)
    report["penalty"].backward()
    assert (gan.critic.weight.grad != 0).all()


def test_augmentation_does_not_change_the_labels():
    gan = GAN(2, classes=3, augmentation=("translation",), shape=(1, 8, 8), **NETS)
    critic = record(gan)
    x = torch.rand(4, 1, 8, 8)
    gan.critic_loss({"x": x, "y": Y})
    real = critic.inputs[0]
    assert torch.equal(real[:, 1:].mean((2, 3)), one_hot(Y, 3).float())
    assert not torch.equal(real[:, :1], 2 * x - 1)


def test_the_latent_critic_sees_codes_and_prior_samples_with_the_labels_of_the_batch():
    wae = WAEGAN(2, classes=3, encoder=SMALL, decoder=SMALL, shape=(5,))
    critic = record(wae)
    x = torch.rand(4, 5)
    wae.critic_loss({"x": x, "y": Y})
    prior, codes = critic.inputs
    labels = one_hot(Y, 3).float()
    assert torch.equal(prior[:, 2:], labels)
    torch.testing.assert_close(codes, torch.cat([wae.encode(x, Y).detach(), labels], 1))


def test_pretraining_matches_the_codes_of_all_labels():
    wae = WAEGAN(2, classes=3, pretrain=2, encoder=SMALL, decoder=SMALL, shape=(5,)).double()
    samples = torch.randn(4, 2).double()
    wae.prior.sample = lambda n: samples[:n]
    x = torch.rand(4, 5).double()
    codes = wae.encode(x, Y).detach().numpy()
    means = (codes.mean(0) - samples.numpy().mean(0)) ** 2
    covariances = np.cov(codes.T, bias=True) - np.cov(samples.numpy().T, bias=True)
    loss = wae.pretraining_loss({"x": x, "y": Y})["loss"].item()
    assert loss == pytest.approx(means.mean() + (covariances**2).mean())


def test_batch_norm_works_without_a_penalty():
    gan = DCGAN(2, classes=3, channels=(4,), shape=(1, 8, 8))
    for player in gan.players():
        player.loss(gan.example(6))["loss"].backward()


# --- closed forms


def test_the_bound_is_tight_for_each_label_of_a_linear_model():
    """The decoder is W z + b + V y, so p(x | y) = N(b + V y, W W' + s^2)."""
    torch.manual_seed(0)
    w, v, b, s = (
        torch.randn(4, 2).double(),
        torch.randn(4, 3).double(),
        torch.randn(4).double(),
        0.7,
    )
    vae = VAE(2, sigma=s, encoder=LINEAR, decoder=LINEAR, classes=3, shape=(4,)).double()
    (encoder,), (decoder,) = (
        [m for m in part.modules() if isinstance(m, nn.Linear)]
        for part in (vae.encoder, vae.decoder)
    )
    precision = w.T @ w / s**2 + torch.eye(2)
    # a diagonal posterior is exact if the columns of W are orthogonal
    w = w @ torch.linalg.eigh(precision).eigenvectors
    precision = w.T @ w / s**2 + torch.eye(2)
    to_mean = torch.linalg.solve(precision, w.T / s**2)
    with torch.no_grad():
        decoder.weight.copy_(torch.cat([w, v], 1))
        decoder.bias.copy_(b)
        mean = torch.cat([to_mean, -to_mean @ v], 1)
        encoder.weight.copy_(torch.cat([mean, torch.zeros_like(mean)]))
        encoder.bias.copy_(torch.cat([-to_mean @ b, -precision.diag().log()]))
    x = torch.randn(4, 4).double()
    covariance = (w @ w.T).numpy() + s**2 * np.eye(4)
    exact = [
        stats.multivariate_normal((b + v[:, label]).numpy(), covariance).logpdf(row.numpy())
        for row, label in zip(x, Y, strict=True)
    ]
    bound = vae.log_prob_bound(x, 3, Y)
    np.testing.assert_allclose(bound, exact, rtol=1e-9)
    for ais in (
        ais_lower_bound(vae, x, steps=3, chains=2, given=Y),
        ais_upper_bound(vae, x, torch.randn(4, 2).double(), steps=3, chains=2, given=Y),
    ):
        np.testing.assert_allclose(ais.detach(), exact, rtol=1e-9)
    elbo = torch.stack([vae.elbo(x, Y) for _ in range(100)]).mean(0).detach()
    np.testing.assert_allclose(elbo, exact, atol=0.3)
    # other labels have another likelihood
    assert (vae.log_prob_bound(x, 3, (Y + 1) % 3) - bound).abs().min() > 0.01
    loss = vae.loss({"x": x.repeat(400, 1), "y": Y.repeat(400)})["loss"].item()
    assert loss == pytest.approx(-np.mean(exact), abs=0.1)


def mmd_of_a_class(x, scales):
    """Return the unbiased squared MMD of rows and N(0, I), for the RBF kernel, by loops."""
    n, dim = x.shape
    c = 2 * dim  # the mean squared distance of two samples of the prior
    total = 0.0
    for scale in scales:
        width = scale * c
        total += (width / (width + 4)) ** (dim / 2)
        for i in range(n):
            total -= (
                2 / n * (width / (width + 2)) ** (dim / 2) * math.exp(-(x[i] @ x[i]) / (width + 2))
            )
            for j in range(n):
                if i != j:
                    distance = x[i] - x[j]
                    total += math.exp(-(distance @ distance) / width) / (n * (n - 1))
    return total


def test_the_mmd_of_a_conditional_wae_is_the_mean_over_classes():
    wae = WAEMMD(
        2,
        encoder=SMALL,
        decoder=SMALL,
        divergence={"name": "mmd", "kernel": "rbf"},
        classes=5,
        shape=(3,),
    ).double()
    x = torch.randn(12, 3).double()
    y = torch.tensor([0, 1, 1, 3, 3, 3, 3, 4, 4, 1, 3, 4])  # class 0 has one example, class 2 none
    codes = wae.encode(x, y).detach().numpy()
    expected = sum(
        (y == k).sum().item() / 12 * mmd_of_a_class(codes[(y == k).numpy()], wae.divergence.scales)
        for k in (1, 3, 4)
    )
    report = wae.loss({"x": x, "y": y})
    assert report["mmd"].item() == pytest.approx(expected, rel=1e-9)
    cost = (x - wae.decode(wae.encode(x, y), y)).square().sum(1).mean()
    assert report["loss"].item() == pytest.approx(cost.item() + 200 * expected, rel=1e-9)


@pytest.mark.parametrize("kernel", ["imq", "rbf", "linear", "quadratic"])
def test_a_loop_over_classes_gives_the_same_value_and_gradient(kernel):
    z = torch.randn(20, 2).double().requires_grad_()
    y = torch.arange(20) % 3
    mmd = MMD(kernel)
    prior = MixtureOfGaussians(2, components=3).double() if kernel in ("imq", "rbf") else None
    if prior is None:
        # a prior that returns the same samples each time
        points = torch.randn(20, 2).double()
        prior = Normal(2).double()
        prior.strata = lambda n: (points[None], points.new_ones(1))
    one_pass, loop = (
        method(mmd, z, prior, y) for method in (MMD.within_classes, SampleDivergence.within_classes)
    )
    torch.testing.assert_close(one_pass, loop)
    gradients = [torch.autograd.grad(value, z)[0] for value in (one_pass, loop)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("prior", [Normal(2), Uniform(2)], ids=["closed form", "sampled"])
def test_the_divergence_within_classes_is_unbiased(prior):
    torch.manual_seed(0)
    mmd, y = MMD(), torch.arange(40) % 4
    values = torch.stack([mmd.within_classes(prior.sample(40), prior, y) for _ in range(100)])
    assert values.mean().abs() < 4 * values.std() / 10
    if isinstance(prior, Normal):
        # the noise is sqrt(4) times that without labels
        pooled = torch.stack([mmd(prior.sample(40), prior) for _ in range(100)])
        assert 1.5 < values.std() / pooled.std() < 2.7
    # all codes together match the prior, but those of a class do not
    z = prior.sample(400)
    y = (z[:, 0] > z[:, 0].median()).long()
    assert mmd.within_classes(z, prior, y) > 4 * values.std()
    assert mmd(z, prior).abs() < values.std()


@pytest.mark.parametrize(("microbatches", "warned"), [(1, 0), (2, 1)])
def test_a_wae_mmd_with_few_examples_per_class_is_named(microbatches, warned):
    table = {"name": "wae-mmd", "encoder": SMALL, "decoder": SMALL, "latent_dim": 2, "classes": 4}
    data = {"x": torch.rand(40, 5), "y": torch.arange(40) % 4}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        genzoo.fit(table, data, steps=1, batch_size=40, microbatches=microbatches)
    messages = [str(w.message) for w in caught if "per class" in str(w.message)]
    assert len(messages) == warned
    assert all("of 20 for classes = 4 has 5 examples" in message for message in messages)


def test_no_class_with_two_examples_has_no_divergence():
    z = torch.randn(3, 2, requires_grad=True)
    for value in (
        MMD().within_classes(z, Normal(2), torch.arange(3)),
        SampleDivergence.within_classes(MMD(), z, Normal(2), torch.arange(3)),
    ):
        assert value.item() == 0
        assert torch.autograd.grad(value, z)[0].abs().sum() == 0


# --- labels


def test_labels_are_uniform_and_do_not_depend_on_ranks():
    vae = VAE(2, classes=4, shape=(5,))
    torch.manual_seed(0)
    y = vae.labels_for(4000)
    counts = y.bincount(minlength=4)
    assert (counts - 1000).abs().max() < 4 * math.sqrt(4000 * 0.25 * 0.75)
    parts = []
    for rank in (0, 1):
        torch.manual_seed(0)
        with emulate_rank(rank, 2):
            parts.append(vae.labels_for(2000))
    assert torch.equal(torch.cat(parts), y)


def test_samples_depend_on_the_label_only_through_the_decoder():
    vae = VAE(2, classes=3, shape=(5,))
    torch.manual_seed(0)
    samples = vae.sample(4, Y)
    torch.manual_seed(0)
    assert torch.equal(samples, vae.decode(torch.randn(4, 2), Y).detach())
    assert vae.sample(4, Y, truncation=0.5).shape == (4, 5)


def test_a_standardized_model_converts_the_examples_but_not_the_labels():
    vae = VAE(2, classes=3, sigma=0.5, encoder=SMALL, decoder=SMALL, shape=(5,)).double()
    x, z = torch.randn(4, 5).double(), torch.randn(4, 2).double()
    code, decoded = vae.encode(x, Y), vae.decode(z, Y)
    mean, scale = torch.randn(5).double(), torch.rand(5).double() + 0.5
    standardize(vae, mean, scale)
    torch.testing.assert_close(vae.encode(mean + scale * x, Y), code)
    torch.testing.assert_close(vae.decode(z, Y), mean + scale * decoded)


CALLS = {
    "decode": lambda model, y: model.decode(torch.zeros(4, 2), y),
    "sample": lambda model, y: model.sample(4, y),
    "encode": lambda model, y: model.encode(torch.zeros(4, 5), y),
    "reconstruct": lambda model, y: model.reconstruct(torch.zeros(4, 5), y),
    "posterior": lambda model, y: model.posterior(torch.zeros(4, 5), y),
    "elbo": lambda model, y: model.elbo(torch.zeros(4, 5), y),
    "log_prob_bound": lambda model, y: model.log_prob_bound(torch.zeros(4, 5), 2, y),
    "fit_sampler": lambda model, y: model.fit_sampler(torch.zeros(4, 5), given=y),
    "score": lambda model, y: model.score(torch.zeros(4, 5), y),
}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("nade", lambda model, x: model.outputs(x)),
        ("eonade", lambda model, x: model.logits(x, x)),
        ("eonade", lambda model, x: model.distribution(x)),
    ],
    ids=["nade", "eonade logits", "eonade distribution"],
)
def test_parts_of_a_likelihood_need_labels(name, part):
    hidden = 4 if name == "nade" else (4,)
    model = genzoo.load(name, classes=2, hidden=hidden, shape=(3,))
    with pytest.raises(DataError, match=r"given is nothing; .* labels of shape \(4,\)"):
        part(model, torch.zeros(4, 3))


@pytest.mark.parametrize("name", CALLS)
def test_wrong_labels_are_named(name):
    call = CALLS[name]
    kind, nets = (GAN, NETS) if name == "score" else (VAE, {"encoder": SMALL, "decoder": SMALL})
    model = kind(2, classes=3, shape=(5,), **nets)
    for bad, message in (
        (torch.tensor([0.0, 1, 2, 0]), r"float32 .* y\.long"),
        (torch.tensor([0]), r"shape \(1,\).*needs labels of shape \(4,\), 0 to 2"),
        (Y + 1, "from 1 to 3, but classes = 3 allows 0 to 2"),
        (3, r"given is 3.*torch\.full\(\(4,\), 3\)"),
        ([0, 1, 2, 0], r"given is .*torch\.tensor\(given\)"),
        (Y.numpy(), r"given is .*torch\.tensor\(given\)"),
    ):
        with pytest.raises(DataError, match=message):
            call(model, bad)
    if name != "sample":
        with pytest.raises(DataError, match="given is nothing"):
            call(model, None)
    with pytest.raises(DataError, match=r"takes no labels.*classes = 10"):
        call(kind(2, shape=(5,), **nets), Y)


def test_a_batch_without_labels_is_refused():
    with pytest.raises(DataError, match="has labels; pass a mapping"):
        VAE(2, classes=3, shape=(5,)).loss(torch.rand(4, 5))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": torch.rand(8, 5)}, r"no column 'y'.*data\.labels.*leave classes out"),
        ({"x": torch.rand(8, 5), "y": torch.arange(8)}, "0 to 7, but .*; set classes = 8"),
        ({"x": torch.rand(8, 5), "y": torch.arange(8) - 1}, "number the labels from 0 on"),
        ({"x": torch.rand(8, 5), "y": torch.rand(8)}, r"column 'y' holds .*whole numbers"),
    ],
)
def test_wrong_labels_of_a_dataset_are_named_before_training(data, message, tmp_path):
    with pytest.raises(DataError, match=message):
        genzoo.fit({"name": "vae", "classes": 3}, data, tmp_path / "run", steps=1, batch_size=4)
    assert not (tmp_path / "run").exists()


def test_labels_do_not_condition_a_model_by_themselves():
    run = genzoo.fit(
        {"name": "vae", "encoder": SMALL, "decoder": SMALL},
        {"x": torch.rand(8, 5), "y": torch.arange(8)},
        steps=1,
        batch_size=4,
    )
    assert run.model.given == ()


def test_invalid_numbers_of_classes_and_shapes_are_named():
    with pytest.raises(SettingError, match="classes = -1"):
        VAE(classes=-1)
    with pytest.raises(SettingError, match=r"classes = 3 needs vectors \(D,\) or images"):
        GAN(classes=3, shape=(6, 4))


def test_the_sampler_is_fitted_to_codes_with_their_labels():
    wae = WAEMMD(2, classes=3, encoder=SMALL, decoder=SMALL, shape=(5,))
    x, y = torch.rand(60, 5), torch.arange(60) % 3
    wae.fit_sampler(x, {"name": "mog", "components": 1}, given=y)
    codes = wae.encode(x, y).detach()
    torch.testing.assert_close(wae.sampler.gaussians()[1][0], codes.mean(0), rtol=1e-3, atol=1e-4)
    assert wae.sample(4, Y).shape == (4, 5)
    table = {"name": "wae-mmd", "encoder": SMALL, "decoder": SMALL, "latent_dim": 2, "classes": 3}
    sampler = {"name": "mog", "components": 1}
    run = genzoo.fit({**table, "sampler": sampler}, {"x": x, "y": y}, steps=1, batch_size=30)
    fitted = run.model.latent_distribution.gaussians()[1][0]
    codes = run.model.encode(x, y).detach()
    torch.testing.assert_close(fitted, codes.mean(0), rtol=1e-3, atol=1e-4)


def test_wrong_labels_of_paths_and_sums_are_named():
    vae = VAE(2, classes=3, encoder=SMALL, decoder=SMALL, shape=(5,))
    z = torch.zeros(4, 2)
    for given, message in (
        (3, "given is 3"),
        (None, "given is nothing"),
        (torch.tensor([1]), r"shape \(1,\).* labels of shape \(4,\), 0 to 2"),
    ):
        with pytest.raises(DataError, match=message):
            genzoo.interpolate(vae, z, z, steps=2, given=given)
    with pytest.raises(DataError, match=r"labels of shape \(1,\)"):
        genzoo.latent_arithmetic(vae, z, z, z, given=Y)
    plain = VAE(2, encoder=SMALL, decoder=SMALL, shape=(5,))
    with pytest.raises(DataError, match="takes no labels"):
        genzoo.interpolate(plain, z, z, steps=2, given=Y)


# --- learning


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "lr"),
    [
        ({"name": "vae", "encoder": {"hidden": (32,)}, "decoder": {"hidden": (32,)}}, 5e-3),
        ({"name": "gan", "generator": {"hidden": (32,)}, "critic": {"hidden": (32,)}}, 5e-3),
    ],
    ids=["vae", "gan"],
)
def test_samples_have_the_label_that_was_asked_for(model, lr):
    centers = torch.tensor([[0.0, 2.0], [2.0, 0.0], [-2.0, -2.0]])
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(3, (600,), generator=generator)
    x = centers[y] + 0.2 * torch.randn(600, 2, generator=generator)
    built = genzoo.build({**model, "latent_dim": 2, "classes": 3}, shape=(2,))
    players = {player.name: {"lr": lr} for player in built.players()}
    run = genzoo.fit(built, {"x": x, "y": y}, steps=200, batch_size=60, players=players)
    asked = torch.arange(300) % 3
    nearest = torch.cdist(run.model.sample(300, asked), centers).argmin(1)
    assert (nearest == asked).float().mean() > 0.97


# --- autoregressive models


def every(size):
    """Return all vectors of bits, `(2^size, size)`."""
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * size).double()


AUTOREGRESSIVE = {
    "nade": ({"hidden": 5, "order": "random"}, (3,)),
    "eonade": ({"hidden": (5, 4), "orderings": 3}, (3,)),
    "pixel-rnn": ({"layer": "row-lstm", "hidden": 3, "depth": 1, "head": 4}, (1, 2, 2)),
}


@pytest.mark.parametrize("name", AUTOREGRESSIVE)
def test_probabilities_sum_to_one_for_each_label_and_samples_follow_them(name):
    settings, shape = AUTOREGRESSIVE[name]
    model = genzoo.load(name, classes=3, shape=shape, **settings).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.8)
    x = every(math.prod(shape)).view(-1, *shape)
    probabilities = [
        model.log_prob(x, torch.full((len(x),), label)).exp().detach() for label in range(3)
    ]
    for one in probabilities:
        assert one.sum().item() == pytest.approx(1, abs=1e-12)
    assert (probabilities[0] - probabilities[1]).abs().max() > 0.005
    # labels of one batch do not mix
    y = torch.arange(len(x)) % 3
    torch.testing.assert_close(
        model.log_prob(x, y).exp().detach(), torch.stack(probabilities)[y, torch.arange(len(x))]
    )
    samples = model.sample(2000, torch.full((2000,), 2)).flatten(1)
    weights = 2 ** torch.arange(samples.shape[1] - 1, -1, -1)
    counts = (samples.long() @ weights).bincount(minlength=len(x))
    assert stats.chisquare(counts, 2000 * probabilities[2]).pvalue > 1e-3


def test_the_density_of_an_rnade_integrates_to_one_for_each_label():
    model = genzoo.load("rnade", classes=2, hidden=4, components=2, shape=(1,)).double()
    with torch.no_grad():
        model.label_bias.normal_()
    grid = torch.linspace(-30, 30, 60_001).double()[:, None]
    densities = [model.log_prob(grid, torch.full((len(grid),), y)).exp() for y in (0, 1)]
    for density in densities:
        assert torch.trapezoid(density, dx=1e-3).item() == pytest.approx(1, abs=1e-4)
    assert (densities[0] - densities[1]).abs().max() > 1e-3


def test_completions_keep_their_label():
    model = genzoo.load("nade", classes=2, hidden=4, shape=(4,))
    with torch.no_grad():
        model.out_weight.fill_(1.0)
        model.label_bias.copy_(torch.tensor([[-100.0], [100.0]]).expand(2, 4))
        model.out_bias.fill_(-2.0)
        model.out_weight.mul_(10)
    mask = torch.tensor([True, True, False, False])
    y = torch.tensor([0, 1]).repeat(500)
    completed = model.complete(torch.zeros(1000, 4), mask, y)
    assert (completed[:, :2] == 0).all()
    # sigmoid(-2) with hidden units of 0, and about 1 with hidden units of 1
    assert completed[y == 0, 2:].mean() < 0.2
    assert completed[y == 1, 2:].mean() > 0.9
