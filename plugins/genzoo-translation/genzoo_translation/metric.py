"""A metric that compares translations with the true images, if they are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import Evidence, Measurement, Metric

__all__ = ["Translation"]


class Translation(Metric):
    r"""The errors of translations of x, compared with the true images t.

    \[ \tfrac 1D \| g(x) - t \|_1 \quad \text{and} \quad \tfrac 1D \| g(x) - t \|_2^2 \]

    The metric also reports the errors of the identity map. For gray true images, it compares the
    gray version of x. The true images come from the held-out column `truth`, which datasets of
    pairs and `mapped` have. A blurred mean of all possible images minimizes the squared error, so
    a sharp translation may have a larger one.

    Returns:
        `absolute_error`, `squared_error`, `absolute_error (identity)`, and
        `squared_error (identity)`: means over pixels in [0, 1], with standard errors over images.

    Example:
        >>> from genzoo import Dataset, build, evaluate
        >>> x = torch.rand(9, 1, 8, 8)
        >>> pairs = {"x": x, "y": 1 - x}
        >>> translator = {"name": "unet", "width": 2}
        >>> table = {"name": "pix2pix", "translator": translator}
        >>> model = build(table, shape=(1, 8, 8), given_shape=(1, 8, 8))
        >>> rows = evaluate(model, Dataset(pairs, {**pairs, "truth": 1 - x}), "translation")
        >>> [row.quantity for row in rows][:2]
        ['absolute_error', 'squared_error']
    """

    needs: ClassVar[tuple[str, ...]] = ("translate",)
    reads: ClassVar[tuple[str, ...]] = ("truth",)

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        """Yield the mean errors."""
        model: Any = evidence.model
        errors: defaultdict[str, list[Tensor]] = defaultdict(list)
        for batch in evidence.batches():
            _, x = model.unpack(batch)
            truth = batch["truth"]
            images = {"": model.translate(x), " (identity)": _in_channels(x, truth.shape[1])}
            for suffix, image in images.items():
                if image is None:
                    continue
                error = (image - truth).double().flatten(1).cpu()
                errors[f"absolute_error{suffix}"].append(error.abs().mean(dim=1))
                errors[f"squared_error{suffix}"].append(error.square().mean(dim=1))
        for name, parts in errors.items():
            yield Measurement.from_examples(name, torch.cat(parts), higher_is_better=False)


def _in_channels(x: Tensor, channels: int) -> Tensor | None:
    """Return images with another number of channels, or None if neither number is 1.

    A gray channel is used for each color, and colors are averaged to gray.
    """
    if channels == 1:
        return x.mean(dim=1, keepdim=True)
    return x if x.shape[1] in (1, channels) else None
