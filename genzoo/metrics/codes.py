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
    Prior,
    SampleDivergence,
    has_capability,
)
from genzoo.errors import SettingError
from genzoo.metrics.one_input import OneInput
from genzoo.registry.build import build

__all__ = ["Codes"]


class Codes(OneInput):
    r"""A comparison of the aggregate posterior with the prior, by samples of equal size.

    The aggregate posterior is \( q_Z = E_x\, q(z \mid x) \). A random encoder contributes one
    sample per example, because its means alone are narrower than \( q_Z \).

    Arguments:
        divergence: a part of kind `"divergences"` that compares samples with a prior.

    Returns:
        `squared_norm`: \( E \| z \|^2 / d_z \), which is 1 under the standard normal prior;
        `mean_deviation`: \( \| E z - E z' \| \) with \( z' \) from the prior;
        `covariance_deviation`: the Frobenius norm of \( \mathrm{Cov}\, z - \mathrm{Cov}\, z' \);
        `divergence`: the divergence between codes and prior, by default the squared MMD. It is left
            out if the prior does not define `variance`, which sets the MMD's bandwidth.

    Example:
        >>> from genzoo import build, evaluate
        >>> wae = build("wae-mmd", shape=(1, 8, 8))
        >>> [row.quantity for row in evaluate(wae, "digits", "codes", n=50)]
        ['squared_norm', 'mean_deviation', 'covariance_deviation', 'divergence']
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
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        model: Any = evidence.model

        def codes_of(x: Tensor) -> Tensor:
            if has_capability(model, "posterior"):
                return model.posterior(x).sample()
            return model.encode(x)

        z = torch.cat([codes_of(x) for x in evidence.examples("test")])
        prior_samples = model.prior.sample(len(z))

        def measured(
            quantity: str, value: Tensor, *, higher_is_better: bool | None = None
        ) -> Measurement:
            return Measurement(
                quantity=quantity, value=value.item(), n=len(z), higher_is_better=higher_is_better
            )

        yield measured("squared_norm", z.square().mean())
        mean_deviation = (z.mean(0) - prior_samples.mean(0)).norm()
        yield measured("mean_deviation", mean_deviation, higher_is_better=False)
        covariance_deviation = (_covariance(z) - _covariance(prior_samples)).norm()
        yield measured("covariance_deviation", covariance_deviation, higher_is_better=False)
        if getattr(type(model.prior), "variance", Prior.variance) is not Prior.variance:
            divergence = self.divergence(z, model.prior)
            yield measured("divergence", divergence, higher_is_better=False)


def _covariance(z: Tensor) -> Tensor:
    return torch.cov(z.T).reshape(z.shape[1], z.shape[1])
