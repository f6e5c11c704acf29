"""Published sanity checks of metrics that compare samples with held-out examples.

No metric passes all of them. Each one declares what it passes, in `Metric.passes`, and the
conformance suite verifies this declaration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

import torch
from torch import Tensor

from genzoo.contract import Dataset, Metric
from genzoo.metrics.evaluate import measure
from genzoo.metrics.evidence import Evidence
from genzoo.metrics.samples import Samples

__all__ = ["SANITY", "passed_checks"]

_N, _DIM, _REPEATS = 240, 4, 2
_APART = 10.0
"""The distance of two modes in standard deviations."""
_OUTLIER = 50.0
"""Each coordinate of an outlier, in standard deviations."""
_COPIES = 10
"""The number of copies of each repeated sample."""
_WORSE = 0.1
"""The smallest change that counts as worse, relative to the scale of a quantity."""
_FARTHER = 0.02
"""The same for a shift, which a kernel with a high power weakens."""
_LITTLE = 0.25
"""The largest change that an outlier may cause, on the same scale."""

SANITY: Mapping[str, str] = MappingProxyType(
    {
        "identical": "the held-out examples themselves are at least as good as other true samples",
        "mean shift": "the value gets worse with the shift of all samples",
        "mode drop": "samples of one of two modes are worse than samples of both",
        "mode invention": "samples with an additional mode are worse",
        "repeated samples": "samples that are repeated 10 times are worse than different ones",
        "outlier in data": "a single held-out outlier changes good and bad values little",
        "outlier in samples": "a single outlier among samples changes good and bad values little",
    }
)
"""Sanity check -> the promise of a quantity that passes it.

The checks are those of All Current Generative Fidelity and Diversity Metrics are Flawed, Ossi Räisä
et al., 2025, https://arxiv.org/abs/2505.22450, in a small form: two repetitions with 240 vectors of
4 normal coordinates. The scale of a quantity is its change by a shift of 2 standard deviations. A
change counts as worse from 10 % of the scale (2 % for the shift), and as little up to 25 %.
"""


def passed_checks(metric: Metric) -> dict[str, tuple[str, ...]]:
    """Return the sanity checks that each quantity of a metric passes.

    Quantities without a better direction are left out.

    Arguments:
        metric: a metric of samples that supports vectors.

    Returns:
        Quantity -> names of `SANITY`, in that order.

    Example:
        >>> from genzoo import build
        >>> passed_checks(build("frechet", "metrics"))["distance"]
        ('identical', 'mean shift', 'mode drop', 'mode invention')
    """
    passed: dict[str, list[str]] = {}
    for seed in range(_REPEATS):
        values = {name: _badness(metric, *sets) for name, sets in _cases(seed).items()}
        for quantity in values["true"]:
            if all(quantity in case for case in values.values()):
                names = list(_passes({name: case[quantity] for name, case in values.items()}))
                before = passed.setdefault(quantity, names)
                passed[quantity] = [name for name in before if name in names]
    return {quantity: tuple(names) for quantity, names in passed.items()}


def _passes(bad: Mapping[str, float]) -> Iterator[str]:
    """Yield the passed checks, for the badness of each case."""
    # The second term matters for a quantity that does not react to the shift.
    scale = max(abs(bad["shift 2"] - bad["true"]), abs(bad["same"] - bad["true"]))
    if bad["same"] - bad["true"] <= _WORSE * scale:
        yield "identical"
    shifts = bad["shift 1"] - bad["true"], bad["shift 2"] - bad["shift 1"]
    if min(shifts) > _FARTHER * scale:
        yield "mean shift"
    pairs = {
        "mode drop": ("one mode", "both modes"),
        "mode invention": ("invented mode", "true"),
        "repeated samples": ("repeated", "true"),
    }
    for name, (worse, better) in pairs.items():
        if bad[worse] - bad[better] > _WORSE * scale > 0:
            yield name
    for place in ("data", "samples"):
        changes = [
            abs(bad[f"{case}, outlier in {place}"] - bad[case]) for case in ("true", "shift 2")
        ]
        if max(changes) < _LITTLE * scale:
            yield f"outlier in {place}"


def _badness(metric: Metric, train: Tensor, real: Tensor, samples: Tensor) -> dict[str, float]:
    """Return quantity -> value, with the sign for which lower is better."""
    evidence = Evidence(Samples(samples).eval(), Dataset({"x": train}, {"x": real}))
    return {
        row.quantity: -row.value if row.higher_is_better else row.value
        for row in measure(metric, evidence, "sanity")
        if row.higher_is_better is not None
    }


@cache
def _cases(seed: int) -> Mapping[str, tuple[Tensor, Tensor, Tensor]]:
    """Return case -> training rows, held-out rows, and samples."""
    generator = torch.Generator().manual_seed(seed)
    train, real, true, other = torch.randn(4, _N, _DIM, generator=generator)
    far = torch.zeros(_N, _DIM)
    far[::2, 0] = _APART
    outlier = torch.full((1, _DIM), _OUTLIER)

    def with_outlier(x: Tensor) -> Tensor:
        return torch.cat([x[1:], outlier])

    return {
        "true": (train, real, true),
        "same": (train, real, real),
        "shift 1": (train, real, true + 1),
        "shift 2": (train, real, true + 2),
        "both modes": (train + far, real + far, true + far),
        "one mode": (train + far, real + far, true),
        "invented mode": (train, real, true + far),
        "repeated": (train, real, other[: _N // _COPIES].repeat(_COPIES, 1)),
        "true, outlier in data": (train, with_outlier(real), true),
        "shift 2, outlier in data": (train, with_outlier(real), true + 2),
        "true, outlier in samples": (train, real, with_outlier(true)),
        "shift 2, outlier in samples": (train, real, with_outlier(true + 2)),
    }
