"""How far reconstructions are from what they reconstruct."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.metrics.one_input import OneInput


class Reconstruction(OneInput):
    r"""Squared error of reconstructions, \( \frac 1D \| x - \hat x \|^2 \): a pixel's, or a coordinate's.

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
