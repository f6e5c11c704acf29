"""The 8x8 digits of scikit-learn, an image dataset without a download."""

from __future__ import annotations

from typing import Literal

import numpy as np

from genzoo.contract.dataset import Augmentation, Dataset

__all__ = ["digits"]


def digits(
    *,
    binarize: Literal["threshold", "stochastic"] | None = None,
    dequantize: bool = False,
    augment: tuple[Augmentation, ...] = (),
) -> Dataset:
    """Return 1,797 handwritten digits of 8x8 pixels in 17 gray levels.

    1,500 are for training and 297 are held out. The source has no split, and its order follows the
    writers, so rows are shuffled once with a fixed seed and then split.
    Columns: `x`, uint8 `(N, 1, 8, 8)` with levels 0 to 16, and the label `y`, int64 `(N,)`, with
    the class names "0" to "9".

    Arguments:
        binarize: `"threshold"`, `"stochastic"`, or None, as in `Dataset`.
        dequantize: add uniform noise within a level, as in `Dataset`.
        augment: random changes of training images, as in `Dataset`.

    References:
        Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning
            Repository, 1998, https://doi.org/10.24432/C50P49

    Example:
        >>> data = digits()
        >>> data.shape, data.rows("train"), data.rows("test")
        ((1, 8, 8), 1500, 297)
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    # numpy guarantees the streams of RandomState, but not those of default_rng.
    order = np.random.RandomState(0).permutation(len(source.target))
    x = source.images.astype(np.uint8)[order, None]
    y = source.target.astype(np.int64)[order]
    train, test = slice(1500), slice(1500, None)
    return Dataset(
        {"x": x[train], "y": y[train]},
        {"x": x[test], "y": y[test]},
        levels=17,
        binarize=binarize,
        dequantize=dequantize,
        augment=augment,
        metadata={"class_names": tuple(map(str, source.target_names))},
        name="digits",
    )
