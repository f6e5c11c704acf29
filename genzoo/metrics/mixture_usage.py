"""The use of the components of a mixture by latent codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import Evidence, Measurement, has_capability
from genzoo.metrics.one_input import OneInput

__all__ = ["MixtureUsage"]

_PERMUTATIONS = 20
"""The number of permutations of the labels in the floor of the mutual information."""


class MixtureUsage(OneInput):
    r"""The number of used components of a mixture of latent codes, and their match with labels.

    The mixture is the fitted sampler of an autoencoder, or else its prior. The share of component k
    is the mean responsibility \( \bar p_k = E_x\, p(k \mid z) \) over the codes of held-out
    examples. With labels, each code belongs to its most probable component.

    Arguments:
        labels: the column of integer labels. Without it, only the perplexity is measured.

    Returns:
        `perplexity`: \( \exp \big( -\sum_k \bar p_k \log \bar p_k \big) \), the effective number of
            used components;
        `nmi`: the mutual information of component and label, divided by the mean of their
            entropies. It is 1 if each determines the other. This estimate is above 0 even if they
            are independent, most of all for few examples. Its floor is therefore its mean for
            permuted labels;
        `accuracy`: the fraction of held-out examples whose component has their label. The label of
            a component is the most frequent one of its training examples. The floor is the
            accuracy of the most frequent training label for all examples.

    Example:
        >>> from genzoo import build, evaluate
        >>> prior = {"name": "mog", "components": 5}
        >>> vae = build("vae", prior=prior, shape=(1, 8, 8))
        >>> [row.quantity for row in evaluate(vae, "digits", "mixture-usage", n=100)]
        ['perplexity', 'nmi', 'accuracy']
    """

    needs: ClassVar[tuple[str, ...]] = ("encode", "prior")

    def __init__(self, labels: str = "y") -> None:
        self.labels = labels

    def lacking(self, model: Any) -> list[str]:
        """Return the missing requirements; the prior or the sampler is a mixture."""
        lacking = super().lacking(model)
        if not lacking and not hasattr(_mixture(model), "component"):
            lacking.append("a prior or sampler that is a mixture")
        return lacking

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        from sklearn.metrics import normalized_mutual_info_score

        model: Any = evidence.model
        shares = _responsibilities(model, evidence.conditioned())
        usage, n = shares.mean(dim=0), len(shares)
        entropy = -torch.special.xlogy(usage, usage).sum()
        yield Measurement(quantity="perplexity", value=entropy.exp().item(), n=n)
        labels, known = (evidence.labels(self.labels, split) for split in ("test", "train"))
        if labels is None or known is None:
            return
        component = shares.argmax(dim=1)
        generator = torch.Generator().manual_seed(evidence.seed)
        orders = [torch.arange(n)]
        orders += [torch.randperm(n, generator=generator) for _ in range(_PERMUTATIONS)]
        value, *chance = (
            float(normalized_mutual_info_score(labels[order].numpy(), component.numpy()))
            for order in orders
        )
        yield Measurement(
            quantity="nmi",
            value=value,
            floor=sum(chance) / len(chance),
            n=n,
            estimator="plug-in",
            higher_is_better=True,
        )
        train = _responsibilities(model, evidence.conditioned("train")).argmax(dim=1)
        label_of = _majority(train, known, shares.shape[1])
        row = Measurement.from_examples(
            "accuracy", label_of[component] == labels, higher_is_better=True
        )
        majority = known.mode().values
        yield replace(row, floor=(labels == majority).double().mean().item())


def _mixture(model: Any) -> Any:
    return getattr(model, "latent_distribution", model.prior)


def _responsibilities(model: Any, examples: Iterator[tuple[Any, dict[str, Any]]]) -> Tensor:
    """Return p(k | z) for one code of each example, float64 `(n, K)`, on the CPU."""
    parts = []
    random = has_capability(model, "posterior")
    for x, condition in examples:
        z = model.posterior(x, **condition).sample() if random else model.encode(x, **condition)
        parts.append(_mixture(model).component(z).double().cpu())
    return torch.cat(parts)


def _majority(component: Tensor, labels: Tensor, components: int) -> Tensor:
    """Return the most frequent label of each component; an empty one has the overall one."""
    values, index = labels.unique(return_inverse=True)
    counts = torch.zeros(components, len(values))
    counts.index_put_((component, index), torch.ones(len(labels)), accumulate=True)
    # The small overall counts decide only for an empty component, and between equal counts.
    counts += counts.sum(dim=0) / (2 * len(labels) + 1)
    return values[counts.argmax(dim=1)]
