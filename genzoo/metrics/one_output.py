"""The base classes of metrics of samples that have a single column."""

from __future__ import annotations

from typing import Any, ClassVar

from genzoo.contract import Metric, generated_columns, is_image

__all__ = ["ImageMetric", "OneOutput"]

_SMALLEST = 4
"""The shorter side of the smallest images, in pixels."""


class OneOutput(Metric):
    """A metric of samples with a single column."""

    needs: ClassVar[tuple[str, ...]] = ("sample",)

    def lacking(self, model: Any) -> list[str]:
        lacking = super().lacking(model)
        if len(generated_columns(model)) != 1:
            lacking.append("a single generated column")
        return lacking


class ImageMetric(OneOutput):
    """A metric of images that are not tiny."""

    def lacking(self, model: Any) -> list[str]:
        lacking = super().lacking(model)
        if not is_image(model.shape) or min(model.shape[1:]) < _SMALLEST:
            lacking.append(f"images of {_SMALLEST} x {_SMALLEST} pixels or more")
        return lacking
