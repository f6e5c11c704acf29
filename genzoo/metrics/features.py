"""Small feature networks for images, and statistics of their features.

The networks are part of genzoo, in `genzoo/metrics/networks/`; nothing is downloaded. Each file is
checked by its SHA-256 before use. A network that changes gets a new version, and results name the
version, because values of different networks are not comparable. `benchmarks/feature_networks.py`
trains the networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

import torch
from safetensors.torch import load
from torch import Tensor, nn

from genzoo.contract.dataset import Shape
from genzoo.errors import DataError, SettingError

__all__ = [
    "FOLDER",
    "NETWORKS",
    "FeatureNetwork",
    "FeatureStatistics",
    "Name",
    "NetworkFile",
    "available_networks",
    "extract_features",
    "feature_network",
    "network_for",
]

Name = Literal["fmnist-cnn", "digits-cnn"]
"""The name of a network."""
FOLDER = Path(__file__).parent / "networks"
"""The folder of the network files."""


@dataclass(frozen=True, kw_only=True)
class NetworkFile:
    """The file of a network, and facts about the network."""

    version: str
    """The name of the network in results, and of the file."""
    shape: Shape
    """The shape of one image."""
    dim: int
    """The number of features."""
    accuracy: float
    """The accuracy on the test images, with the weights in the file."""
    sha256: str
    """The checksum of the file."""

    @property
    def path(self) -> Path:
        """The path of the file."""
        return FOLDER / f"{self.version}.safetensors"


NETWORKS: Mapping[Name, NetworkFile] = MappingProxyType(
    {
        "fmnist-cnn": NetworkFile(
            version="fmnist-cnn-v1",
            shape=(1, 28, 28),
            dim=64,
            accuracy=0.9126,
            sha256="897a868159d920be3335d5d781823744c4b04376e357c441d292e3fcb9bc5c5f",
        ),
        "digits-cnn": NetworkFile(
            version="digits-cnn-v1",
            shape=(1, 8, 8),
            dim=32,
            accuracy=0.9899,
            sha256="3e2b83785fdb155a560f2f2cc2dc45e41ebaffc064b6e6e1b550679237df4cf2",
        ),
    }
)
"""The networks, by name."""


class FeatureNetwork(nn.Module):
    """A classifier of small images. The features are the outputs of its last hidden layer.

    It has three strided convolutions and two linear layers.

    Arguments:
        shape: the shape of one image, `(C, H, W)`.
        dim: the number of features.
        classes: the number of classes.

    Example:
        >>> FeatureNetwork((1, 8, 8), dim=32)(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 32])
    """

    def __init__(self, shape: Shape, dim: int, classes: int = 10) -> None:
        super().__init__()
        channels = (shape[0], 32, 64, 64)
        # Each convolution halves the size, rounded up.
        height, width = (-(-size // 8) for size in shape[1:])
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
        self.body = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, dim), nn.ReLU()
        )
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute features, which are not negative.

        Arguments:
            x: images in [0, 1], `(batch, *shape)`.

        Returns:
            `(batch, dim)`.
        """
        return self.body(x)

    def classify(self, x: Tensor) -> Tensor:
        """Compute the logits of the classes.

        Arguments:
            x: images in [0, 1], `(batch, *shape)`.

        Returns:
            `(batch, classes)`.
        """
        return self.head(self(x))


@cache
def feature_network(name: Name, device: str = "cpu") -> FeatureNetwork:
    """Return a feature network in evaluation mode, with frozen weights.

    The file stores float16, the network is float32. Its accuracy was measured with these weights.

    Arguments:
        name: `"fmnist-cnn"` for 28x28 gray images, with 64 features; its accuracy on the test
            images of Fashion-MNIST is 91.26 %. Or `"digits-cnn"` for 8x8 gray images, with 32
            features; its accuracy on held-out digits is 98.99 %.
        device: the device of the network.

    Raises:
        SettingError: there is no network with this name.
        DataError: the file is missing, or its checksum is wrong.

    Example:
        >>> feature_network("digits-cnn").classify(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    if name not in NETWORKS:
        raise SettingError(f"No feature network is named {name!r}. {available_networks()}")
    file = NETWORKS[name]
    content = file.path.read_bytes() if file.path.is_file() else b""
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != file.sha256:
        problem = "is missing"
        if content:
            problem = f"has the SHA-256 {checksum}, but should have {file.sha256}"
        raise DataError(f"feature network {name!r}: {file.path} {problem}; install genzoo again.")
    # The meta device draws no initial weights, so the caller's random state does not change.
    with torch.device("meta"):
        network = FeatureNetwork(file.shape, file.dim)
    # Copying converts float16 to float32.
    network.to_empty(device="cpu").load_state_dict(load(content))
    return network.requires_grad_(requires_grad=False).eval().to(device)


def available_networks() -> str:
    """Return a sentence that lists the networks, for messages."""
    networks = [f"{name} for images of shape {file.shape}" for name, file in NETWORKS.items()]
    return f"Available: {' and '.join(networks)}."


def network_for(shape: Shape) -> Name | None:
    """Return the name of the network for images of a shape, or None."""
    return next((name for name, file in NETWORKS.items() if file.shape == tuple(shape)), None)


@torch.no_grad()
def extract_features(name: Name, images: Tensor) -> Tensor:
    """Compute the features of images.

    Arguments:
        name: the name of the network, as in `feature_network`.
        images: images in [0, 1], `(n, *shape)`. They are not resized.

    Returns:
        Features, float32 `(n, dim)`, on the device of the images.

    Raises:
        SettingError: there is no such network, or it needs images of another shape.

    Example:
        >>> extract_features("digits-cnn", torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 32])
    """
    network = feature_network(name, str(images.device))
    if tuple(images.shape[1:]) != NETWORKS[name].shape:
        raise SettingError(
            f"{name} does not fit images of shape {tuple(images.shape[1:])}. {available_networks()}"
        )
    with torch.autocast(images.device.type, enabled=False):
        return torch.cat([network(part.float()) for part in images.split(1000)])


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
