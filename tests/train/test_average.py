"""Averaged weights have batch statistics of their own, not those of the last weights."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

import genzoo
from genzoo import Model
from genzoo.train.checkpoint import Checkpoints, read_checkpoint


@genzoo.models.register("test-normed")
class Normed(Model):
    """Moves a layer before a batch norm fast, so that its average is far from its last weights."""

    def __init__(self, shape: tuple[int, ...] = (3,)) -> None:
        super().__init__()
        self.shape = shape
        self.layer, self.norm, self.dropout = nn.Linear(*shape, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.optimizer = {"name": "SGD", "lr": 0.5}

    def loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        hidden = self.layer(batch)
        return {"loss": (self.dropout(self.norm(hidden)) - 1).square().mean() + (hidden - 5).square().mean()}

    @torch.no_grad()
    def sample(self, n: int, given: None = None) -> Tensor:
        return torch.zeros(n, *self.shape)


DATA = torch.rand(32, 3, generator=torch.Generator().manual_seed(0))


def statistics(state, x):
    """Mean and variance of what the norm gets, by hand."""
    hidden = x @ state["layer.weight"].T + state["layer.bias"]
    return hidden.mean(0), hidden.var(0)


@pytest.mark.parametrize("steps", [3, 7])
def test_statistics_are_those_of_the_averaged_weights(tmp_path, steps):
    # a batch is all of the data, so every estimate of the statistics is exact
    run = genzoo.fit("test-normed", DATA, tmp_path / "run", steps=steps, batch_size=32, ema=0.9, checkpoint=2)
    for state in (run.model.state_dict(), genzoo.load(run.folder).state_dict()):
        mean, variance = statistics(state, DATA)
        torch.testing.assert_close(state["norm.running_mean"], mean)
        torch.testing.assert_close(state["norm.running_var"], variance)
    kept = read_checkpoint(Checkpoints(run.folder / "checkpoints").paths()[0])
    torch.testing.assert_close(kept["ema"]["norm.running_mean"], statistics(kept["ema"], DATA)[0])
    last = kept["model"]["norm.running_mean"]
    assert not torch.allclose(last, kept["ema"]["norm.running_mean"], atol=0.1)  # as a momentum of 0.1 leaves them behind
    assert not run.model.training
    assert run.model.norm.momentum == 0.1


def test_settling_does_not_touch_the_run(tmp_path):
    averaged = genzoo.fit("test-normed", DATA, tmp_path / "with", steps=9, batch_size=8, ema=0.9, samples=2, checkpoint=3)
    plain = genzoo.fit("test-normed", DATA, tmp_path / "without", steps=9, batch_size=8)
    last = read_checkpoint(Checkpoints(averaged.folder / "checkpoints").paths()[-1])["model"]
    assert all(torch.equal(last[name], value) for name, value in plain.model.state_dict().items())


@genzoo.models.register("test-kept")
class Kept(Normed):
    """Takes a gradient of its own, counts its losses, and holds norms that are no business of an average."""

    def __init__(self, shape: tuple[int, ...] = (3,)) -> None:
        super().__init__(shape)
        self.frozen, self.idle = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        nn.init.constant_(self.frozen.running_mean, 5.0)
        nn.init.constant_(self.idle.running_mean, 7.0)
        self.register_buffer("count", torch.tensor(0))
        self.frozen.requires_grad_(False)

    def train(self, mode: bool = True):
        super().train(mode)
        self.frozen.eval()
        return self

    def loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        self.count += 1
        x = self.frozen(batch).requires_grad_()
        (slope,) = torch.autograd.grad(self.norm(self.layer(x)).square().sum(), x, create_graph=True)
        return {"loss": super().loss(batch)["loss"] + 1e-3 * slope.square().mean() + 0 * self.idle.weight.sum()}


def test_settling_keeps_what_is_not_its_own():
    model = genzoo.fit("test-kept", DATA, steps=3, batch_size=32, ema=0.9).model
    assert model.frozen.running_mean.tolist() == [5.0] * 3
    assert model.idle.running_mean.tolist() == [7.0] * 3
    assert model.count.item() == 3
