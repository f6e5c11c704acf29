"""The base class of metrics of samples that have a single column."""

from __future__ import annotations

from typing import Any, ClassVar

from genzoo.contract import Metric, generated_columns

__all__ = ["OneOutput"]


class OneOutput(Metric):
    """A metric of samples with a single column."""

    needs: ClassVar[tuple[str, ...]] = ("sample",)

    def lacking(self, model: Any) -> list[str]:
        lacking = super().lacking(model)
        if len(generated_columns(model)) != 1:
            lacking.append("a single generated column")
        return lacking
