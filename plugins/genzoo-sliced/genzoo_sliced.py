"""Sliced Wasserstein distances for genzoo: a divergence, and the autoencoder that it makes."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo import distributed
from genzoo.blocks.precision import at_least_single
from genzoo.contract import Part, Positive, PositiveFloat, Prior, SampleDivergence
from genzoo.models.wae import WAEMMD


class Sliced(SampleDivergence):
    r"""The mean of \( W_2^2(\theta \cdot x, \theta \cdot y) \) over directions \( \theta \), uniform on the sphere."""

    def __init__(self, slices: Positive = 50) -> None:
        super().__init__()
        self.slices = slices

    def forward(self, x: Tensor, y: Tensor | Prior) -> Tensor:
        """A scalar for samples `(n, dim)` of equal size; a prior makes as many draws as there are codes."""
        x, y = (
            distributed.gather(at_least_single(x)),
            distributed.gather(at_least_single(y)) if isinstance(y, Tensor) else y,
        )
        with (
            distributed.replicated()
        ):  # every rank draws the same for the global batch, and keeps it all
            y = y if isinstance(y, Tensor) else at_least_single(y.sample(x.shape[0]))
            directions = torch.nn.functional.normalize(
                distributed.noise(self.slices, x.shape[1], like=x)
            )
        return (
            ((x @ directions.T).sort(dim=0).values - (y @ directions.T).sort(dim=0).values)
            .square()
            .mean()
        )


class SWAE(WAEMMD):
    """A Wasserstein autoencoder whose codes are held to the prior by a sliced distance; settings as of `wae-mmd`."""

    expected_failures: ClassVar[
        Mapping[str, str]
    ] = {}  # an MMD needs pairs, a sliced distance does not

    def __init__(
        self, weight: PositiveFloat = 10.0, divergence: Part = "sliced", **settings: Any
    ) -> None:
        super().__init__(weight=weight, divergence=divergence, **settings)

    def loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        report = dict(super().loss(batch))
        return {"sliced": report.pop("mmd"), **report}
