"""Lazy penalties: part of each k-th step of the critic, multiplied by k."""

import pytest
import torch

import genzoo
from genzoo.models.gan import GAN

DATA = torch.rand(64, 3, generator=torch.Generator().manual_seed(0))
NETS = {
    "generator": {"name": "mlp", "hidden": (8,)},
    "critic": {"name": "mlp", "hidden": (8,), "activation": "tanh"},
    "latent_dim": 2,
    "shape": (3,),
}


def gradients(model, step, seed):
    """The gradients of the critic's loss in a step, as the trainer computes it."""
    torch.manual_seed(seed)
    model.before_critic_step(step)
    loss = model.critic_loss(DATA.double())["loss"]
    model.after_critic_step()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, model.critic.parameters())])


@pytest.mark.parametrize("penalty", ["r1", "gradient-penalty", "dragan"])
@pytest.mark.parametrize("every", [2, 4])
def test_the_mean_gradient_over_a_period_is_that_of_the_penalty_in_each_step(penalty, every):
    torch.manual_seed(0)
    lazy = GAN(penalty={"name": penalty, "every": every}, penalty_weight=5.0, **NETS).double()
    torch.manual_seed(0)
    eager = GAN(penalty=penalty, penalty_weight=5.0, **NETS).double()
    torch.manual_seed(0)
    without = GAN(penalty="none", **NETS).double()
    period = torch.stack([gradients(lazy, step, seed=1) for step in range(every)])
    torch.testing.assert_close(period.mean(0), gradients(eager, 0, seed=1))
    for row in period[1:]:
        torch.testing.assert_close(row, gradients(without, 0, seed=1))


def test_in_a_run_each_kth_step_has_a_penalty(tmp_path):
    settings = {"batch_size": 16, "log_every": 1, "checkpoint_every": 4}

    def fit(steps, **more):
        torch.manual_seed(0)
        model = GAN(penalty={"name": "r1", "every": 3}, **NETS)
        return genzoo.fit(model, DATA, tmp_path / "run", steps=steps, **settings, **more)

    run = fit(4)
    assert ["critic/penalty" in line for line in run.history] == [True, False, False, True]
    # a loss outside of training has the penalty, without a factor
    assert "penalty" in run.model.critic_loss(DATA)
    run = fit(9, resume=True)
    assert ["critic/penalty" in line for line in run.history[4:]] == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_every_is_at_least_one():
    with pytest.raises(genzoo.SettingError, match=r"every = 0.*greater than 0"):
        GAN(penalty={"name": "r1", "every": 0}, **NETS)
