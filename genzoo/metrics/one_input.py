"""What metrics of single tensors have in common."""

from __future__ import annotations

from typing import Any

from genzoo.contract import Metric


class OneInput(Metric):
    """A metric of models with one input, whose batches are tensors; with several, nothing says which of them it is about."""

    def lacking(self, model: Any) -> list[str]:
        return [*super().lacking(model), *(["a single input"] if len(model.inputs) > 1 else [])]
