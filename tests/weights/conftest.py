"""Fixtures of the tests of pretrained weights."""

import pytest
import torch

import genzoo
from genzoo.registry.lookup import registries

TABLE = {
    "name": "vae",
    "latent_dim": 2,
    "encoder": {"name": "mlp", "hidden": (4,)},
    "decoder": {"name": "mlp", "hidden": (4,)},
    "shape": (1, 8, 8),
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A run folder with the random weights of a small model."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return genzoo.save(
            genzoo.build(TABLE), tmp_path_factory.mktemp("runs") / "run", data="digits"
        )


@pytest.fixture(scope="session")
def stored(saved, tmp_path_factory):
    """The folder of an entry of pretrained weights; tests must not change it."""
    folder = tmp_path_factory.mktemp("entries") / "small-vae.digits"
    return genzoo.weights.store(saved, folder, metrics=["reconstruction"], n=50).folder


@pytest.fixture
def registered(stored, monkeypatch):
    """The name of a registered entry."""
    names = registries["weights"]
    monkeypatch.setattr(names, "_registered", dict(names._registered))
    names.register("small-vae.digits", genzoo.weights.Entry(stored))
    return "small-vae.digits"
