"""The Fréchet distance between the features of held-out images and of samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from genzoo.contract import Batch, Metric, generated_columns
from genzoo.errors import DataError, SettingError
from genzoo.metrics.features import (
    NETWORKS,
    FeatureStatistics,
    available_networks,
    extract_features,
    network_for,
)
from genzoo.metrics.held_out import with_samples

__all__ = ["Frechet", "frechet_distance"]


def frechet_distance(
    mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor
) -> float:
    r"""Compute the squared Fréchet (2-Wasserstein) distance between two Gaussians.

    \[ \| \mu_1 - \mu_2 \|^2 + \operatorname{tr} \big( C_1 + C_2 - 2 (C_1 C_2)^{1/2} \big) \]

    Covariances may be singular. The trace of the square root is the sum of the square roots of the
    eigenvalues of \( C_1 C_2 \), which are real and not negative. Negative and imaginary parts from
    rounding are removed.

    Arguments:
        mean1: \( \mu_1 \), `(dim,)`.
        covariance1: \( C_1 \), `(dim, dim)`.
        mean2: \( \mu_2 \), `(dim,)`.
        covariance2: \( C_2 \), `(dim, dim)`.

    References:
        The Fréchet Distance between Multivariate Normal Distributions, D. C. Dowson and B. V.
        Landau, 1982, https://doi.org/10.1016/0047-259X(82)90077-X

    Example:
        >>> identity = torch.eye(2)
        >>> frechet_distance(torch.zeros(2), identity, torch.ones(2), 4 * identity)
        4.0

        This is 2 * (1 + (2 - 1)^2).
    """
    mean1, covariance1, mean2, covariance2 = (
        t.cpu().double() for t in (mean1, covariance1, mean2, covariance2)
    )
    product = covariance1 @ covariance2
    if not product.isfinite().all():
        return math.nan
    root = torch.linalg.eigvals(product).real.clamp(min=0).sqrt().sum()
    return (
        (mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * root
    ).item()


class Frechet(Metric):
    r"""The Fréchet distance between the features of held-out images and of equally many samples.

    It is the distance between Gaussians with the means and covariances of the features. The
    features come from a small network that is part of genzoo; the results name its version. It is
    not the Inception network, so the distance is not an "FID". It compares models of the same
    images, with the same network.

    The distance is biased upwards by about \( c (1/n + 1/m) \) for n images and m samples, where
    \( c \) depends on the variance of the features. On Fashion-MNIST, true images score 0.1 against
    other true images for n = m = 10,000, and 0.9 to 1.7 for 1,000. So only compare values of equal
    n. The floor is the distance between two halves of the held-out images (every other image). The
    halves have n / 2 images, so the bias of the floor is twice the bias of the distance. A distance
    near or below the floor is indistinguishable from zero.

    The distance depends only on means and covariances, so a model that repeats a few good images is
    penalized too little. A conditional model is given the conditions of the held-out images.

    Arguments:
        network: `"fmnist-cnn"` for 28x28 gray images, `"digits-cnn"` for 8x8 gray images, or
            `"auto"`, which depends on the model's shape. Images of other sizes are not resized.

    Returns:
        `distance (fmnist-cnn-v1)`, with the network's version, and `floor (fmnist-cnn-v1)`.

    Raises:
        SettingError: the network does not fit the model's shape, or no network does.
        DataError: there are fewer than four held-out images.

    References:
        GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, Martin
        Heusel et al., 2017, https://arxiv.org/abs/1706.08500

    Example:
        >>> from genzoo import build
        >>> sorted(Frechet()(build("vae", shape=(1, 8, 8)), [torch.rand(20, 1, 8, 8)]))
        ['distance (digits-cnn-v1)', 'floor (digits-cnn-v1)']
    """

    needs: ClassVar[tuple[str, ...]] = ("sample",)

    def __init__(self, network: Literal["auto", "fmnist-cnn", "digits-cnn"] = "auto") -> None:
        self.network = network

    def lacking(self, model: Any) -> list[str]:
        lacking = super().lacking(model)
        names = NETWORKS if self.network == "auto" else (self.network,)
        shapes = [NETWORKS[name].shape for name in names]
        if tuple(model.shape) not in shapes:
            lacking.append(f"images of shape {' or '.join(map(str, shapes))}")
        if len(generated_columns(model)) != 1:
            lacking.append("a single generated column")
        return lacking

    @torch.no_grad()
    def __call__(self, model: Any, batches: Iterable[Batch]) -> Mapping[str, float]:
        name = network_for(model.shape) if self.network == "auto" else self.network
        if name is None:
            raise SettingError(
                f"No feature network fits images of shape {tuple(model.shape)}. "
                f"{available_networks()}"
            )
        one, other, both, sampled = (FeatureStatistics(NETWORKS[name].dim) for _ in range(4))
        for x, samples in with_samples(model, batches):
            real = extract_features(name, x)
            one.update(real[both.n % 2 :: 2])
            other.update(real[1 - both.n % 2 :: 2])
            both.update(real)
            sampled.update(extract_features(name, samples))
        if both.n < 4:
            raise DataError(
                f"The Fréchet distance needs at least four held-out images, but there are {both.n}."
            )
        version = NETWORKS[name].version
        return {
            f"distance ({version})": frechet_distance(
                both.mean, both.covariance, sampled.mean, sampled.covariance
            ),
            f"floor ({version})": frechet_distance(
                one.mean, one.covariance, other.mean, other.covariance
            ),
        }
