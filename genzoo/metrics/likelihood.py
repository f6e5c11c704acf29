"""Likelihood of held-out data: exact where a model has it, else bounds, each under its own name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import Batch, Metric, Positive, has_capability
from genzoo.metrics.one_input import OneInput


class Likelihood(OneInput):
    r"""Mean log-likelihood in nats an example, and bits a dimension where data are discrete.

    \[ \text{bits per dim} = -\frac{\log p(x)}{D \log 2} + \log_2 L \]

    There are two cases. For a density of dequantised data, \( x = (k + u) / L \) with \( L \) levels and uniform \( u \). For a
    probability of bits or levels, which a model has that says `discrete`; there the second term is absent. Densities of data that
    are not dequantised (bits, 8-bit images as they are) grow without bound: they have no bits, and do not rank by them.

    Arguments:
        samples: importance samples of the bound `log_prob_bound`, where a model has no exact likelihood.
        levels: \( L \) of dequantised data; None where they are not. Of no use for data of zeros and ones, which are not.

    Returns:
        `log_prob` where it is exact, else `elbo` and, where the model has one, `log_prob_bound`; means over examples. With them
        `bits_per_dim`, or `bits_per_dim_bound` (from above) if the likelihood is a bound.

    References:
        A Note on the Evaluation of Generative Models, Theis, van den Oord and Bethge, 2015, https://arxiv.org/abs/1511.01844

    Example:
        >>> from genzoo import build
        >>> vae = build({"name": "vae", "likelihood": "bernoulli"}, shape=(1, 8, 8))
        >>> sorted(Likelihood(samples=5)(vae, [torch.ones(3, 1, 8, 8)]))
        ['bits_per_dim_bound', 'elbo', 'log_prob_bound']
    """

    needs: ClassVar[tuple[str, ...]] = ("log_prob|elbo",)

    def __init__(self, samples: Positive = 100, levels: Positive | None = None) -> None:
        self.samples = samples
        self.levels = levels

    @torch.no_grad()
    def __call__(self, model: Any, batches: Iterable[Batch]) -> Mapping[str, float]:
        exact = has_capability(model, "log_prob")
        totals: dict[str, float] = {}
        rows, binary = 0, True
        for batch in batches:
            x, given = model.unpack(batch)
            rows += model.batch_size(batch)
            binary = binary and bool(((x == 0) | (x == 1)).all())
            for name, nats in self._measure(
                model, x, exact, *(() if given is None else (given,))
            ).items():
                totals[name] = totals.get(name, 0.0) + nats.double().sum().item()
        means = {name: total / rows for name, total in totals.items()}
        discrete = getattr(model, "is_discrete", False)
        # a model that counts bits itself refuses what is not on its levels; of others only bits are known to be
        counts = discrete and (binary or has_capability(model, "bits_per_dim"))
        levels = 1 if counts else None if binary or discrete else self.levels
        if levels:
            best = means["log_prob"] if exact else max(means.values())
            bits = -best / (math.prod(model.shape) * math.log(2)) + math.log2(levels)
            means["bits_per_dim" if exact else "bits_per_dim_bound"] = bits
        return means

    def lacking(self, model: Any) -> list[str]:
        """A model of several inputs will do where all but `x` are what it is given: then the distribution is conditional."""
        conditional = tuple(model.inputs) == ("x", *getattr(model, "given", ()))
        return Metric.lacking(self, model) if conditional else super().lacking(model)

    def _measure(self, model: Any, x: Tensor, exact: bool, *given: Any) -> dict[str, Tensor]:
        if exact:
            return {"log_prob": model.log_prob(x, *given)}
        bounds = {"elbo": model.elbo(x, *given)}
        if has_capability(model, "log_prob_bound"):
            bounds["log_prob_bound"] = model.log_prob_bound(x, *given, samples=self.samples)
        return bounds
