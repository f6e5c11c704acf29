"""The base class of metrics for models with one input."""

from __future__ import annotations

from typing import Any

from genzoo.contract import Metric

__all__ = ["OneInput"]


class OneInput(Metric):
    """A metric for models with one input, whose batches are tensors.

    With several inputs, it would be unclear which one to measure.
    """

    def lacking(self, model: Any) -> list[str]:
        lacking = super().lacking(model)
        if len(model.inputs) > 1:
            lacking.append("a single input")
        return lacking
