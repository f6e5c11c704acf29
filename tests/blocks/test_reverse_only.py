"""Layers with a custom gradient refuse forward-mode differentiation."""

import pytest
import torch

from genzoo import build
from genzoo.errors import SettingError


@pytest.mark.parametrize(
    "model", [{"name": "nade", "hidden": 3}, {"name": "pixel-rnn", "hidden": 3, "depth": 1}]
)
def test_a_forward_mode_derivative_is_refused_where_it_would_be_wrong(model):
    model = build(model, shape=(1, 3, 3))
    x = torch.ones(2, 1, 3, 3)
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def nats(weights):
        return torch.func.functional_call(
            Score(model), {f"model.{name}": w for name, w in weights.items()}, (x,)
        ).sum()

    with pytest.raises(SettingError, match="no forward-mode derivative"):
        torch.func.jvp(nats, (weights,), (weights,))
    with (
        pytest.raises(SettingError, match="no forward-mode derivative"),
        torch.autograd.forward_ad.dual_level(),
    ):
        model.log_prob(x)
    assert all(
        grad.isfinite().all()
        for grad in torch.autograd.grad(model.log_prob(x).sum(), list(model.parameters()))
    )


class Score(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.log_prob(x)
