"""The error of reconstructions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch

from genzoo.contract import Evidence, Measurement
from genzoo.metrics.figures import reconstructions_figure
from genzoo.metrics.one_input import OneInput

__all__ = ["Reconstruction"]


class Reconstruction(OneInput):
    r"""The squared error of reconstructions per pixel or coordinate.

    \[ \frac 1D \| x - \hat x \|^2 \]

    The figure `reconstructions` of the report shows held-out images next to their reconstructions.

    Returns:
        `squared_error`, the mean over examples, with its standard error.

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(1, 8, 8))
        >>> [row.quantity for row in evaluate(vae, "digits", "reconstruction", n=50)]
        ['squared_error']
    """

    needs: ClassVar[tuple[str, ...]] = ("reconstruct",)

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        reconstruct = evidence.model.reconstruct
        errors = [
            (x - reconstruct(x, **condition)).double().square().flatten(1).mean(dim=1).cpu()
            for x, condition in evidence.conditioned()
        ]
        figure = reconstructions_figure(evidence)
        if figure is not None:
            evidence.figures.setdefault("reconstructions", figure)
        yield Measurement.from_examples("squared_error", torch.cat(errors), higher_is_better=False)
