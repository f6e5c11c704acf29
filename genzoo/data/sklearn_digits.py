"""The 8x8 digits that come with scikit-learn: a real image data set without a download."""

from __future__ import annotations

from typing import Literal

import numpy as np

from genzoo.contract.dataset import Dataset

__all__ = ["digits"]


def digits(
    binarize: Literal["threshold", "stochastic"] | None = None, dequantize: bool = False
) -> Dataset:
    """1,797 handwritten digits, 8x8 pixels in 17 grey levels: 1,500 to train on, 297 held out.

    The rows are shuffled once with a fixed seed, then cut; the source has no split of its own, and its order follows the writers.
    Columns: `x`, uint8 `(N, 1, 8, 8)` with levels 0 to 16, and the label `y`, int64 `(N,)`.

    Arguments:
        binarize: `"threshold"`, `"stochastic"` or None, as in `Dataset`.
        dequantize: add uniform noise within a level, as in `Dataset`.

    References:
        E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
        https://doi.org/10.24432/C50P49

    Example:
        >>> data = digits()
        >>> data.shape, data.rows("train"), data.rows("test")
        ((1, 8, 8), 1500, 297)
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    order = np.random.RandomState(0).permutation(
        len(source.target)
    )  # numpy freezes RandomState's streams, not default_rng's
    x = source.images.astype(np.uint8)[order, None]
    y = source.target.astype(np.int64)[order]
    train, test = slice(1500), slice(1500, None)
    return Dataset(
        {"x": x[train], "y": y[train]},
        {"x": x[test], "y": y[test]},
        levels=17,
        binarize=binarize,
        dequantize=dequantize,
        name="digits",
    )
