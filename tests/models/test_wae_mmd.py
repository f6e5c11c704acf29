import math

import pytest
import torch
from torch import nn

import genzoo
from genzoo.contract import has_capability
from genzoo.errors import GenzooError, SettingError
from genzoo.models.vae import VAE
from genzoo.models.wae import WAEMMD
from tests.models.linear import LINEAR


@pytest.fixture
def x():
    return torch.rand(6, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_cost_is_the_squared_error_summed_over_pixels(x):
    torch.manual_seed(0)
    wae = WAEMMD(3, weight=7.0, shape=(1, 4, 5)).double()
    values = {name: value.item() for name, value in wae.loss(x).items()}
    reconstructions = wae.decode(wae.encode(x)).detach()
    cost = (
        sum(
            (float(a) - float(b)) ** 2
            for a, b in zip(x.flatten(), reconstructions.flatten(), strict=True)
        )
        / 6
    )
    assert values["reconstruction"] == pytest.approx(cost)
    assert values["loss"] == pytest.approx(cost + 7 * values["mmd"])


def test_the_penalty_is_the_sum_of_absolute_log_variances(x):
    wae = WAEMMD(
        2, random_encoder=True, variance_penalty=3.0, encoder=LINEAR, shape=(1, 4, 5)
    ).double()
    (layer,) = (m for m in wae.encoder.modules() if isinstance(m, nn.Linear))
    nn.init.zeros_(layer.weight)
    layer.bias.data = torch.tensor([0.3, -0.2, math.log(4), math.log(0.5)]).double()
    values = wae.loss(x)
    penalty = values["loss"] - values["reconstruction"] - 200 * values["mmd"]
    assert penalty.item() == pytest.approx(3 * (math.log(4) + math.log(2)))
    assert wae.posterior(x).variance[0].tolist() == pytest.approx([4, 0.5])
    assert wae.encode(x)[0].tolist() == pytest.approx([0.3, -0.2])


def test_a_variance_may_underflow(x):
    for weight in (0.0, 2.0):
        wae = WAEMMD(
            2, random_encoder=True, variance_penalty=weight, encoder=LINEAR, shape=(1, 4, 5)
        )
        (layer,) = (m for m in wae.encoder.modules() if isinstance(m, nn.Linear))
        nn.init.zeros_(layer.weight)
        layer.bias.data = torch.tensor([0.3, -0.2, -120.0, -120.0])
        values = wae.loss(x.float())
        penalty = values["loss"] - values["reconstruction"] - 200 * values["mmd"]
        assert penalty.item() == pytest.approx(weight * 240, abs=1e-3)
        values["loss"].backward()
        assert all(p.grad.isfinite().all() for p in wae.parameters())


def test_codes_of_a_random_encoder_are_sampled():
    torch.manual_seed(0)
    wae = WAEMMD(2, random_encoder=True, encoder=LINEAR, shape=(5,))
    for parameter in wae.encoder.parameters():  # q(z | x) is the prior
        nn.init.zeros_(parameter)
    assert abs(wae.loss(torch.rand(1000, 5))["mmd"].item()) < 0.02


def test_only_a_random_encoder_has_a_posterior():
    assert has_capability(WAEMMD(2, random_encoder=True, shape=(5,)), "posterior")
    assert not has_capability(WAEMMD(2, shape=(5,)), "posterior")
    with pytest.raises(SettingError, match=r"^WAEMMD .*posterior\(x\); set random_encoder = true"):
        WAEMMD(2, shape=(5,)).posterior(torch.rand(3, 5))
    with pytest.raises(SettingError, match=r"variance_penalty = 0\.1 .* random_encoder"):
        WAEMMD(2, variance_penalty=0.1, shape=(5,))


def test_a_learned_prior_is_trained_by_the_mmd(x):
    wae = WAEMMD(3, prior={"name": "mog", "learn": True, "components": 4}, shape=(1, 4, 5)).double()
    wae.loss(x)["loss"].backward()
    learned = dict(wae.prior.named_parameters())
    assert learned
    assert all(p.grad.abs().max() > 0 for p in learned.values())


def test_an_mmd_of_one_example_is_refused(x):
    wae = WAEMMD(3, shape=(1, 4, 5)).double()
    with pytest.raises(GenzooError):
        wae.loss(x[:1])
    assert wae.reconstruct(x[:1]).shape == (1, 1, 4, 5)


def test_a_divergence_of_distributions_is_refused():
    with pytest.raises(
        SettingError, match=r'^divergence = KL does not compare samples, .* such as "mmd".*$'
    ):
        WAEMMD(2, divergence="kl", shape=(5,))


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
@pytest.mark.parametrize("estimator", ["sampled", "auto"])
def test_trains_in_half_precision(precision, estimator):
    data = torch.rand(64, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    table = {
        "name": "wae-mmd",
        "latent_dim": 3,
        "divergence": {"name": "mmd", "estimator": estimator},
    }
    model = genzoo.fit(table, data, steps=3, batch_size=16, precision=precision).model
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_adam_betas_match_the_paper():
    (player,) = WAEMMD(2, shape=(5,)).players()
    assert player.optimizer["betas"] == (0.5, 0.999)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (1, 25, 31), (5,)])
@pytest.mark.parametrize("prior", ["normal", "uniform", "sphere", "mog"])
def test_shapes(shape, prior):
    wae = WAEMMD(3, prior=prior, shape=shape)
    wae.loss(torch.rand(4, *shape))["loss"].backward()
    assert all(p.grad is not None for p in wae.encoder.parameters())
    assert wae.encode(torch.rand(1, *shape)).shape == (1, 3)
    samples = wae.sample(2)
    assert samples.shape == (2, *shape)
    assert len(shape) == 1 or 0 <= samples.min() <= samples.max() <= 1


@pytest.mark.slow
def test_linear_wae_finds_the_principal_subspace(digits):
    """With matched codes, the least cost is the sum of the discarded eigenvalues.

    G G' has the kept eigenvalues, without shrinkage.
    """
    torch.manual_seed(0)
    x = digits.x.float()
    wae = WAEMMD(
        8,
        0.3,
        encoder=LINEAR,
        decoder=LINEAR,
        divergence={"name": "mmd", "kernel": "quadratic"},
        shape=(64,),
    )
    optimizer = torch.optim.Adam(wae.parameters(), lr=0.03, betas=(0.5, 0.999))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000)
    for _ in range(1000):
        optimizer.zero_grad()
        wae.loss(x[torch.randint(len(x), (200,))])["loss"].backward()
        optimizer.step()
        schedule.step()
    cost = (x - wae.reconstruct(x)).square().sum(1).mean().item()
    assert digits.discarded == pytest.approx(1.530448, abs=1e-5)
    assert 1.530448 - 1e-4 < cost < 1.530448 * 1.025
    (layer,) = (m for m in wae.decoder.modules() if isinstance(m, nn.Linear))
    kept = torch.linalg.svdvals(layer.weight.detach()).square()
    torch.testing.assert_close(kept.double(), digits.eigenvalues[:8], rtol=0.06, atol=0)
    torch.testing.assert_close(torch.cov(wae.encode(x).T).detach(), torch.eye(8), rtol=0, atol=0.06)


@pytest.mark.parametrize("divergence", ["gradient-penalty", "r1"])
def test_a_penalty_is_refused_as_a_divergence(divergence):
    with pytest.raises(
        SettingError, match=r'^divergence = \w+ does not compare samples, .* such as "mmd"'
    ):
        WAEMMD(2, divergence=divergence, shape=(5,))
    with pytest.raises(SettingError, match=r"^divergence = (GradientPenalty|R1) .*; use a"):
        VAE(2, divergence=divergence, shape=(5,))
