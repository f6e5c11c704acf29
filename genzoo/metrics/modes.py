"""Which modes of a distribution in the plane a model reaches, and how far its samples are from that distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from genzoo.contract import Positive
from genzoo.data.toy_points import MODES
from genzoo.divergences.transport import Wasserstein
from genzoo.errors import DataError
from genzoo.metrics.one_input import OneInput


class Modes(OneInput):
    r"""Modes, quality and distance of samples in the plane, each beside its floor: what held-out points score in their stead.

    A sample is of high quality within three standard deviations of the nearest mode; of true samples, \( 1 - e^{-9/2} \), or
    0.9889, are. That share alone rewards collapse: a model that makes one point over and over scores 1. Read it with the modes,
    the reverse KL and the distance.

    Arguments:
        samples: how many samples are drawn, \( n \). They are compared with \( n \) held-out points, and the floors are those of
            \( n \) others; where fewer than \( 2n \) are held out, \( n \) is half of what there is.
        distribution: `"8-gaussians"` or `"25-gaussians"`, as in the data set `toy`; None takes the one by which 95 % of the held-out
            points are of high quality, and measures the distance only where there is none.
        least: how many samples of high quality make a mode count as reached.

    Returns:
        `modes`, reached, and `modes_of`, how many \( K \) there are;
        `high_quality`, a share;
        `reverse_kl`: \( \sum_k h_k \log (K h_k) \) in nats, from the shares \( h \) of the modes to the uniform distribution, where every
            sample counts for the mode that is nearest, of high quality or not; log K where all have collapsed on one mode, and
            about (K - 1) / 2n for true samples;
        `w1`: the exact Wasserstein distance, of order 1, between samples and held-out points;
        `high_quality_floor`, `reverse_kl_floor`, `w1_floor`.

    Raises:
        DataError: there are fewer than two held-out points.

    References:
        VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning, Akash Srivastava et al., 2017,
        https://arxiv.org/abs/1705.07761
        PacGAN: The Power of Two Samples in Generative Adversarial Networks, Zinan Lin et al., 2018,
        https://arxiv.org/abs/1712.04086

    Example:
        >>> from genzoo import build
        >>> sorted(Modes()(build("vae", shape=(2,)), [torch.randn(20, 2)]))
        ['w1', 'w1_floor']
    """

    needs: ClassVar[tuple[str, ...]] = ("sample",)

    def __init__(
        self,
        samples: Positive = 2500,
        distribution: Literal["8-gaussians", "25-gaussians"] | None = None,
        least: Positive = 10,
    ) -> None:
        self.samples, self.distribution, self.least = samples, distribution, least

    def lacking(self, model: Any) -> list[str]:
        plane = [] if tuple(model.shape) == (2,) else ["points in the plane, of shape (2,)"]
        return [
            *super().lacking(model),
            *plane,
            *(["samples without given"] if model.given else []),
        ]

    @torch.no_grad()
    def __call__(self, model: Any, batches: Iterable[Tensor]) -> Mapping[str, float]:
        real, rows = [], 0
        for x in batches:
            real.append(x.cpu().double())
            rows += len(x)
            if rows >= 2 * self.samples:
                break
        n = min(self.samples, rows // 2)
        if not n:
            raise DataError(f"Modes needs two held-out points at least, and there are {rows}.")
        reference, other = torch.cat(real)[: 2 * n].view(n, 2, 2).unbind(1)  # every other row
        sampled = model.sample(n).cpu().double()
        distance = Wasserstein()
        values = {
            "w1": distance(sampled, reference).item(),
            "w1_floor": distance(other, reference).item(),
        }
        distribution = self.distribution or _distribution_of(reference)
        if distribution is None:
            return values
        quality, shares = _quality(sampled, distribution)
        floor, floor_shares = _quality(other, distribution)
        return {
            "modes": (quality >= self.least).sum().item(),
            "modes_of": len(quality),
            "high_quality": quality.sum().item() / n,
            "high_quality_floor": floor.sum().item() / n,
            "reverse_kl": _to_uniform(shares),
            "reverse_kl_floor": _to_uniform(floor_shares),
            **values,
        }


def _quality(x: Tensor, distribution: str) -> tuple[Tensor, Tensor]:
    """How many samples of high quality each mode has, and its share of all samples."""
    centres, deviation = MODES[distribution]
    distance, nearest = torch.cdist(
        x, torch.from_numpy(centres), compute_mode="donot_use_mm_for_euclid_dist"
    ).min(dim=1)
    good = torch.bincount(nearest[distance < 3 * deviation], minlength=len(centres))
    return good, torch.bincount(nearest, minlength=len(centres)) / len(x)


def _distribution_of(x: Tensor) -> str | None:
    return next(
        (
            distribution
            for distribution in MODES
            if _quality(x, distribution)[0].sum() >= 0.95 * len(x)
        ),
        None,
    )


def _to_uniform(shares: Tensor) -> float:
    return math.log(len(shares)) + torch.special.xlogy(shares, shares).sum().item()
