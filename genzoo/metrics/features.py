"""Features of examples, and statistics of features."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from genzoo.contract import FeatureNetwork, Part, Shape, is_image
from genzoo.errors import DataError
from genzoo.metrics.networks.classifiers import DigitsCNN, FashionCNN
from genzoo.registry.build import build

__all__ = ["FeatureStatistics", "build_network", "default_network", "extract_features"]

_AT_ONCE = 1000
"""The number of examples per call of a network."""


def default_network(shape: Shape) -> str:
    """Return the name of the feature network for a shape.

    It is the classifier of images of this shape, else `"random-conv"` for images, else `"pixels"`.

    Example:
        >>> default_network((1, 28, 28)), default_network((3, 64, 64)), default_network((2,))
        ('fmnist-cnn', 'random-conv', 'pixels')
    """
    classifiers = {"digits-cnn": DigitsCNN, "fmnist-cnn": FashionCNN}
    for name, network in classifiers.items():
        if network.file.shape == tuple(shape):
            return name
    return "random-conv" if is_image(shape) else "pixels"


def build_network(network: Part | None, shape: Shape) -> FeatureNetwork:
    """Return a feature network for examples of a shape; None selects the default for the shape.

    Raises:
        SettingError: there is no such network, or it does not fit the shape.
    """
    return build(default_network(shape) if network is None else network, "networks", shape=shape)


@torch.no_grad()
def extract_features(network: FeatureNetwork, x: Tensor) -> Tensor:
    """Compute the features of examples, in chunks and in single precision.

    Arguments:
        network: a feature network, which is moved to the device of the examples.
        x: examples, `(n, *shape)`; images are in [0, 1].

    Returns:
        Features, float32 `(n, dim)`, on the device of the examples.

    Raises:
        DataError: the network reads examples of another shape.

    Example:
        >>> from genzoo import build
        >>> network = build("digits-cnn", "networks", shape=(1, 8, 8))
        >>> extract_features(network, torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 32])
    """
    if tuple(x.shape[1:]) != tuple(network.shape):
        raise DataError(
            f"The feature network {network.version} reads examples of shape "
            f"{tuple(network.shape)}, not {tuple(x.shape[1:])}."
        )
    network.to(x.device)
    with torch.autocast(x.device.type, enabled=False):
        return torch.cat([network(part.float()).float() for part in x.split(_AT_ONCE)])


class FeatureStatistics:
    r"""The number, mean, and covariance of features, accumulated over batches.

    It stores \( \sum f \) and \( \sum f f^\top \) in float64, not the batches.

    Arguments:
        dim: the number of features.

    Example:
        >>> statistics = FeatureStatistics(2)
        >>> statistics = statistics.update(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))
        >>> statistics.mean.tolist(), statistics.covariance.tolist()
        ([1.0, 2.0], [[2.0, 4.0], [4.0, 8.0]])
    """

    def __init__(self, dim: int) -> None:
        self.n = 0
        self.total = torch.zeros(dim, dtype=torch.float64)
        self.outer = torch.zeros(dim, dim, dtype=torch.float64)

    def update(self, batch: Tensor) -> Self:
        """Add a batch of features, `(n, dim)`."""
        batch = batch.detach().cpu().double()
        self.n += len(batch)
        self.total += batch.sum(0)
        self.outer += batch.T @ batch
        return self

    @property
    def mean(self) -> Tensor:
        """The mean of the features, `(dim,)`."""
        return self.total / self.n

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance of the features, `(dim, dim)`.

        Raises:
            DataError: there are fewer than two examples.
        """
        if self.n < 2:
            raise DataError(f"A covariance needs at least two examples, but there are {self.n}.")
        return (self.outer - torch.outer(self.total, self.mean)) / (self.n - 1)
