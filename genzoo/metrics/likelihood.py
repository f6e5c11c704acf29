"""The likelihood of held-out data: exact if the model has it, else lower bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import (
    Evidence,
    Measurement,
    Positive,
    has_capability,
)
from genzoo.metrics.one_input import OneInput

__all__ = ["Likelihood", "Values", "basis_of"]


_FIRST = 4096
"""The number of values that are searched for repetitions.

Repetitions among more values say little: float32 has only 65,536 values from 255/256 to 1, so
many dequantized white pixels are equal.
"""


class Values:
    """Facts about the values of examples. They do not depend on the batch size."""

    def __init__(self) -> None:
        self.are_bits = True
        """True if all values are zeros and ones."""
        self._first = torch.empty(0)

    def read(self, x: Tensor) -> None:
        """Read a batch."""
        self.are_bits = self.are_bits and bool(((x == 0) | (x == 1)).all())
        more = x.flatten()[: _FIRST - self._first.numel()]
        self._first = torch.cat([self._first, more.detach().cpu()])

    @property
    def repeat(self) -> bool:
        """True if most of the first 4,096 values are equal to others, as levels are."""
        return 2 * self._first.unique().numel() < self._first.numel()


def basis_of(model: Any, values: Values, levels: int | None = None) -> tuple[str, bool]:
    """Return the meaning of a likelihood in words, and True if it ranks models.

    Arguments:
        model: the model.
        values: facts about the values of its data.
        levels: the number of levels of dequantized data, if it is known.
    """
    if getattr(model, "is_discrete", False):
        if values.are_bits:
            return "probability of bits", True
        if has_capability(model, "bits_per_dim"):
            return "probability of levels", True
        return "cross-entropy of gray values, which is not a likelihood", False
    if values.repeat:
        return "density of data that are not dequantized, which has no upper limit", False
    return f"density, dequantized {levels} levels" if levels else "density", True


class Likelihood(OneInput):
    r"""The mean log-likelihood in nats per example, and bits per dimension for discrete data.

    \[ \text{bits per dim} = -\frac{\log p(x)}{D \log 2} + \log_2 L \]

    Bits exist in two cases. The first is a density of dequantized data, \( x = (k + u) / L \) with
    \( L \) levels and uniform \( u \). The second is a probability of bits or levels, from a model
    with `is_discrete`; then the second term is absent. Densities of data that are not dequantized
    (bits, or 8-bit images as they are) are unbounded, so they have no bits and do not rank models.
    Data count as not dequantized if most of the first 4,096 values are equal to others. The field
    `basis` of each measurement says which case holds.

    Arguments:
        samples: the number of importance samples of `log_prob_bound`, for models without an exact
            likelihood.
        limit: the number of examples after which `log_prob_bound` stops, at the end of a batch. It
            decodes `samples` latent vectors for each example.
        levels: \( L \) for dequantized data, else None. It is ignored for data that are not
            dequantized.

    Returns:
        `log_prob` if it is exact, else `elbo`, and `log_prob_bound` if the model has it; all are
        means over examples, with their standard errors. In addition `bits_per_dim`, or its upper
        bound `bits_per_dim_bound` if the likelihood is a bound.

    References:
        A Note on the Evaluation of Generative Models, Theis, van den Oord and Bethge, 2015,
        https://arxiv.org/abs/1511.01844

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build({"name": "vae", "likelihood": "bernoulli"}, shape=(1, 8, 8))
        >>> data = {"name": "digits", "binarize": "threshold"}
        >>> rows = evaluate(vae, data, Likelihood(samples=5), n=50)
        >>> [row.quantity for row in rows]
        ['elbo', 'log_prob_bound', 'bits_per_dim_bound']
    """

    needs: ClassVar[tuple[str, ...]] = ("log_prob|elbo",)

    def __init__(
        self, samples: Positive = 100, levels: Positive | None = None, *, limit: Positive = 1000
    ) -> None:
        self.samples = samples
        self.limit = limit
        self.levels = levels

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        model: Any = evidence.model
        exact = has_capability(model, "log_prob")
        parts: dict[str, list[Tensor]] = {}
        values = Values()
        for x, condition in evidence.conditioned():
            values.read(x)
            nats = model.log_prob(x, **condition) if exact else model.elbo(x, **condition)
            parts.setdefault("log_prob" if exact else "elbo", []).append(nats.double().cpu())
            measured = sum(map(len, parts.get("log_prob_bound", [])))
            has_bound = not exact and has_capability(model, "log_prob_bound")
            if has_bound and measured < self.limit:
                nats = model.log_prob_bound(x, samples=self.samples, **condition)
                parts.setdefault("log_prob_bound", []).append(nats.double().cpu())
        nats_of = {name: torch.cat(nats) for name, nats in parts.items()}
        basis, ranks = basis_of(model, values, self.levels)
        for name, nats in nats_of.items():
            row = Measurement.from_examples(
                name, nats, higher_is_better=True if ranks else None, basis=basis
            )
            if name == "log_prob_bound":
                row = replace(row, estimator=f"{self.samples} importance samples")
            yield row
        levels = self._bits(model, values)
        if levels:
            best = max(nats_of, key=lambda name: nats_of[name].mean().item())
            bits = -nats_of[best] / (math.prod(model.shape) * math.log(2)) + math.log2(levels)
            name = "bits_per_dim" if exact else "bits_per_dim_bound"
            row = Measurement.from_examples(name, bits, higher_is_better=False, basis=basis)
            if best == "log_prob_bound":
                row = replace(row, estimator=f"{self.samples} importance samples")
            yield row

    def _bits(self, model: Any, values: Values) -> int | None:
        """Return the number of levels that the bits count, or None if there are no bits."""
        if not getattr(model, "is_discrete", False):
            return None if values.are_bits or values.repeat else self.levels
        # A model with bits_per_dim rejects data that are not on its levels. Other discrete models
        # are only known to be right for zeros and ones.
        return 1 if values.are_bits or has_capability(model, "bits_per_dim") else None
