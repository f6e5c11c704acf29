"""Small networks that come with genzoo and describe images by features, and the statistics of such features.

No network is downloaded: weights lie in `genzoo/metrics/networks/`, and their SHA-256 is checked before they are used. A file
that changes gets a new version, which stands in the results, because values of different networks do not compare.
`benchmarks/feature_networks.py` trains them.
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

Name = Literal["fmnist-cnn", "digits-cnn"]
FOLDER = Path(__file__).parent / "networks"


@dataclass(frozen=True)
class Source:
    """A network that comes with genzoo."""

    version: str
    """Its name in results, and of its file."""
    shape: Shape
    dim: int
    """Number of features."""
    accuracy: float
    """Share of the test images that it classes rightly, with the weights as shipped."""
    sha256: str

    @property
    def path(self) -> Path:
        """Its file."""
        return FOLDER / f"{self.version}.safetensors"


NETWORKS: Mapping[Name, Source] = MappingProxyType(
    {
        "fmnist-cnn": Source(
            "fmnist-cnn-v1",
            (1, 28, 28),
            64,
            0.9126,
            "897a868159d920be3335d5d781823744c4b04376e357c441d292e3fcb9bc5c5f",
        ),
        "digits-cnn": Source(
            "digits-cnn-v1",
            (1, 8, 8),
            32,
            0.9899,
            "3e2b83785fdb155a560f2f2cc2dc45e41ebaffc064b6e6e1b550679237df4cf2",
        ),
    }
)


class FeatureNetwork(nn.Module):
    """A classifier of small images, whose last hidden layer makes the features: three strided convolutions, two linear layers.

    Arguments:
        shape: shape of one image, `(C, H, W)`.
        dim: number of features.
        classes: number of classes.

    Example:
        >>> FeatureNetwork((1, 8, 8), dim=32)(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 32])
    """

    def __init__(self, shape: Shape, dim: int, classes: int = 10) -> None:
        super().__init__()
        channels = (shape[0], 32, 64, 64)
        height, width = (-(-size // 8) for size in shape[1:])  # halved three times, rounded up
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
        self.body = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, dim), nn.ReLU()
        )
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images in [0, 1], `(batch, *shape)` -> features, not negative, `(batch, dim)`."""
        return self.body(x)

    def classify(self, x: Tensor) -> Tensor:
        """Images in [0, 1], `(batch, *shape)` -> logits `(batch, classes)`."""
        return self.head(self(x))


@cache
def feature_network(name: Name, device: str = "cpu") -> FeatureNetwork:
    """A network that comes with genzoo, frozen; float32, from float16 in its file, with which its accuracy was measured.

    Arguments:
        name: `"fmnist-cnn"`, for 28x28 grey images: 64 features, 91.26 % of Fashion-MNIST's test images classed rightly.
            `"digits-cnn"`, for 8x8 ones: 32 features, 98.99 % of the held-out digits.
        device: where it goes.

    Raises:
        SettingError: there is no network of that name.
        DataError: its file is missing or is not the one that it should be.

    Example:
        >>> feature_network("digits-cnn").classify(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    if name not in NETWORKS:
        raise SettingError(f"No feature network named {name!r}. {there_is()}")
    source = NETWORKS[name]
    content = source.path.read_bytes() if source.path.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        wrong = (
            f"has the SHA-256 {found}, and should have {source.sha256}" if content else "is missing"
        )
        raise DataError(f"feature network {name!r}: {source.path} {wrong}; install genzoo again.")
    with torch.device("meta"):  # no weights are drawn: that would move the caller's random numbers
        network = FeatureNetwork(source.shape, source.dim)
    network.to_empty(device="cpu").load_state_dict(load(content))  # copies into float32
    return network.requires_grad_(False).eval().to(device)


def there_is() -> str:
    """The networks that come with genzoo, in a sentence."""
    return f"There is {' and '.join(f'{name} for images of shape {source.shape}' for name, source in NETWORKS.items())}."


def network_for(shape: Shape) -> Name | None:
    """The network for images of a shape; None if there is none."""
    return next((name for name, source in NETWORKS.items() if source.shape == tuple(shape)), None)


@torch.no_grad()
def extract_features(name: Name, images: Tensor) -> Tensor:
    """What a network sees in images.

    Arguments:
        name: of the network, as in `feature_network`.
        images: in [0, 1], `(n, *shape)`, of the network's shape: nothing is resized.

    Returns:
        Features, float32 `(n, dim)`, on the images' device.

    Raises:
        SettingError: there is no such network, or its images have another shape.

    Example:
        >>> extract_features("digits-cnn", torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 32])
    """
    network = feature_network(name, str(images.device))
    if tuple(images.shape[1:]) != NETWORKS[name].shape:
        raise SettingError(
            f"{name} does not fit images of shape {tuple(images.shape[1:])}. {there_is()}"
        )
    with torch.autocast(images.device.type, enabled=False):
        return torch.cat([network(part.float()) for part in images.split(1000)])


class FeatureStatistics:
    r"""Number, mean and covariance of features, from batches that are not kept: \( \sum f \) and \( \sum f f^\top \) in float64.

    Arguments:
        dim: number of features.

    Example:
        >>> statistics = FeatureStatistics(2).update(torch.tensor([[0.0, 0.0]])).update(torch.tensor([[2.0, 4.0]]))
        >>> statistics.mean.tolist(), statistics.covariance.tolist()
        ([1.0, 2.0], [[2.0, 4.0], [4.0, 8.0]])
    """

    def __init__(self, dim: int) -> None:
        self.n = 0
        self.total = torch.zeros(dim, dtype=torch.float64)
        self.outer = torch.zeros(dim, dim, dtype=torch.float64)

    def update(self, batch: Tensor) -> Self:
        """Count a batch of features, `(n, dim)`."""
        batch = batch.detach().cpu().double()
        self.n += len(batch)
        self.total += batch.sum(0)
        self.outer += batch.T @ batch
        return self

    @property
    def mean(self) -> Tensor:
        """The mean, `(dim,)`."""
        return self.total / self.n

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance, `(dim, dim)`.

        Raises:
            DataError: there are fewer than two examples.
        """
        if self.n < 2:
            raise DataError(f"A covariance needs two examples at least, and there are {self.n}.")
        return (self.outer - torch.outer(self.total, self.mean)) / (self.n - 1)
