"""Small classifiers of images as feature networks.

Their weights are part of genzoo; nothing is downloaded. Each file is checked by its SHA-256 before
use. A network that changes gets a new version. `benchmarks/feature_networks.py` trains them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load
from torch import Tensor, nn

from genzoo.contract import FeatureNetwork, Shape
from genzoo.errors import DataError, SettingError

__all__ = ["FOLDER", "Classifier", "DigitsCNN", "FashionCNN", "NetworkFile", "TrainedNetwork"]

FOLDER = Path(__file__).parent
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


class Classifier(nn.Module):
    """A classifier of small images, with three strided convolutions and two linear layers.

    Arguments:
        shape: the shape of one image, `(C, H, W)`.
        dim: the number of outputs of the last hidden layer.
        classes: the number of classes.

    Example:
        >>> Classifier((1, 8, 8), dim=32)(torch.rand(5, 1, 8, 8)).shape
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
        """Compute the outputs of the last hidden layer, `(batch, *shape)` -> `(batch, dim)`."""
        return self.body(x)

    def classify(self, x: Tensor) -> Tensor:
        """Compute the logits of the classes, `(batch, *shape)` -> `(batch, classes)`."""
        return self.head(self(x))


class TrainedNetwork(FeatureNetwork):
    """The last hidden layer of a classifier whose weights are part of genzoo.

    Arguments:
        shape: the shape of one image. Images are not resized.

    Raises:
        SettingError: the classifier reads images of another shape.
        DataError: the file of the weights is missing, or its checksum is wrong.
    """

    file: ClassVar[NetworkFile]

    def __init__(self, shape: Shape) -> None:
        file = self.file
        if tuple(shape) != file.shape:
            raise SettingError(
                f"{file.version} reads images of shape {file.shape}, not {tuple(shape)}; use "
                '"random-conv".'
            )
        super().__init__(shape, file.dim)
        self.version = file.version
        self.classifier = _load(file)

    def forward(self, x: Tensor) -> Tensor:
        """Compute features, which are not negative, `(batch, *shape)` -> `(batch, dim)`."""
        return self.classifier(x)

    def classify(self, x: Tensor) -> Tensor:
        """Compute the logits of the 10 classes, `(batch, *shape)` -> `(batch, 10)`."""
        return self.classifier.classify(x)


class DigitsCNN(TrainedNetwork):
    """A classifier of 8x8 gray digits, with 32 features.

    Its accuracy on the held-out digits of the dataset `digits` is 98.99 %.

    Arguments:
        shape: `(1, 8, 8)`. Images are not resized.

    Raises:
        SettingError: the shape is another one.
        DataError: the file of the weights is missing, or its checksum is wrong.

    Example:
        >>> DigitsCNN((1, 8, 8)).classify(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    example_shapes = ((1, 8, 8),)
    file = NetworkFile(
        version="digits-cnn-v1",
        shape=(1, 8, 8),
        dim=32,
        accuracy=0.9899,
        sha256="3e2b83785fdb155a560f2f2cc2dc45e41ebaffc064b6e6e1b550679237df4cf2",
    )


class FashionCNN(TrainedNetwork):
    """A classifier of 28x28 gray images of clothes, with 64 features.

    Its accuracy on the test images of Fashion-MNIST is 91.26 %.

    Arguments:
        shape: `(1, 28, 28)`. Images are not resized.

    Raises:
        SettingError: the shape is another one.
        DataError: the file of the weights is missing, or its checksum is wrong.

    Example:
        >>> FashionCNN((1, 28, 28))(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 64])
    """

    example_shapes = ((1, 28, 28),)
    file = NetworkFile(
        version="fmnist-cnn-v1",
        shape=(1, 28, 28),
        dim=64,
        accuracy=0.9126,
        sha256="897a868159d920be3335d5d781823744c4b04376e357c441d292e3fcb9bc5c5f",
    )


def _load(file: NetworkFile) -> Classifier:
    """Return a classifier in eval mode, with frozen weights.

    The file stores float16, the classifier is float32.

    Raises:
        DataError: the file is missing, or its checksum is wrong.
    """
    content = file.path.read_bytes() if file.path.is_file() else b""
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != file.sha256:
        problem = "is missing"
        if content:
            problem = f"has the SHA-256 {checksum}, but should have {file.sha256}"
        raise DataError(
            f"feature network {file.version}: {file.path} {problem}; install genzoo again."
        )
    # The meta device draws no initial weights, so the caller's random state does not change.
    with torch.device("meta"):
        classifier = Classifier(file.shape, file.dim).float()
    # Copying converts float16 to float32.
    classifier.to_empty(device="cpu").load_state_dict(load(content))
    return classifier.requires_grad_(requires_grad=False).eval()
