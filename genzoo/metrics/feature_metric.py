"""The base class of metrics that compare the features of samples and held-out examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from genzoo.contract import Evidence, Measurement, Part, Positive, Source
from genzoo.errors import DataError
from genzoo.metrics.estimates import Estimate
from genzoo.metrics.one_output import OneOutput

__all__ = ["FeatureMetric", "evenly_spaced"]

_NAMES: dict[Source, str] = {
    "samples": "samples",
    "test": "held-out examples",
    "train": "training examples",
}


class FeatureMetric(OneOutput):
    """A metric of features of samples and of equally many held-out examples.

    Subclasses define `estimates`. The floor of each quantity is its value for held-out examples and
    as many training rows. If there are fewer training rows, it is the value for two halves of the
    held-out examples.

    Arguments:
        network: a feature network: a name, a table, or an instance. None selects the one for the
            model's shape.
        limit: the largest number of rows. More rows are thinned out evenly.
    """

    least: ClassVar[int] = 4
    """The smallest number of held-out examples."""
    estimator: ClassVar[str | None] = None
    higher_is_better: ClassVar[bool] = False

    def __init__(self, network: Part | None = None, limit: Positive = 10_000) -> None:
        self.network, self.limit = network, limit

    def estimates(self, real: Tensor, samples: Tensor, seed: int) -> Mapping[str, Estimate]:
        """Return quantity -> estimate, for features `(n, dim)` of real examples and of samples."""
        raise NotImplementedError

    def floors(self, one: Tensor, other: Tensor, seed: int) -> Mapping[str, float]:
        """Return quantity -> value for real examples and others."""
        return {name: estimate.value for name, estimate in self.estimates(one, other, seed).items()}

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        network = evidence.network(self.network)
        real, samples = (self._rows(evidence, source) for source in ("test", "samples"))
        values = self.estimates(real, samples, evidence.seed)
        train = self._rows(evidence, "train")
        pair = (real, train) if len(train) >= len(real) else _halves(real)
        floors = self.floors(*pair, evidence.seed) if len(pair[0]) >= self.least else {}
        for name, estimate in values.items():
            yield Measurement(
                quantity=name,
                value=estimate.value,
                standard_error=estimate.standard_error,
                floor=floors.get(name),
                n=len(real),
                network=network.version,
                estimator=self.estimator,
                higher_is_better=self.higher_is_better,
            )

    def _rows(self, evidence: Evidence, source: Source) -> Tensor:
        """Return the features of at most `limit` rows, evenly spaced.

        Raises:
            DataError: there are too few held-out examples, or a feature is not finite.
        """
        if evidence.n < self.least:
            raise DataError(
                f"{type(self).__name__} needs at least {self.least} held-out examples and as many "
                f"samples, but there are {evidence.n}."
            )
        features = evidence.features(self.network, source)
        if not features.isfinite().all():
            raise DataError(
                f"Some features of the {_NAMES[source]} are not finite, so {type(self).__name__} "
                "cannot compare them."
            )
        return features[evenly_spaced(len(features), self.limit)]


def evenly_spaced(n: int, limit: int) -> Tensor:
    """Return the indices of at most `limit` of n rows, evenly spaced."""
    size = min(n, limit)
    return torch.arange(size) * n // max(size, 1)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return two sets of equally many rows, every other one."""
    half = len(x) // 2
    return x[: 2 * half : 2], x[1 : 2 * half : 2]
