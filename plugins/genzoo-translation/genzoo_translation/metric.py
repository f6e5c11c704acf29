"""A metric that compares translations with the true images, if they are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import Metric
from genzoo.errors import DataError

__all__ = ["Translation"]


class Translation(Metric):
    r"""The errors of translations of x, compared with the true images t.

    \[ \tfrac 1D \| g(x) - t \|_1 \quad \text{and} \quad \tfrac 1D \| g(x) - t \|_2^2 \]

    The metric also reports the errors of the identity map. For gray true images, it compares the
    gray version of x. The true images come from the held-out column `truth`, which datasets of
    pairs and `mapped` have. A blurred mean of all possible images minimizes the squared error, so
    a sharp translation may have a larger one.

    Returns:
        `absolute_error`, `squared_error`, `absolute_error (identity)`, and
        `squared_error (identity)`: means over pixels in [0, 1].

    Example:
        >>> from types import SimpleNamespace
        >>> inverts = SimpleNamespace(
        ...     translate=lambda x: 1 - x, unpack=lambda batch: (batch["y"], batch["x"])
        ... )
        >>> x = torch.ones(2, 1, 8, 8)
        >>> Translation()(inverts, [{"x": x, "y": 1 - x, "truth": 1 - x}])["absolute_error"]
        0.0
    """

    needs: ClassVar[tuple[str, ...]] = ("translate",)
    reads: ClassVar[tuple[str, ...]] = ("truth",)

    @torch.no_grad()
    def __call__(self, model: Any, batches: Iterable[Mapping[str, Tensor]]) -> Mapping[str, float]:
        """Return the mean errors."""
        totals: defaultdict[str, float] = defaultdict(float)
        pixels = 0
        for batch in batches:
            _, x = model.unpack(batch)
            truth = batch["truth"]
            pixels += truth.numel()
            images = {"": model.translate(x), " (identity)": _in_channels(x, truth.shape[1])}
            for suffix, image in images.items():
                if image is None:
                    continue
                error = (image - truth).double()
                totals[f"absolute_error{suffix}"] += error.abs().sum().item()
                totals[f"squared_error{suffix}"] += error.square().sum().item()
        if not pixels:
            raise DataError("translation: the dataset does not have held-out images.")
        return {name: total / pixels for name, total in totals.items()}


def _in_channels(x: Tensor, channels: int) -> Tensor | None:
    """Return images with another number of channels, or None if neither number is 1.

    A gray channel is used for each color, and colors are averaged to gray.
    """
    if channels == 1:
        return x.mean(dim=1, keepdim=True)
    return x if x.shape[1] in (1, channels) else None
