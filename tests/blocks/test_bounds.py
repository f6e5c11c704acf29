"""A clamp that passes gradients, so that values can return from beyond its bounds."""

import pytest
import torch

import genzoo
from genzoo.blocks.bounds import bounded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_are_clamped_and_gradients_pass(dtype):
    x = torch.tensor(
        [-1e30, -31.0, -30.0, -1.3, 0.0, 0.1, 19.9, 20.0, 50.0, 1e30],
        dtype=dtype,
        requires_grad=True,
    )
    y = bounded(x, -30, 20)
    assert torch.equal(y, x.detach().clamp(-30, 20))
    (grad,) = torch.autograd.grad((y * torch.arange(10, dtype=dtype)).sum(), x)
    assert torch.equal(grad, torch.arange(10, dtype=dtype))


class Puts(torch.nn.Module):
    """A network with the same features for every example."""

    def __init__(self, features):
        super().__init__()
        self.features = torch.nn.Parameter(features)

    def forward(self, x):
        return self.features.expand(len(x), -1)


@pytest.mark.parametrize("value", [-1e4, 300.0, 1e30])
def test_log_variances_of_a_vae_are_bounded_and_keep_a_gradient(value):
    model = genzoo.build({"name": "vae", "latent_dim": 1}, shape=(2,))
    model.encoder = Puts(torch.tensor([0.0, value]))
    x = torch.rand(4, 2)
    scale = model.posterior(x).base_dist.scale
    torch.testing.assert_close(scale, torch.full_like(scale, value).clamp(-30, 20).div(2).exp())
    kl = model.loss(x)["kl"]
    assert kl.isfinite()
    (grad,) = torch.autograd.grad(kl, model.encoder.features)
    assert grad[1] * (1 if value > 0 else -1) > 0  # a gradient step moves the value back


def test_log_sigmas_of_an_rnade_are_bounded():
    model = genzoo.build({"name": "rnade", "components": 2, "hidden": 4}, shape=(2,))
    output = torch.tensor([0.0, 0.0, 0.0, 0.0, 1e4, -1e4])
    scale = model.mixture(output).component_distribution.stddev
    torch.testing.assert_close(scale, torch.tensor([10.0, -15.0]).exp() + model.sigma_min)
