"""The Fréchet distance between the features of held-out images and of samples."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import Evidence, Measurement, Part
from genzoo.errors import DataError, SettingError
from genzoo.metrics.estimates import Estimate, as_features, moments, variance_of_mean
from genzoo.metrics.one_output import OneOutput

__all__ = [
    "Frechet",
    "debiased_frechet_distance",
    "frechet_bias",
    "frechet_distance",
    "frechet_standard_error",
]

_DEAD = 1e-10
"""The largest variance of a dead direction, relative to the largest one."""

_MOST_FEATURES = 2048
"""The largest number of features: the time grows with its third power."""


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
        >>> # 2 * (1 + (2 - 1)^2)
        >>> frechet_distance(torch.zeros(2), identity, torch.ones(2), 4 * identity)
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


def frechet_bias(x: Tensor) -> float:
    r"""Estimate the bias constant of the Fréchet distance between samples of one distribution.

    The distance of n to m examples of the distribution of `x` is \( c (1/n + 1/m) \) on average.

    \[ c = \operatorname{tr} C + \frac{1}{2} \sum_{i, j}
       \frac{\operatorname{Var}(z_i z_j)}{\lambda_i + \lambda_j} \]

    \( z \) are the centered features in the eigenbasis of their covariance \( C \), and
    \( \lambda \) its eigenvalues. The features need not be Gaussian. Directions without variance
    are left out.

    Arguments:
        x: features, `(n, dim)`, with n well above `dim`.

    Raises:
        DataError: there are fewer than two rows, or a value is not finite.

    References:
        Effectively Unbiased FID and Inception Score, Min Jin Chong and David Forsyth, 2020,
            https://arxiv.org/abs/1911.07023

    Example:
        >>> # 5/4 tr C + 1/2 sum of l l / (l + l)
        >>> round(frechet_bias(torch.randn(10_000, 4)), 1)
        9.0
    """
    (x,) = as_features(x, names="x")
    mean, covariance = moments(x)
    variances, axes = torch.linalg.eigh(covariance)
    live = variances > _DEAD * variances.max()
    variances = variances[live]
    squares = ((x - mean) @ axes[:, live]).square()
    spread = squares.T @ squares / len(x) - variances.square().diag()
    return (covariance.trace() + (spread / (variances[:, None] + variances)).sum() / 2).item()


def frechet_standard_error(x: Tensor, y: Tensor) -> float:
    r"""Estimate the standard error of the Fréchet distance between two samples.

    The influence function of the distance is the Kantorovich potential of the Gaussians,

    \[ \varphi(x) = \| x \|^2 - (x - \mu_1)^\top T (x - \mu_1) - 2 x^\top \mu_2, \quad
       T = C_1^{-1/2} (C_1^{1/2} C_2 C_1^{1/2})^{1/2} C_1^{-1/2}, \]

    and \( \psi(y) \) the same with both exchanged. The squared standard error is
    \( \operatorname{Var} \varphi / n + \operatorname{Var} \psi / m \). Inverses are
    pseudo-inverses. If the distributions are equal, the potentials are constant and the result is
    only the right order of magnitude.

    Arguments:
        x: features, `(n, dim)`.
        y: features, `(m, dim)`.

    Raises:
        DataError: a sample has fewer than two rows or a value that is not finite, or the numbers of
            features differ.

    Example:
        >>> x = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])
        >>> frechet_standard_error(x, x + 1)   # 2 sqrt(var / n + var / n)
        1.63299...
    """
    x, y = as_features(x, y)
    (mean1, covariance1), (mean2, covariance2) = moments(x), moments(y)
    variance = variance_of_mean(_potential(x - mean1, covariance1, covariance2, mean1 - mean2))
    variance += variance_of_mean(_potential(y - mean2, covariance2, covariance1, mean2 - mean1))
    return math.sqrt(variance)


def debiased_frechet_distance(x: Tensor, y: Tensor) -> Estimate:
    r"""Estimate the Fréchet distance without its bias of order 1/n.

    \[ 2 F_n - \frac{1}{2} (F_{n/2} + F'_{n/2}) \]

    The halves are every other row. The bias of the distance \( F_n \) is inversely proportional to
    n, so it cancels. The estimate may be negative if the distributions are nearly equal. If the
    halves have no more rows than there are features, the bias does not cancel, and there is a
    warning.

    Arguments:
        x: features, `(n, dim)`.
        y: features, `(m, dim)`.

    Returns:
        The estimate, with the standard error of `frechet_standard_error`.

    Raises:
        DataError: a sample has fewer than four rows or a value that is not finite, or the numbers
            of features differ.

    Example:
        >>> x, y = torch.randn(2, 1000, 8)
        >>> estimate = debiased_frechet_distance(x, 2 * y)
        >>> abs(estimate.value - 8) < 2 * estimate.standard_error
        True
    """
    x, y = as_features(x, y, least=4)
    rows, dim = min(len(x), len(y)), x.shape[1]
    if rows // 2 <= dim:
        warnings.warn(
            f"The Fréchet distance of {rows:,} rows with {dim:,} features is biased, even after "
            f"correction; use more than {2 * dim:,} rows.",
            stacklevel=2,
        )
    return Estimate(_debiased(x, y, _distance(x, y)), frechet_standard_error(x, y))


def _potential(
    centered: Tensor, covariance: Tensor, other_covariance: Tensor, shift: Tensor
) -> Tensor:
    """Return the Kantorovich potential at centered features, up to a constant."""
    variances, axes = torch.linalg.eigh(covariance)
    live = variances > _DEAD * variances.max()
    scales, axes = variances[live].sqrt(), axes[:, live]
    root = (axes.T @ other_covariance @ axes) * scales * scales[:, None]
    values, vectors = torch.linalg.eigh(root)
    half = vectors * values.clamp(min=0) ** 0.25
    projected = (centered @ axes / scales) @ half
    return centered.square().sum(dim=1) - projected.square().sum(dim=1) + 2 * centered @ shift


class Frechet(OneOutput):
    r"""The Fréchet distance between the features of held-out examples and of equally many samples.

    It is the distance between Gaussians with the means and covariances of the features. Values of
    different feature networks are not comparable, so results name the version of the network. The
    networks of genzoo are not the Inception network, so the distance is not an "FID".

    The distance is biased upwards by about \( c (1/n + 1/m) \) for n examples and m samples, where
    \( c \) depends on the variance of the features. On Fashion-MNIST, true images score 0.1 against
    other true images for n = m = 10,000, and 0.9 to 1.7 for 1,000. So only compare values of equal
    n. The floor is the distance of as many training rows from the held-out examples. If there are
    fewer training rows, it is the distance between two halves of the held-out examples (every other
    one), with twice the bias. A distance near or below the floor is indistinguishable from zero.

    The distance depends only on means and covariances, so a model that repeats a few good examples
    is penalized too little. A conditional model is given the conditions of the held-out examples.

    Arguments:
        network: a feature network: a name, a table, or an instance. None selects the one for the
            model's shape: `"digits-cnn"` for 8x8 and `"fmnist-cnn"` for 28x28 gray images,
            `"random-conv"` for other images, and `"pixels"` for anything else.

    Returns:
        `distance`, with its standard error, its floor, and the version of the network. If n / 2
            exceeds the number of features, also `debiased`, see `debiased_frechet_distance`.

    Raises:
        SettingError: the network does not fit the model's shape, or has more than 2,048 features.
        DataError: there are fewer than four held-out examples.

    References:
        GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, Martin
        Heusel et al., 2017, https://arxiv.org/abs/1706.08500

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(1, 8, 8))
        >>> row, debiased = evaluate(vae, "digits", "frechet", n=100)
        >>> row.quantity, row.network, row.value > row.floor
        ('distance', 'digits-cnn-v1', True)
        >>> debiased.quantity, debiased.value < row.value
        ('debiased', True)
    """

    passes: ClassVar[Mapping[str, tuple[str, ...]] | None] = dict.fromkeys(
        ("distance", "debiased"), ("identical", "mean shift", "mode drop", "mode invention")
    )

    def __init__(self, network: Part | None = None) -> None:
        self.network = network

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        network, n = evidence.network(self.network), evidence.n
        if network.dim > _MOST_FEATURES:
            raise SettingError(
                f"The Fréchet distance allows {_MOST_FEATURES:,} features at most, but "
                f"{network.version} has {network.dim:,}; choose another network."
            )
        if n < 4:
            raise DataError(
                "The Fréchet distance needs at least four held-out examples and as many samples, "
                f"but there are {n}."
            )
        if n <= network.dim:
            warnings.warn(
                f"The Fréchet distance is unreliable: {n:,} examples are too few for the "
                f"{network.dim:,} features of {network.version}.",
                stacklevel=2,
            )
        test, train, samples = (
            evidence.features(network, source).double() for source in ("test", "train", "samples")
        )
        pair = (test, train) if len(train) >= n else (test[::2], test[1::2])
        distance, floor = _distance(test, samples), _distance(*pair)
        fields: dict[str, Any] = {
            "n": n,
            "network": network.version,
            "higher_is_better": False,
            "standard_error": frechet_standard_error(test, samples),
        }
        yield Measurement(
            quantity="distance",
            value=distance,
            floor=floor,
            estimator="plug-in",
            **fields,
        )
        if n // 2 > network.dim:
            yield Measurement(
                quantity="debiased",
                value=_debiased(test, samples, distance),
                floor=_debiased(*pair, floor) if len(pair[0]) // 2 > network.dim else None,
                estimator="whole and halves",
                **fields,
            )


def _distance(one: Tensor, other: Tensor) -> float:
    """Return the Fréchet distance between two sets of features, `(n, dim)` and `(m, dim)`."""
    return frechet_distance(*moments(one), *moments(other))


def _debiased(one: Tensor, other: Tensor, distance: float) -> float:
    """Return the distance between two sets of features without its bias of order 1/n."""
    return 2 * distance - (_distance(one[::2], other[::2]) + _distance(one[1::2], other[1::2])) / 2
