"""Distributions on the plane with known shapes and modes, for two-dimensional figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from genzoo.contract.dataset import Dataset

__all__ = ["DISTRIBUTIONS", "MODES", "Draw", "toy"]

Draw = Callable[[int, np.random.RandomState], Any]
"""A sampler: the number of points and a random state -> points, `(n, 2)`."""


def toy(
    distribution: Literal["8-gaussians", "25-gaussians", "swiss-roll", "moons"],
    rows: Annotated[int, Gt(0), Le(10_000_000)] = 50_000,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
) -> Dataset:
    """Return points in the plane, float32 `(rows, 2)`: `rows` for training and `rows` held out.

    The first three distributions have the scales of the WGAN-GP authors' code, about one standard
    deviation per coordinate:

    - `"8-gaussians"`: eight modes at multiples of 45 degrees, radius 2 / 1.414, standard deviation
      0.02 / 1.414;
    - `"25-gaussians"`: a 5x5 grid of modes at (-4, -2, 0, 2, 4) / 2.828, standard deviation
      0.05 / 2.828;
    - `"swiss-roll"`: scikit-learn's roll with noise 0.25, seen from the side, / 7.5;
    - `"moons"`: scikit-learn's two moons with noise 0.1, without scaling.

    Arguments:
        distribution: the name of the distribution.
        rows: the number of training rows.
        seed: the seed of the points.

    References:
        Improved Training of Wasserstein GANs, I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin and
            A. Courville, 2017, https://arxiv.org/abs/1704.00028;
            code: https://github.com/igul222/improved_wgan_training (gan_toy.py)

    Example:
        >>> data = toy("8-gaussians", rows=1000)
        >>> data.shape, data.rows("train"), data.rows("test")
        ((2,), 1000, 1000)
    """
    # numpy guarantees the streams of RandomState, so the rows never change.
    random = np.random.RandomState(seed)
    x = DISTRIBUTIONS[distribution](2 * rows, random).astype(np.float32)
    return Dataset({"x": x[:rows]}, {"x": x[rows:]}, name=distribution)


def _ring(mode: Any) -> Any:
    angle = mode * np.pi / 4
    return 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _eight_gaussians(n: int, random: np.random.RandomState) -> Any:
    return (_ring(random.randint(8, size=n)) + 0.02 * random.standard_normal((n, 2))) / 1.414


def _grid(mode: Any) -> Any:
    return 2 * (mode - 2)


def _twenty_five_gaussians(n: int, random: np.random.RandomState) -> Any:
    # The authors shuffle exactly 4,000 points of each mode. These points are independent.
    return (_grid(random.randint(5, size=(n, 2))) + 0.05 * random.standard_normal((n, 2))) / 2.828


def _swiss_roll(n: int, random: np.random.RandomState) -> Any:
    from sklearn.datasets import make_swiss_roll

    return make_swiss_roll(n, noise=0.25, random_state=random)[0][:, [0, 2]] / 7.5


def _moons(n: int, random: np.random.RandomState) -> Any:
    from sklearn.datasets import make_moons

    return make_moons(n, noise=0.1, random_state=random)[0]


DISTRIBUTIONS: Mapping[str, Draw] = MappingProxyType(
    {
        "8-gaussians": _eight_gaussians,
        "25-gaussians": _twenty_five_gaussians,
        "swiss-roll": _swiss_roll,
        "moons": _moons,
    }
)

MODES: Mapping[str, tuple[Any, float]] = MappingProxyType(
    {
        "8-gaussians": (_ring(np.arange(8)) / 1.414, 0.02 / 1.414),
        "25-gaussians": (_grid(np.indices((5, 5)).reshape(2, 25).T) / 2.828, 0.05 / 2.828),
    }
)
"""The centers of the modes, `(modes, 2)`, and their standard deviation per coordinate.

Only distributions with modes are listed; their modes are equally likely."""
