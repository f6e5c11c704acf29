"""The difference between the latent codes of the data and the prior."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import (
    Evidence,
    Measurement,
    Part,
    Positive,
    Prior,
    SampleDivergence,
    has_capability,
)
from genzoo.divergences.kernels import imq
from genzoo.divergences.mmd import MMD
from genzoo.divergences.transport import Wasserstein
from genzoo.errors import SettingError
from genzoo.metrics.feature_metric import evenly_spaced
from genzoo.metrics.figures import codes_figure
from genzoo.metrics.kernel import permutation_p_value
from genzoo.metrics.one_input import OneInput
from genzoo.registry.build import build

__all__ = ["Codes"]

_ACTIVE = 0.01
"""The variance of the mean code above which a latent coordinate is active."""


class Codes(OneInput):
    r"""A comparison of the aggregate posterior with the prior, by samples of equal size.

    The aggregate posterior is \( q_Z = E_x\, q(z \mid x) \). With labels, it is that of all classes
    together. A random encoder contributes one sample per example, because its means alone are
    narrower than \( q_Z \). The floors are the values for another sample from the prior in place
    of the codes. The figure `latent-codes` of the report shows codes by class and the prior.

    Arguments:
        divergence: a part of kind `"divergences"` that compares samples with a prior.
        limit: the largest number of codes of the p-value and of `w2`. Their cost grows with its
            square and its cube.

    Returns:
        `squared_norm`: \( E \| z \|^2 / d_z \), which is 1 under the standard normal prior;
        `mean_deviation`: \( \| E z - E z' \| \) with \( z' \) from the prior;
        `covariance_deviation`: the Frobenius norm of \( \mathrm{Cov}\, z - \mathrm{Cov}\, z' \);
        `w2`: the exact Wasserstein distance of order 2. In several dimensions, its bias is large;
            compare it with its floor;
        `p_value`: the p-value of no difference, by a permutation test with the squared MMD of the
            kernel of `MMD`;
        `active_units`: the number of coordinates with \( \mathrm{Var}_x\, E[z_i \mid x] > 0.01 \).
            The others say almost nothing about x;
        `divergence`: the divergence between codes and prior, by default the squared MMD. It is left
            out if the prior does not define `variance`, which sets the MMD's bandwidth.

    References:
        A Kernel Two-Sample Test, Arthur Gretton et al., 2012,
            https://jmlr.org/papers/v13/gretton12a.html
        Importance Weighted Autoencoders, Burda, Grosse and Salakhutdinov, 2015,
            https://arxiv.org/abs/1509.00519 (section 5.2: active units)

    Example:
        >>> from genzoo import build, evaluate
        >>> wae = build("wae-mmd", latent_dim=2, shape=(1, 8, 8))
        >>> codes = evaluate(wae, "digits", "codes", n=100)
        >>> [row.quantity for row in codes][:4]
        ['squared_norm', 'mean_deviation', 'covariance_deviation', 'w2']
        >>> codes["codes", "p_value"].value  # no training yet
        0.002
    """

    needs: ClassVar[tuple[str, ...]] = ("encode", "prior")

    def __init__(self, divergence: Part = "mmd", limit: Positive = 1000) -> None:
        self.divergence = build(divergence, "divergences")
        self.limit = limit
        if not isinstance(self.divergence, SampleDivergence):
            raise SettingError(
                f"codes: divergence = {type(self.divergence).__name__} does not compare samples; "
                'use a SampleDivergence, such as "mmd".'
            )

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        model: Any = evidence.model
        codes, means = [], []
        random = has_capability(model, "posterior")
        for x, condition in evidence.conditioned():
            means.append(model.encode(x, **condition))
            codes.append(model.posterior(x, **condition).sample() if random else means[-1])
        z = torch.cat(codes)
        figure = codes_figure(evidence, z)
        if figure is not None:
            evidence.figures.setdefault("latent-codes", figure)
        reference, other = model.prior.sample(len(z)), model.prior.sample(len(z))
        floors = _moments(other, reference)
        for name, value in _moments(z, reference).items():
            yield Measurement(
                quantity=name,
                value=value,
                floor=floors[name],
                n=len(z),
                higher_is_better=None if name == "squared_norm" else False,
            )
        rows = evenly_spaced(len(z), self.limit)
        z_few, reference_few, other_few = (t[rows] for t in (z, reference, other))
        distance = Wasserstein(order=2)
        yield Measurement(
            quantity="w2",
            value=distance(z_few, reference_few).item(),
            floor=distance(other_few, reference_few).item(),
            n=len(rows),
            estimator="exact",
            higher_is_better=False,
        )
        if len(rows) > 1:
            yield Measurement(
                quantity="p_value",
                value=_p_value(z_few, reference_few, evidence.seed),
                n=len(rows),
                estimator="permutation test",
            )
        active = (torch.cat(means).double().var(dim=0, correction=0) > _ACTIVE).sum()
        yield Measurement(quantity="active_units", value=active.item(), n=len(z))
        if getattr(type(model.prior), "variance", Prior.variance) is not Prior.variance:
            yield Measurement(
                quantity="divergence",
                value=self.divergence(z, model.prior).item(),
                floor=self.divergence(other, model.prior).item(),
                n=len(z),
                higher_is_better=False,
            )


def _moments(z: Tensor, reference: Tensor) -> dict[str, float]:
    """Return the mean square of codes, and the deviations of their mean and covariance."""
    deviation = _covariance(z) - _covariance(reference)
    return {
        "squared_norm": z.square().mean().item(),
        "mean_deviation": (z.mean(0) - reference.mean(0)).norm().item(),
        "covariance_deviation": deviation.norm().item(),
    }


def _covariance(z: Tensor) -> Tensor:
    return torch.cov(z.T).reshape(z.shape[1], z.shape[1])


def _p_value(x: Tensor, y: Tensor, seed: int) -> float:
    """Return the p-value of equal distributions, with the default kernel of `MMD`."""
    both = torch.cat([x, y]).double().cpu()
    # The bandwidth of both samples together does not depend on their assignment.
    unit = 2 * both.var(dim=0).sum().clamp(min=torch.finfo(both.dtype).tiny)
    kernel, _ = imq(torch.cdist(both, both).square() / unit, MMD().scales)
    return permutation_p_value([(slice(None), kernel)], kernel.diagonal(), len(x), seed=seed)
