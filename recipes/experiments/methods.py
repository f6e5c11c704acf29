"""Define networks that are hard to train and methods to train them, and evaluate samples."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from figure import Watch, round_to
from torch import nn

import genzoo
from genzoo.contract import Model
from genzoo.contract.dataset import Dataset
from genzoo.errors import TrainingError
from genzoo.metrics import FeatureStatistics, extract_features, frechet_distance
from genzoo.metrics.features import build_network

Net = Mapping[str, Any]
GAN: Net = {
    "model": {"name": "gan", "penalty": "none"},
    "optimizer": {"lr": 2e-4, "betas": (0.5, 0.999)},
}
WGANGP: Net = {"model": {"name": "wgan-gp", "critic_steps": 5}, "optimizer": {"lr": 1e-4}}
METHODS: Mapping[str, Net] = {
    "DCGAN": GAN,
    "LSGAN": {
        "model": {"name": "gan", "loss": "least-squares", "penalty": "none"},
        "optimizer": {"name": "RMSprop", "lr": 1e-4},
    },
    "WGAN": {"model": {"name": "wgan"}},
    "WGAN-GP": {**WGANGP, "optimizer": {"lr": 1e-4, "betas": (0.5, 0.9)}},
}
"""Methods of the WGAN-GP paper's appendix: a model, and changes to its optimizer's defaults.

The settings are those of the papers, which are not always genzoo's defaults.
"""


def architecture(seed: int, number: int) -> tuple[Net, Net]:
    """Sample a generator and a critic from the paper's space."""
    chance = random.Random(f"{seed}/{number}")
    generator, critic = (
        {
            "name": "mlp",
            "hidden": [chance.choice((32, 64, 128))] * chance.choice((4, 8, 12, 20)),
            "activation": chance.choice(("relu", "leaky-relu", "shifted-softplus", "tanh")),
            "norm": chance.choice(("batch", "none")),
        }
        for _ in range(2)
    )
    return generator, critic


def variants(width: int) -> dict[str, tuple[Net, Net]]:
    """Return generators and critics like those of the paper's LSUN bedrooms, with a given width."""
    conv = {"name": "conv", "channels": [width, 2 * width], "norm": "batch"}
    g, c = (
        {**conv, "activation": "relu", "upsample": "transposed"},
        {**conv, "activation": "leaky-relu"},
    )
    deep = {"name": "mlp", "hidden": [128] * 20, "activation": "relu", "norm": "batch"}
    return {
        "baseline": (g, c),
        "generator without norm, of constant width": (
            {**g, "norm": "none", "channels": [width, width]},
            c,
        ),
        "generator of 4 ReLU layers, 512 units each": (
            {"name": "mlp", "hidden": [512] * 4, "activation": "relu"},
            c,
        ),
        "no norm in either": ({**g, "norm": "none"}, {**c, "norm": "none"}),
        "gates in both (SiLU)": ({**g, "activation": "silu"}, {**c, "activation": "silu"}),
        "tanh in both": ({**g, "activation": "tanh"}, {**c, "activation": "tanh"}),
        "20 ReLU layers in both": (deep, deep),
    }


class Real:
    """Training images, with a method that computes the distance of other images to them.

    The distance is the Fréchet distance in the features of the default network for the shape of the
    images. `floor` is the distance of other training images.

    Arguments:
        name: an image dataset.
        most: the number of images to compare with, limited to half of the training images.
    """

    def __init__(self, name: str, most: int = 1000) -> None:
        self.data: Dataset = genzoo.build(name, "datasets")
        self.n = min(most, self.data.rows() // 2)
        self.network = build_network(None, self.data.shape)
        images = self.data.prepare(torch.as_tensor(self.data.train["x"][: 2 * self.n]))
        self.real = self._statistics(images[: self.n])
        self.floor = self._distance(images[self.n :])

    def _statistics(self, images: torch.Tensor) -> FeatureStatistics:
        return FeatureStatistics(self.network.dim).update(extract_features(self.network, images))

    def _distance(self, images: torch.Tensor) -> float:
        other = self._statistics(images)
        return round_to(
            frechet_distance(self.real.mean, self.real.covariance, other.mean, other.covariance)
        )

    def distance(self, model: Model) -> float:
        """Return the distance of the same number of samples."""
        return self._distance(model.sample(self.n))


def train(
    method: Net,
    generator: Net,
    critic: Net,
    real: Real,
    steps: int,
    rate: float,
    looks: int = 0,
    decay: float = 0.0,
) -> dict[str, Any]:
    """Train a generator and a critic with a method.

    Arguments:
        method: the model, and changes to its optimizer's defaults.
        generator: a part of kind `"decoders"`.
        critic: a part of kind `"critics"`. Under a gradient penalty, its batch norm becomes layer
            norm, as in the paper.
        real: the data, with the distance to them.
        steps: the number of generator steps.
        rate: a factor on the learning rates.
        looks: the number of times that the distance is computed during training.
        decay: the weight decay of a critic with a norm.

    Returns:
        `distance`, or None if a loss or a weight became infinite; a few `samples`; and the values
        `seen` during training.
    """
    if critic["norm"] == "batch" and method["model"]["name"] == "wgan-gp":
        critic = {**critic, "norm": "layer"}
    table = {
        **method["model"],
        "prior": "normal",
        "output": "tanh",
        "generator": generator,
        "critic": critic,
    }
    model = genzoo.build(table, shape=real.data.shape)
    for net in (model.generator, model.critic):
        *hidden, _ = (
            module
            for module in net.modules()
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        )
        for layer in hidden:
            # as in the authors' code; with torch's default, activations fade with depth
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    optimizer = {**method.get("optimizer", {})}
    optimizer["lr"] = rate * optimizer.get("lr", model.optimizer["lr"])
    decays = {"weight_decay": decay} if critic["norm"] != "none" else {}
    players = {"generator": optimizer, "critic": {**optimizer, **decays}}
    watch = Watch(model, max(1, steps // max(1, looks)), lambda: {"distance": real.distance(model)})
    try:
        genzoo.fit(
            model,
            real.data,
            players=players,
            steps=steps,
            batch_size=64,
            progress=False,
            **(watch.settings if looks else {}),
        )
    except TrainingError as error:
        print(error)
        return {"distance": None, "samples": [], "seen": watch.seen}
    model.eval()
    torch.manual_seed(0)
    return {
        "distance": real.distance(model),
        "samples": model.sample(12).mul(100).round().int().tolist(),
        "seen": watch.seen,
    }
