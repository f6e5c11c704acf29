"""Weight clipping: the weights after each step, the share at the bound, and the schedule."""

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

import genzoo
from genzoo.models.wgan import WGAN
from tests.models.distributions import Sample, Shift

SMALL = {"name": "mlp", "hidden": (8,)}
DATA = torch.rand(40, 3, generator=torch.Generator().manual_seed(1))


def wgan(latent_dim=2, **settings):
    return WGAN(latent_dim, **{"generator": SMALL, "critic": SMALL, "shape": (3,), **settings})


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true"])
def test_weights_are_clipped_after_each_critic_step(precision, request):
    model = wgan(clip=0.03)
    critic, seen = next(model.critic.parameters()), []

    def note(optimizer, *_):  # called before each step of either player
        moves = any(p is critic for p in optimizer.param_groups[0]["params"])
        seen.append((moves, max(p.abs().max().item() for p in model.critic.parameters())))

    hook = register_optimizer_step_pre_hook(note)
    request.addfinalizer(hook.remove)
    settings = {"steps": 4, "batch_size": 8, "precision": precision}
    genzoo.fit(model, DATA, players={"critic": {"lr": 0.05}, "generator": {"lr": 0.05}}, **settings)
    bound = torch.tensor(0.03, dtype=critic.dtype).item()
    assert [moves for moves, _ in seen] == ([True] * 5 + [False]) * 4
    assert seen[0][1] > bound  # the start is not clipped, as in the paper
    assert all(largest <= bound for _, largest in seen[1:])
    assert any(p.abs().max() > bound for p in model.generator.parameters())
    # a weight at the bound counts as clipped in every precision
    weights = torch.cat([p.detach().flatten().double() for p in model.critic.parameters()])
    share = (weights.abs() == bound).double().mean().item()
    assert share > 0.2
    assert model.critic_loss(DATA.to(critic.dtype))["clipped"].item() == pytest.approx(
        share, abs=2e-3
    )


def test_clipped_is_the_fraction_of_parameters_at_the_bound():
    model = wgan(clip=0.5, critic={"name": "mlp", "hidden": ()}).double()
    (layer,) = (m for m in model.critic.modules() if isinstance(m, nn.Linear))
    for weight, bias, share in (
        ([0.5, -0.5, 0.4], 0.0, 2 / 4),
        ([0.1, 0.2, 0.3], 0.0, 0),
        ([-9.0, 9.0, 0.5], -0.5, 1),
    ):
        layer.weight.data, layer.bias.data = (
            torch.tensor([weight], dtype=torch.float64),
            torch.tensor([bias]).double(),
        )
        assert model.critic_loss(DATA.double())["clipped"].item() == pytest.approx(share)
        model.clip_weights()
        assert layer.weight.tolist() == [[max(-0.5, min(0.5, w)) for w in weight]]
        assert layer.bias.item() == bias


@pytest.mark.parametrize("steps", [1, 5])
def test_the_schedule_of_critic_steps_matches_the_authors_code(steps):
    critic, generator = wgan(critic_steps=steps, burst=True).players()
    counts = [critic.steps_per_round(round) for round in range(1002)]
    expected = [100] * 25 + [steps] * 977
    expected[500] = expected[1000] = 100
    assert counts == expected
    assert generator.steps_per_round == 1
    assert wgan(critic_steps=steps).players()[0].steps_per_round == steps


def test_the_extra_critic_steps_are_trained():
    model = wgan(critic={"name": "mlp", "hidden": ()}, burst=True)
    batch_sizes = []
    inner = model.critic_loss
    model.critic_loss = lambda batch: batch_sizes.append(len(batch)) or inner(batch)
    genzoo.fit(model, DATA, steps=2, batch_size=8)
    assert batch_sizes == [8] * 200


def test_a_linear_critic_converges_to_the_bound():
    # The best weights in [-c, c] are c times the signs of the difference of means, and the gap
    # is c times its 1-norm.
    real = torch.tensor([2.0, -1.0, 0.5]) + torch.randn(500, 3)
    fake = torch.randn(500, 3)
    model = wgan(
        clip=0.1,
        critic={"name": "mlp", "hidden": ()},
        generator=Shift(),
        latent_dim=3,
        prior=Sample(fake),
    )
    player = model.players()[0]
    optimizer = torch.optim.RMSprop(player.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        player.loss(real)["loss"].backward()
        optimizer.step()
        player.after()
    (layer,) = (m for m in model.critic.modules() if isinstance(m, nn.Linear))
    difference = real.mean(0) - fake.mean(0)
    torch.testing.assert_close(layer.weight[0].detach(), 0.1 * difference.sign(), rtol=0, atol=0)
    assert player.loss(real)["gap"].item() == pytest.approx(
        0.1 * difference.abs().sum().item(), rel=1e-4
    )


def test_the_generator_follows_the_critic():
    model = wgan(
        critic={"name": "mlp", "hidden": ()}, generator=Shift(), latent_dim=3, prior="normal"
    )
    (layer,) = (m for m in model.critic.modules() if isinstance(m, nn.Linear))
    value = model.generator_loss(DATA)["loss"]
    (slope,) = torch.autograd.grad(value, model.generator.offset)
    assert slope.item() == pytest.approx(-layer.weight.sum().item(), rel=1e-5)
