"""How far translations are from the truth, where it is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import Metric
from genzoo.errors import DataError


class Translation(Metric):
    r"""Errors of translations, \( \frac 1D \| g(x) - t \|_1 \) and \( \frac 1D \| g(x) - t \|_2^2 \), of x with truth t.

    Beside it stands the error of the identity map, which leaves x as it is, or grey where the truth is. The data set must say
    what is true, in a held-out column `truth`, which pairs have and `mapped` has. A blurred mean of all that is possible has the
    least squared error, so a sharp translation need not have a small one.

    Returns:
        `absolute_error` and `squared_error`, and `absolute_error (identity)` and `squared_error (identity)`: means over numbers
        in [0, 1].

    Example:
        >>> from types import SimpleNamespace
        >>> inverts = SimpleNamespace(translate=lambda x: 1 - x, unpack=lambda batch: (batch["y"], batch["x"]))
        >>> x = torch.ones(2, 1, 8, 8)
        >>> Translation()(inverts, [{"x": x, "y": 1 - x, "truth": 1 - x}])["absolute_error"]
        0.0
    """

    needs: ClassVar[tuple[str, ...]] = ("translate",)
    reads: ClassVar[tuple[str, ...]] = ("truth",)

    @torch.no_grad()
    def __call__(self, model: Any, batches: Iterable[Mapping[str, Tensor]]) -> Mapping[str, float]:
        totals: dict[str, float] = {}
        numbers = 0
        for batch in batches:
            _, x = model.unpack(batch)
            truth = batch["truth"]
            numbers += truth.numel()
            for label, found in (
                ("", model.translate(x)),
                (" (identity)", _in_channels(x, truth.shape[1])),
            ):
                if found is not None:
                    gap = (found - truth).double()
                    for name, value in (
                        ("absolute_error", gap.abs().sum()),
                        ("squared_error", gap.square().sum()),
                    ):
                        totals[name + label] = totals.get(name + label, 0.0) + value.item()
        if not numbers:
            raise DataError("translation: there are no held-out images.")
        return {name: total / numbers for name, total in totals.items()}


def _in_channels(x: Tensor, channels: int) -> Tensor | None:
    """Images in so many channels: grey stands for each colour, colours for their mean; None where neither is one channel."""
    if channels == 1:
        return x.mean(dim=1, keepdim=True)
    return x if x.shape[1] in (1, channels) else None
