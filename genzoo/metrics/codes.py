"""How far the codes of data, all together, are from the prior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import Part, Prior, SampleDivergence, has_capability
from genzoo.errors import SettingError
from genzoo.metrics.one_input import OneInput
from genzoo.registry.build import build


class Codes(OneInput):
    r"""The aggregate posterior \( q_Z = E_x\, q(z \mid x) \) against the prior \( p_Z \), as samples of equal size.

    A random encoder is represented by one draw for each example: its means alone are narrower than \( q_Z \).

    Arguments:
        divergence: a part of kind `"divergences"` between samples and a prior.

    Returns:
        `squared_norm`: \( E \| z \|^2 / d_z \), which is 1 under the standard normal prior;
        `mean_deviation`: \( \| E z - E z' \| \) with \( z' \) from the prior;
        `covariance_deviation`: the Frobenius norm of \( \mathrm{Cov}\, z - \mathrm{Cov}\, z' \);
        `divergence`: from the codes to the prior, the squared MMD by default; left out where the prior states no variance, which
            sets the MMD's bandwidth.

    Example:
        >>> from genzoo import build
        >>> sorted(Codes()(build("wae-mmd", shape=(1, 8, 8)), [torch.rand(9, 1, 8, 8)]))
        ['covariance_deviation', 'divergence', 'mean_deviation', 'squared_norm']
    """

    needs: ClassVar[tuple[str, ...]] = ("encode", "prior")

    def __init__(self, divergence: Part = "mmd") -> None:
        self.divergence = build(divergence, "divergences")
        if not isinstance(self.divergence, SampleDivergence):
            raise SettingError(
                f"codes: divergence = {type(self.divergence).__name__} does not compare samples; "
                'use a SampleDivergence, such as "mmd".'
            )

    @torch.no_grad()
    def __call__(self, model: Any, batches: Iterable[Tensor]) -> Mapping[str, float]:
        def code(x: Tensor) -> Tensor:
            return (
                model.posterior(x).sample()
                if has_capability(model, "posterior")
                else model.encode(x)
            )

        z = torch.cat([code(x) for x in batches])
        drawn = model.prior.sample(len(z))
        values = {
            "squared_norm": z.square().mean().item(),
            "mean_deviation": (z.mean(0) - drawn.mean(0)).norm().item(),
            "covariance_deviation": (_covariance(z) - _covariance(drawn)).norm().item(),
        }
        if getattr(type(model.prior), "variance", Prior.variance) is not Prior.variance:
            values["divergence"] = self.divergence(z, model.prior).item()
        return values


def _covariance(z: Tensor) -> Tensor:
    return torch.cov(z.T).reshape(z.shape[1], z.shape[1])
