"""Tests of torch's modes: the caller's modes do not affect a run and are restored after it."""

from contextlib import contextmanager

import pytest
import torch

import genzoo
from genzoo.errors import SettingError
from genzoo.runs.modes import standard_modes
from tests.games import Mean

DATA = torch.rand(32, 3, generator=torch.Generator().manual_seed(0))
VAE = {
    "name": "vae",
    "latent_dim": 2,
    "encoder": {"name": "mlp", "hidden": [8]},
    "decoder": {"name": "mlp", "hidden": [8]},
}


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
        assert torch.empty(1).device.type == "meta"
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    "mode",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("meta"),
        default_dtype,
        default_device,
        deterministic,
    ],
)
def test_a_run_does_not_depend_on_the_callers_modes(mode):
    settings = {"steps": 3, "batch_size": 8, "ema": 0.5}
    plain = genzoo.fit(VAE, DATA, **settings).model.state_dict()
    with mode():
        before = (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
        )
        run = genzoo.fit(VAE, DATA, **settings)
        assert before == (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
        )
    state = run.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.items())
    assert not any(value.is_inference() for value in state.values())


def test_sampling_works_with_gradients_disabled():
    model = genzoo.fit(VAE, DATA, steps=1, batch_size=8).model
    with torch.no_grad():
        assert model.sample(2).shape == (2, 3)
    with torch.inference_mode():
        assert model.sample(2).shape == (2, 3)


def test_weights_from_inference_mode_are_refused_with_an_explanation():
    with torch.inference_mode():
        model = Mean(shape=(3,))
        data = DATA.clone()
    with pytest.raises(
        SettingError, match=r"the model \(Mean\) was built under torch.inference_mode.*outside"
    ):
        genzoo.fit(model, data, steps=1, batch_size=8)
    genzoo.fit(VAE, data, steps=1, batch_size=8)


def test_the_default_dtype_is_restored_when_the_last_of_several_runs_ends():
    cpu = torch.device("cpu")
    with default_dtype():
        first, second = standard_modes(cpu), standard_modes(cpu)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert torch.get_default_dtype() == torch.float32
        second.__exit__(None, None, None)
        assert torch.get_default_dtype() == torch.float64


class Slope(genzoo.Model):
    """A weight vector that decreases by one at each step; the loss is its mean."""

    def __init__(self, shape: tuple[int, ...] = (3,)) -> None:
        super().__init__()
        self.shape = shape
        self.weight = torch.nn.Parameter(torch.zeros(1, 3))

    def loss(self, batch):
        return {"loss": torch.nn.functional.linear(torch.ones(1, 3), self.weight).sum() / 3}

    def sample(self, n, given=None):
        return self.weight.detach().expand(n, 3)


@pytest.mark.parametrize(
    "around", [torch.enable_grad, lambda: torch.autocast("cpu", torch.bfloat16)]
)
def test_mixed_precision_reads_the_weights_of_each_step(around):
    slope = {"model": {"name": "SGD", "lr": 3.0}}
    with around():
        run = genzoo.fit(
            Slope(),
            DATA,
            steps=4,
            batch_size=8,
            log_every=1,
            precision="bf16-mixed",
            players=slope,
            progress=False,
        )
    assert [line["loss"] for line in run.history] == [0.0, -1.0, -2.0, -3.0]
