"""A feature network that learns from the training examples of an evaluation."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.contract import Count, FeatureNetwork, Positive, Shape, is_image
from genzoo.errors import DataError, SettingError
from genzoo.files import local_path, write_atomic
from genzoo.metrics.networks.fixed import draw_weights
from genzoo.runs.modes import standard_modes

__all__ = ["SelfTrained"]

_NAME = "self-trained-v1"
_MOST_ROWS = 10_000
_MOST_NUMBERS = 2**26
"""The largest number of pixels of all training examples."""
_BATCH_SIZE = 64
_LEARNING_RATE = 2e-3


class SelfTrained(FeatureNetwork):
    """The bottleneck of a small convolutional autoencoder that is trained on your training split.

    It suits images that no other network was trained on. Convolutions of stride 2, each followed by
    a ReLU, halve the image until its shorter side has at most 4 pixels. A linear layer gives the
    features. In training, a mirrored decoder predicts the image from them, with the binary cross
    entropy as the loss. The evaluation trains it before the first features, on at most 10,000
    training examples, which takes about half a minute for 28x28 pixels on one core of a CPU.

    The version contains the seed and the first digits of the SHA-256 of the weights. Equal versions
    have equal features. Other machines may round differently, so the same settings may give other
    digits there: keep the network in a file to use it again.

    Arguments:
        shape: the shape of one image, `(C, H, W)`.
        dim: the number of features.
        seed: the seed of the first weights and of the batches.
        steps: the number of training steps, with batches of 64.
        file: a `.safetensors` file. If it exists, the network is read from it instead of trained,
            and checked against the settings and the examples. Otherwise, it is written. ~ is the
            home folder.

    Raises:
        SettingError: the shape is not the shape of an image.

    Example:
        >>> import genzoo
        >>> network = {"name": "self-trained", "steps": 10}
        >>> metric = {"name": "frechet", "network": network}
        >>> evaluation = genzoo.evaluate(torch.rand(100, 8, 8), "digits", metric)
        >>> evaluation["frechet", "distance"].network
        'self-trained-v1 (seed 0, ...)'
    """

    def __init__(
        self,
        shape: Shape,
        dim: Count = 64,
        seed: int = 0,
        steps: Positive = 1000,
        file: str | None = None,
    ) -> None:
        if not is_image(shape):
            raise SettingError(
                f"self-trained reads images of shape (C, H, W), not examples of shape "
                f'{tuple(shape)}; use "pixels".'
            )
        super().__init__(shape, dim)
        self.version = f"{_NAME} (untrained)"
        self.seed, self.steps, self.file = seed, steps, file
        self.training_rows = max(1, min(_MOST_ROWS, _MOST_NUMBERS // math.prod(shape)))
        # The meta device draws no initial weights, so the caller's random state does not change.
        with torch.device("meta"):
            self.encoder = _Encoder(self.shape, dim).float()
        draw_weights(self.encoder, seed)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(2 * x - 1)

    def fit(self, x: Tensor) -> str:
        """Train the network, or read it from the file.

        Raises:
            DataError: the file is damaged, or holds a network of other settings or examples.
        """
        if not self.training_rows:
            return ""
        self.to(x.device)
        facts = {
            "network": _NAME,
            "shape": list(self.shape),
            "dim": self.dim,
            "seed": self.seed,
            "steps": self.steps,
            "examples": hashlib.sha256(x.float().cpu().numpy().tobytes()).hexdigest(),
        }
        path = None if self.file is None else local_path(self.file, "self-trained: file")
        if path is not None and path.exists():
            seconds = self._read(path, facts)
        else:
            begin = time.perf_counter()
            with standard_modes(x.device):
                self._train(x.float())
            seconds = time.perf_counter() - begin
        weights = {name: z.cpu() for name, z in self.encoder.state_dict().items()}
        if path is not None and not path.exists():
            text = json.dumps({**facts, "seconds": seconds})
            write_atomic(path, lambda file: save_file(weights, file, {"genzoo": text}))
        content = b"".join(z.numpy().tobytes() for z in weights.values())
        digits = hashlib.sha256(content).hexdigest()[:8]
        self.version = f"{_NAME} (seed {self.seed}, {digits})"
        self.training_rows = 0
        return (
            f"{self.version} was trained in {self.steps:,} steps on {len(x):,} training examples, "
            f"which took {seconds:.1f} s."
        )

    def _train(self, x: Tensor) -> None:
        """Minimize the loss of the autoencoder."""
        with torch.device("meta"):
            decoder = _Decoder(self.shape, self.dim)
        draw_weights(decoder, self.seed + 1)
        layers = nn.ModuleList([self.encoder, decoder]).to(x.device).requires_grad_()
        optimizer = torch.optim.Adam(layers.parameters(), _LEARNING_RATE)
        generator = torch.Generator().manual_seed(self.seed % 2**63)
        for _ in range(self.steps):
            rows = torch.randint(len(x), (_BATCH_SIZE,), generator=generator)
            batch = x[rows.to(x.device)]
            loss = F.binary_cross_entropy_with_logits(decoder(self(batch)), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.encoder.requires_grad_(requires_grad=False)

    def _read(self, path: Path, facts: dict[str, Any]) -> float:
        """Read the weights from the file, and return the seconds that they were trained for.

        Raises:
            DataError: the file is damaged, or holds another network.
        """
        hint = "remove it, or name another file."
        try:
            with safe_open(path, "pt") as stored:
                known = json.loads((stored.metadata() or {}).get("genzoo", "{}"))
                weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise DataError(
                f"self-trained: {self.file} cannot be read as a network ({error}); {hint}"
            ) from error
        others = [name for name, value in facts.items() if known.get(name) != value]
        if others:
            raise DataError(
                f"self-trained: {self.file} holds a network of other {', '.join(others)}; {hint}"
            )
        self.encoder.load_state_dict(weights)
        return float(known["seconds"])


def _sizes(shape: Shape) -> list[tuple[int, int, int]]:
    """Return the shape of the image after each convolution, with that of the image first."""
    _, height, width = shape
    sizes = [tuple(shape)]
    for level in range(max(1, math.ceil(math.log2(min(height, width) / 4)))):
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((min(64, 16 * 2**level), height, width))
    return sizes  # type: ignore[return-value]


class _Encoder(nn.Sequential):
    """Convolutions of stride 2, and a linear layer."""

    def __init__(self, shape: Shape, dim: int) -> None:
        sizes = _sizes(shape)
        layers: list[nn.Module] = []
        for (inputs, *_), (outputs, *_) in pairwise(sizes):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
        super().__init__(*layers, nn.Flatten(), nn.Linear(math.prod(sizes[-1]), dim))


class _Decoder(nn.Sequential):
    """A linear layer, and transposed convolutions that double the image."""

    def __init__(self, shape: Shape, dim: int) -> None:
        sizes = _sizes(shape)[::-1]
        layers: list[nn.Module] = [nn.Linear(dim, math.prod(sizes[0])), nn.Unflatten(1, sizes[0])]
        for (inputs, *_), (outputs, *size) in pairwise(sizes):
            layers += [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 2, stride=2), _Crop(size)]
        super().__init__(*layers)


class _Crop(nn.Module):
    """The upper left part of images, because odd sizes are rounded up before they are doubled."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.height, self.width = size

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : self.height, : self.width]
