"""The error of reconstructions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.metrics.one_input import OneInput

__all__ = ["Reconstruction"]


class Reconstruction(OneInput):
    r"""The squared error of reconstructions per pixel or coordinate.

    \[ \frac 1D \| x - \hat x \|^2 \]

    Returns:
        `squared_error`, the mean over examples.

    Example:
        >>> from genzoo import build
        >>> sorted(Reconstruction()(build("vae", shape=(1, 8, 8)), [torch.rand(3, 1, 8, 8)]))
        ['squared_error']
    """

    needs: ClassVar[tuple[str, ...]] = ("reconstruct",)

    @torch.no_grad()
    def __call__(self, model: Any, batches: Iterable[Tensor]) -> Mapping[str, float]:
        total, rows = 0.0, 0
        for x in batches:
            total += (x - model.reconstruct(x)).double().square().sum().item()
            rows += model.batch_size(x)
        return {"squared_error": total / (rows * math.prod(model.shape))}
