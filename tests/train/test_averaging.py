"""Averaged weights: the warm-up, models that are hard to copy, and batch-norm statistics."""

import threading
import warnings
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

import genzoo
from genzoo import Model
from genzoo.contract import Critic
from genzoo.errors import SettingError
from genzoo.runs.checkpoint import Checkpoints, read_checkpoint


@genzoo.models.register("test-normed")
class Normed(Model):
    """A layer before a batch norm that moves fast, so that its average is far from its weights."""

    def __init__(self, shape: tuple[int, ...] = (3,)) -> None:
        super().__init__()
        self.shape = shape
        self.layer, self.norm, self.dropout = (
            nn.Linear(*shape, 4),
            nn.BatchNorm1d(4),
            nn.Dropout(0.5),
        )
        self.optimizer = {"name": "SGD", "lr": 0.5}

    def loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        hidden = self.layer(batch)
        return {
            "loss": (self.dropout(self.norm(hidden)) - 1).square().mean()
            + (hidden - 5).square().mean()
        }

    @torch.no_grad()
    def sample(self, n: int, given: None = None) -> Tensor:
        return torch.zeros(n, *self.shape)


DATA = torch.rand(32, 3, generator=torch.Generator().manual_seed(0))


def statistics(state, x):
    """Compute the mean and the variance of the batch norm's inputs by hand."""
    hidden = x @ state["layer.weight"].T + state["layer.bias"]
    return hidden.mean(0), hidden.var(0)


@pytest.mark.parametrize("steps", [3, 7])
def test_statistics_are_those_of_the_averaged_weights(tmp_path, steps):
    # a batch is all of the data, so every estimate of the statistics is exact
    run = genzoo.fit(
        "test-normed",
        DATA,
        tmp_path / "run",
        steps=steps,
        batch_size=32,
        ema=0.9,
        checkpoint_every=2,
    )
    for state in (run.model.state_dict(), genzoo.load(run.folder).state_dict()):
        mean, variance = statistics(state, DATA)
        torch.testing.assert_close(state["norm.running_mean"], mean)
        torch.testing.assert_close(state["norm.running_var"], variance)
    checkpoint = read_checkpoint(Checkpoints(run.folder / "checkpoints").paths()[0])
    torch.testing.assert_close(
        checkpoint["ema"]["norm.running_mean"], statistics(checkpoint["ema"], DATA)[0]
    )
    # with a momentum of 0.1, the statistics of the last weights lag behind
    last = checkpoint["model"]["norm.running_mean"]
    assert not torch.allclose(last, checkpoint["ema"]["norm.running_mean"], atol=0.1)
    assert not run.model.training
    assert run.model.norm.momentum == 0.1


@pytest.mark.slow
def test_updating_batch_norms_does_not_change_the_run(tmp_path):
    averaged = genzoo.fit(
        "test-normed",
        DATA,
        tmp_path / "with",
        steps=9,
        batch_size=8,
        ema=0.9,
        sample_every=2,
        checkpoint_every=3,
    )
    plain = genzoo.fit("test-normed", DATA, tmp_path / "without", steps=9, batch_size=8)
    last = read_checkpoint(Checkpoints(averaged.folder / "checkpoints").paths()[-1])["model"]
    assert all(torch.equal(last[name], value) for name, value in plain.model.state_dict().items())


@genzoo.models.register("test-fixed-norms")
class FixedNorms(Normed):
    """A model with norms that an average must not update; its loss takes a gradient and counts."""

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
        (slope,) = torch.autograd.grad(
            self.norm(self.layer(x)).square().sum(), x, create_graph=True
        )
        return {
            "loss": super().loss(batch)["loss"]
            + 1e-3 * slope.square().mean()
            + 0 * self.idle.weight.sum()
        }


def test_updating_batch_norms_keeps_other_state():
    model = genzoo.fit("test-fixed-norms", DATA, steps=3, batch_size=32, ema=0.9).model
    assert model.frozen.running_mean.tolist() == [5.0] * 3
    assert model.idle.running_mean.tolist() == [7.0] * 3
    assert model.count.item() == 3


def held_out_error(model, x):
    model.eval()
    with torch.no_grad():
        return float((model.reconstruct(x) - x).square().mean())


@pytest.mark.slow
def test_the_average_of_a_short_run_is_close_to_its_last_weights():
    data = genzoo.build("digits", "datasets")
    x = data.prepare(torch.from_numpy(data.test["x"]))
    model = genzoo.build("vae", shape=(1, 8, 8))
    run = genzoo.fit(model, data, steps=100, batch_size=64, ema=0.999)
    # without the warm-up, the error is 4 times as large
    assert held_out_error(run.model, x) < 1.25 * held_out_error(model, x)


def test_an_instance_is_returned_in_eval_mode():
    model = Normed()
    run = genzoo.fit(model, DATA, steps=1, batch_size=8, ema=0.9)
    assert not any(module.training for net in (model, run.model) for module in net.modules())


def old_weight_norm(layer):
    with warnings.catch_warnings():
        # torch recommends the parametrization instead
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


class Caching(nn.Linear):
    """A module with a cache of its outputs."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        self.last = {"outputs": [y]}
        return y


@pytest.mark.parametrize(
    "wrap",
    [
        old_weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
        lambda layer: Caching(layer.in_features, layer.out_features),
    ],
)
def test_modules_that_compute_their_weights_are_averaged(tmp_path, wrap):
    class Wrapped(Normed):
        def __init__(self, shape: tuple[int, ...] = (3,)) -> None:
            super().__init__(shape)
            self.layer = wrap(self.layer)

    model = Wrapped()
    # compute the attributes that hold tensors of a graph
    model.loss(DATA)
    # a decay below the warm-up after two updates
    run = genzoo.fit(model, DATA, steps=4, batch_size=32, ema=0.2)
    averages = dict(run.model.named_parameters())
    assert averages.keys() == dict(model.named_parameters()).keys()
    assert all(p is not averages[name] for name, p in model.named_parameters())
    assert any(not torch.equal(p, averages[name]) for name, p in model.named_parameters())
    # both models compute with their separate weights
    for net in (model, run.model):
        net.layer(DATA)
        if wrap is old_weight_norm:
            g, v = net.layer.weight_g, net.layer.weight_v
            torch.testing.assert_close(net.layer.weight, g * v / v.norm(dim=1, keepdim=True))


def test_a_model_that_cannot_be_copied_is_refused_before_anything_is_written(tmp_path):
    model = Normed()
    model.layer.lock = threading.Lock()
    with pytest.raises(
        SettingError,
        match=r"train.ema = 0.9 .*'layer.lock' \(lock\) cannot be copied.*__deepcopy__",
    ):
        genzoo.fit(model, DATA, tmp_path / "run", steps=2, batch_size=8, ema=0.9)
    assert not (tmp_path / "run").exists()
    genzoo.fit(model, DATA, steps=2, batch_size=8)


@genzoo.critics.register("test-weight-normed")
class WeightNormed(Critic):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.net = nn.Sequential(old_weight_norm(nn.Linear(*shape, 4)), nn.ReLU(), nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).squeeze(1)


@pytest.mark.slow
def test_a_run_with_old_weight_norm_resumes_exactly(tmp_path):
    table = {
        "name": "gan",
        "critic": "test-weight-normed",
        "generator": {"name": "mlp", "hidden": [4]},
    }
    settings = {"batch_size": 16, "ema": 0.9, "checkpoint_every": 2}
    whole = genzoo.fit(table, DATA, tmp_path / "whole", steps=4, **settings).model.state_dict()
    genzoo.fit(table, DATA, tmp_path / "parts", steps=2, **settings)
    parts = genzoo.fit(
        table, DATA, tmp_path / "parts", steps=4, resume=True, **settings
    ).model.state_dict()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
