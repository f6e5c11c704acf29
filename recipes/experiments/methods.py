"""Generators and critics that are hard to train, ways to train them, and how far their samples are from the data in the end."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from figure import round_to, watch
from torch import nn

import genzoo
from genzoo.contract import Model
from genzoo.dataset import Dataset
from genzoo.errors import TrainingError
from genzoo.metrics.features import NETWORKS, FeatureStatistics, features, network_for
from genzoo.metrics.frechet import frechet_distance

Net = Mapping[str, Any]
GAN: Net = {"model": {"name": "gan"}}
WGANGP: Net = {"model": {"name": "wgan-gp"}}
METHODS: Mapping[str, Net] = {
    "DCGAN": GAN,
    "LSGAN": {"model": {"name": "gan", "loss": "least-squares"}, "optimizer": {"name": "RMSprop", "lr": 1e-4}},
    "WGAN": {"model": {"name": "wgan"}},
    "WGAN-GP": {**WGANGP, "optimizer": {"betas": (0.5, 0.9)}},
}
"""As in the appendix of the WGAN-GP paper: the model, and what its optimizer has else than the model's own."""


def architecture(seed: int, number: int) -> tuple[Net, Net]:
    """A generator and a critic from the paper's space."""
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
    """Generators and critics like those of the paper's LSUN bedrooms, at a width."""
    conv = {"name": "conv", "channels": [width, 2 * width], "norm": "batch"}
    g, c = {**conv, "activation": "relu"}, {**conv, "activation": "leaky-relu"}
    deep = {"name": "mlp", "hidden": [128] * 20, "activation": "relu", "norm": "batch"}
    return {
        "baseline": (g, c),
        "generator without norm, of constant width": ({**g, "norm": "none", "channels": [width, width]}, c),
        "generator of 4 ReLU layers, 512 units each": ({"name": "mlp", "hidden": [512] * 4, "activation": "relu"}, c),
        "no norm in either": ({**g, "norm": "none"}, {**c, "norm": "none"}),
        "gates in both (SiLU)": ({**g, "activation": "silu"}, {**c, "activation": "silu"}),
        "tanh in both": ({**g, "activation": "tanh"}, {**c, "activation": "tanh"}),
        "20 ReLU layers in both": (deep, deep),
    }


class Real:
    """Training images, and the distance of others from as many of them.

    The distance is the Fréchet distance by the features of a small network that comes with genzoo; `floor` is that of other
    training images.

    Arguments:
        name: a data set of images, whose shape such a network fits.
        most: how many images to compare with; half of the training images where there are fewer than twice as many.
    """

    def __init__(self, name: str, most: int = 1000) -> None:
        self.data: Dataset = genzoo.build(name, "datasets")
        self.n = min(most, self.data.rows() // 2)
        network = network_for(self.data.shape)
        assert network is not None, f"{name}: no feature network fits images of shape {self.data.shape}"
        self.network = network
        images = self.data.prepare(torch.as_tensor(self.data.train["x"][: 2 * self.n]))
        self.real = self._statistics(images[: self.n])
        self.floor = self._distance(images[self.n :])

    def _statistics(self, images: torch.Tensor) -> FeatureStatistics:
        return FeatureStatistics(NETWORKS[self.network].dim).update(features(self.network, images))

    def _distance(self, images: torch.Tensor) -> float:
        other = self._statistics(images)
        return round_to(frechet_distance(self.real.mean, self.real.covariance, other.mean, other.covariance))

    def distance(self, model: Model) -> float:
        """Of as many samples."""
        return self._distance(model.sample(self.n))


def train(
    method: Net, generator: Net, critic: Net, real: Real, steps: int, rate: float, looks: int = 0, decay: float = 0.0
) -> dict[str, Any]:
    """Train two networks by a method.

    Arguments:
        method: the model, and what its optimizer has else than the model's own.
        generator: a part of kind `"decoders"`.
        critic: a part of kind `"critics"`; its batch norm becomes layer norm under a gradient penalty, as in the paper.
        real: the data, and the distance from them.
        steps: of the generator.
        rate: factor on the learning rates.
        looks: how often the distance is taken on the way.
        decay: weight decay of a critic with a norm.

    Returns:
        `distance`, None where a loss or a weight became infinite; `samples`, a few; and what was `seen` on the way.
    """
    if critic["norm"] == "batch" and method["model"]["name"] == "wgan-gp":
        critic = {**critic, "norm": "layer"}
    table = {**method["model"], "prior": "normal", "output": "tanh", "generator": generator, "critic": critic}
    model = genzoo.build(table, shape=real.data.shape)
    for net in (model.generator, model.critic):
        *hidden, _ = (module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d))
        for layer in hidden:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")  # as the authors do; torch's own start fades in depth
    optimizer = {**method.get("optimizer", {})}
    optimizer["lr"] = rate * optimizer.get("lr", model.optimizer["lr"])
    decays = {"weight_decay": decay} if critic["norm"] != "none" else {}
    players = {"generator": optimizer, "critic": {**optimizer, **decays}}
    seen = watch(model, max(1, steps // looks), lambda: {"distance": real.distance(model)}) if looks else []
    try:
        genzoo.fit(model, real.data, players=players, steps=steps, batch_size=64, progress=False)
    except TrainingError as error:
        print(error)
        return {"distance": None, "samples": [], "seen": seen}
    model.eval()
    torch.manual_seed(0)
    return {"distance": real.distance(model), "samples": model.sample(12).mul(100).round().int().tolist(), "seen": seen}
