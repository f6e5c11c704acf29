"""The picture for samples of any shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from genzoo.plots.charts import scatter
from genzoo.plots.sheets import sheet

__all__ = ["draw"]


def draw(
    samples: Tensor,
    data: Tensor | None = None,
    columns: int | None = None,
    score: Callable[[Tensor], Tensor] | None = None,
    *,
    labels: Sequence[str] = (),
    titles: Sequence[str] = (),
) -> Any:
    """Return a picture for the samples' shape.

    Images are shown as a sheet, and points in the plane as a scatter plot. For other shapes, the
    result is None.

    Arguments:
        samples: `(n, *shape)`.
        data: data points for a scatter plot, `(m, 2)`.
        columns: the number of columns of a sheet.
        score: a critic to draw in a scatter plot; see `scatter`.
        labels: the texts next to the rows or below the images of a sheet; see `sheet`.
        titles: the texts above the columns of a sheet.

    Example:
        >>> draw(torch.rand(4, 1, 8, 8)).image.size
        (644, 644)
        >>> draw(torch.rand(4, 7)) is None
        True
    """
    if samples.dim() == 4:
        return sheet(samples, columns, labels=labels, titles=titles)
    if samples.dim() == 2 and samples.shape[1] == 2:
        return scatter(samples, data, score)
    return None
