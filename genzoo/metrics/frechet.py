"""The Fréchet distance between features of held-out images and of samples."""

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
    extract_features,
    network_for,
    there_is,
)


def frechet_distance(
    mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor
) -> float:
    r"""The squared Fréchet (2-Wasserstein) distance between two Gaussians; covariances may be singular.

    \[ \| \mu_1 - \mu_2 \|^2 + \operatorname{tr} \big( C_1 + C_2 - 2 (C_1 C_2)^{1/2} \big) \]

    The trace of the root is the sum of the roots of the eigenvalues of \( C_1 C_2 \), which are real and not negative; what
    rounding leaves below zero, or imaginary, is cut off.

    Arguments:
        mean1: `(dim,)`.
        covariance1: `(dim, dim)`.
        mean2: `(dim,)`.
        covariance2: `(dim, dim)`.

    References:
        The Fréchet Distance between Multivariate Normal Distributions, D. C. Dowson and B. V. Landau, 1982,
        https://doi.org/10.1016/0047-259X(82)90077-X

    Example:
        >>> frechet_distance(torch.zeros(2), torch.eye(2), torch.ones(2), 4 * torch.eye(2))  # 2 * (1 + (2 - 1)^2)
        4.0
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
    r"""The Fréchet distance between Gaussians with the moments of features: of held-out images, and of as many samples.

    The features are those of a small network that comes with genzoo, whose version stands in the results. They are not those of
    the Inception network, so the distance is no "FID": it compares models of the same images, by the same network.

    The distance is biased upwards by about \( c (1/n + 1/m) \) for n images and m samples, with \( c \) from the features'
    spread: true images of Fashion-MNIST score 0.1 against others for n = m = 10,000, and 0.9 to 1.7 for 1,000. So compare
    values of equal n only. The floor is the distance between two halves of the held-out images, every other one; they are half
    as large, so its bias is twice the distance's. A distance near the floor, or below it, cannot be told from none.

    It sees means and covariances alone: a model that repeats a few good images is punished too little. Of a conditional model the
    samples are given what the held-out images have beside them.

    Arguments:
        network: `"fmnist-cnn"` for 28x28 grey images, `"digits-cnn"` for 8x8 ones, or `"auto"`, by the model's shape. Images of
            other sizes are not resized.

    Returns:
        `distance (fmnist-cnn-v1)`, with the network's version, and `floor (fmnist-cnn-v1)`.

    Raises:
        SettingError: the network does not fit the model's shape, or none does.
        DataError: there are fewer than four held-out images.

    References:
        GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, Martin Heusel et al., 2017,
        https://arxiv.org/abs/1706.08500

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
        return [
            *lacking,
            *(["one kind of data that it samples"] if len(generated_columns(model)) != 1 else []),
        ]

    @torch.no_grad()
    def __call__(self, model: Any, batches: Iterable[Batch]) -> Mapping[str, float]:
        name = network_for(model.shape) if self.network == "auto" else self.network
        if name is None:
            raise SettingError(
                f"No feature network fits images of shape {tuple(model.shape)}. {there_is()}"
            )
        one, other, both, sampled = (FeatureStatistics(NETWORKS[name].dim) for _ in range(4))
        for batch in batches:
            x, given = model.unpack(batch)
            seen = extract_features(name, x)
            one.update(seen[both.n % 2 :: 2])
            other.update(seen[1 - both.n % 2 :: 2])
            both.update(seen)
            sampled.update(
                extract_features(
                    name, model.sample(len(x)) if given is None else model.sample(len(x), given)
                )
            )
        if both.n < 4:
            raise DataError(
                f"The Fréchet distance needs four held-out images at least, and there are {both.n}."
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
