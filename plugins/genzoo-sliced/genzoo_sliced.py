"""Sliced Wasserstein distances for genzoo: a divergence, and an autoencoder that uses it."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo import distributed
from genzoo.blocks.precision import at_least_single
from genzoo.contract import Batch, Part, Positive, PositiveFloat, Prior, SampleDivergence
from genzoo.models.wae import WAEMMD

__all__ = ["SWAE", "Sliced"]


class Sliced(SampleDivergence):
    r"""The mean of \( W_2^2(\theta \cdot x, \theta \cdot y) \) over directions \( \theta \).

    The directions are uniform on the sphere.
    """

    def __init__(self, slices: Positive = 50) -> None:
        super().__init__()
        self.slices = slices

    def forward(self, x: Tensor, y: Tensor | Prior) -> Tensor:
        """Compare samples `(n, dim)` with the same number of samples, or with a prior."""
        x = distributed.gather(at_least_single(x))
        if isinstance(y, Tensor):
            y = distributed.gather(at_least_single(y))
        # Every rank generates the same noise for the global batch.
        with distributed.replicated():
            if not isinstance(y, Tensor):
                y = at_least_single(y.sample(x.shape[0]))
            noise = distributed.noise(self.slices, x.shape[1], like=x)
        directions = torch.nn.functional.normalize(noise)
        projected_x = (x @ directions.T).sort(dim=0).values
        projected_y = (y @ directions.T).sort(dim=0).values
        return (projected_x - projected_y).square().mean()


class SWAE(WAEMMD):
    """A Wasserstein autoencoder with a sliced distance between latent codes and prior.

    Its settings are those of `wae-mmd`.
    """

    # An MMD needs at least two latent codes; a sliced distance does not.
    expected_failures: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self, weight: PositiveFloat = 10.0, divergence: Part = "sliced", **settings: Any
    ) -> None:
        super().__init__(weight=weight, divergence=divergence, **settings)

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        report = dict(super().loss(batch))
        return {"sliced": report.pop("mmd"), **report}
