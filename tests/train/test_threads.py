"""Fits and samples in threads of one process equal those in separate processes."""

import threading

import torch

import genzoo
from genzoo import Model
from tests.distributed.test_random_state import at_once

NET = {"name": "mlp", "hidden": (16,)}
VAE = {"name": "vae", "latent_dim": 2, "encoder": NET, "decoder": NET}


def weights(seed):
    table = {"name": "gan", "latent_dim": 2, "generator": NET, "critic": {**NET, "norm": "layer"}}
    return genzoo.fit(
        table, {"name": "digits", "dequantize": True}, steps=6, batch_size=8, seed=seed
    ).model.state_dict()


def test_concurrent_fits_equal_separate_fits():
    alone, threaded = [weights(seed) for seed in range(2)], {}
    at_once(*(lambda seed=seed: threaded.update({seed: weights(seed)}) for seed in range(2)))
    for seed in range(2):
        assert all(torch.equal(value, threaded[seed][name]) for name, value in alone[seed].items())


class Interrupted(Model):
    """A model whose loss calls a function between two draws of noise."""

    def __init__(self, between, shape=(1, 8, 8)):
        super().__init__()
        self.shape, self.between = shape, between
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))

    def loss(self, batch):
        first = genzoo.distributed.noise(len(batch), 2, like=batch)
        self.between()
        return {
            "loss": (self.net(batch) - first - genzoo.distributed.noise(len(batch), 2, like=batch))
            .square()
            .mean()
        }

    def sample(self, n, given=None):
        return torch.zeros(n, *self.shape)


def test_seeding_and_sampling_in_another_thread_do_not_change_a_fit():
    model = genzoo.build({**VAE, "prior": "mog"}, shape=(1, 8, 8)).eval()
    torch.manual_seed(7)
    expected = model.sample(5)
    go, seeded, samples = threading.Event(), threading.Event(), []

    def fit(between):
        torch.manual_seed(1)
        return (
            genzoo.fit(Interrupted(between), "digits", steps=4, batch_size=8)
            .model.net[1]
            .weight.clone()
        )

    def between():
        go.set()
        seeded.wait()

    def sample():
        go.wait()
        torch.manual_seed(7)
        seeded.set()
        # two draws; the first one waits for the end of the round
        samples.append(model.sample(5))

    alone, threaded = fit(lambda: None), []
    at_once(lambda: threaded.append(fit(between)), sample)
    assert torch.equal(threaded[0], alone)
    assert torch.equal(samples[0], expected)


def test_weights_built_in_another_thread_use_its_seed():
    go, seeded, built = threading.Event(), threading.Event(), []

    def make():
        torch.manual_seed(7)
        seeded.set()
        return genzoo.build(VAE, shape=(1, 8, 8)).state_dict()

    def between():
        go.set()
        seeded.wait()

    expected = make()
    seeded.clear()

    def build():
        go.wait()
        built.append(make())

    at_once(lambda: genzoo.fit(Interrupted(between), "digits", steps=4, batch_size=8), build)
    assert all(torch.equal(value, built[0][name]) for name, value in expected.items())
