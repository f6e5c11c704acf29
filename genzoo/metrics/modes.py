"""Mode coverage and sample quality for distributions in the plane."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from genzoo.contract import Evidence, Measurement, Positive
from genzoo.data.toy_points import MODES
from genzoo.divergences.transport import Wasserstein
from genzoo.errors import DataError
from genzoo.metrics.one_input import OneInput

__all__ = ["Modes"]


class Modes(OneInput):
    r"""The modes, quality, and distance of samples in the plane.

    Each value has a floor: the value of held-out points in place of samples. A sample has high
    quality if it lies within three standard deviations of the nearest mode; a fraction of
    \( 1 - e^{-9/2} \), or 0.9889, of true samples do. The fraction alone rewards collapse: a model
    that repeats one point scores 1. Read it together with the modes, the reverse KL divergence, and
    the distance.

    Arguments:
        samples: the number of samples \( n \). They are compared with \( n \) held-out points, and
            \( n \) other held-out points give the floors. With fewer than \( 2n \) held-out points,
            \( n \) is half of their number.
        distribution: `"8-gaussians"` or `"25-gaussians"`, as in the dataset `toy`. None selects the
            distribution for which 95 % of the held-out points have high quality; if none fits,
            only the distance is measured.
        least: the number of high-quality samples from which a mode counts as reached.

    Returns:
        `modes`: the number of reached modes, out of `modes_of`, the number \( K \) of all modes;
        `high_quality`: the fraction of high-quality samples, with its standard error;
        `reverse_kl`: \( \sum_k h_k \log (K h_k) \) in nats, the divergence of the fractions \( h \)
            of the modes from the uniform distribution. Every sample counts for its nearest mode, at
            any quality. The value is log K if all samples have collapsed to one mode, and
            about (K - 1) / 2n for true samples;
        `w1`: the exact Wasserstein distance of order 1 between samples and held-out points.
        The last three have floors.

    Raises:
        DataError: there are fewer than two held-out points.

    References:
        VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning, Akash Srivastava
            et al., 2017,
        https://arxiv.org/abs/1705.07761
        PacGAN: The Power of Two Samples in Generative Adversarial Networks, Zinan Lin et al., 2018,
        https://arxiv.org/abs/1712.04086

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(2,))
        >>> data = {"name": "toy", "distribution": "8-gaussians"}
        >>> [row.quantity for row in evaluate(vae, data, "modes", n=100)]
        ['modes', 'modes_of', 'high_quality', 'reverse_kl', 'w1']
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
        lacking = super().lacking(model)
        if tuple(model.shape) != (2,):
            lacking.append("points in the plane, of shape (2,)")
        return lacking

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        real, rows = [], 0
        for x in evidence.examples("test"):
            real.append(x.cpu().double())
            rows += len(x)
            if rows >= 2 * self.samples:
                break
        n = min(self.samples, rows // 2)
        if not n:
            raise DataError(f"Modes needs at least two held-out points, but there are {rows}.")
        # Every other row is a reference.
        reference, other = torch.cat(real)[: 2 * n].view(n, 2, 2).unbind(1)
        sampled = evidence.samples[:n].double()
        distribution = self.distribution or _distribution_of(reference)
        if distribution is not None:
            yield from _compare(sampled, other, distribution, self.least)
        distance = Wasserstein()
        yield Measurement(
            quantity="w1",
            value=distance(sampled, reference).item(),
            floor=distance(other, reference).item(),
            n=n,
            estimator="exact",
            higher_is_better=False,
        )


def _compare(
    sampled: Tensor, other: Tensor, distribution: str, least: int
) -> Iterator[Measurement]:
    """Yield the modes, the quality, and the divergence of samples, with held-out floors."""
    n = len(sampled)
    per_mode, shares = _quality(sampled, distribution)
    floor, floor_shares = _quality(other, distribution)
    modes = (per_mode >= least).sum().item()
    yield Measurement(quantity="modes", value=modes, n=n, higher_is_better=True)
    yield Measurement(quantity="modes_of", value=len(per_mode), n=n)
    good = per_mode.sum().item() / n
    yield Measurement(
        quantity="high_quality",
        value=good,
        standard_error=math.sqrt(good * (1 - good) / n),
        floor=floor.sum().item() / n,
        n=n,
        estimator="mean",
        higher_is_better=True,
    )
    yield Measurement(
        quantity="reverse_kl",
        value=_to_uniform(shares),
        floor=_to_uniform(floor_shares),
        n=n,
        estimator="plug-in",
        higher_is_better=False,
    )


def _quality(x: Tensor, distribution: str) -> tuple[Tensor, Tensor]:
    """Return each mode's number of high-quality samples, and its fraction of all samples."""
    centers, deviation = MODES[distribution]
    distance, nearest = torch.cdist(
        x, torch.from_numpy(centers), compute_mode="donot_use_mm_for_euclid_dist"
    ).min(dim=1)
    good = torch.bincount(nearest[distance < 3 * deviation], minlength=len(centers))
    return good, torch.bincount(nearest, minlength=len(centers)) / len(x)


def _distribution_of(x: Tensor) -> str | None:
    """Return the distribution for which 95 % of the points have high quality, or None."""
    for distribution in MODES:
        good, _ = _quality(x, distribution)
        if good.sum() >= 0.95 * len(x):
            return distribution
    return None


def _to_uniform(shares: Tensor) -> float:
    """Return the KL divergence of fractions from the uniform distribution, in nats."""
    return math.log(len(shares)) + torch.special.xlogy(shares, shares).sum().item()
