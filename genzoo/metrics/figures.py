"""Figures of an evaluation: samples next to held-out examples, and copies of training images."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from genzoo import plots
from genzoo.contract import Evidence, Figure, generated_columns, is_image
from genzoo.metrics.feature_metric import evenly_spaced

__all__ = ["neighbors_figure", "samples_figure"]

_IMAGES = 48
"""The number of samples on a sheet."""
_POINTS = 2000
"""The largest number of points in a scatter plot."""
_NEIGHBORS = 24
"""The number of samples that are shown with their nearest training image."""


def samples_figure(evidence: Evidence) -> Figure | None:
    """Return samples next to held-out examples, or None if they are neither images nor points."""
    shape = tuple(evidence.model.shape)
    if len(generated_columns(evidence.model)) != 1 or not (is_image(shape) or shape == (2,)):
        return None
    rows = evenly_spaced(evidence.n, _IMAGES if is_image(shape) else _POINTS)
    samples, real = evidence.rows("samples", rows).float(), evidence.rows("test", rows).float()
    if is_image(shape):
        draw = partial(plots.halves, samples, real)
        return Figure("Samples (left) and held-out images (right)", draw)
    draw = partial(plots.scatter, samples, real)
    return Figure("Samples over held-out points", draw, is_plot=True)


def neighbors_figure(
    evidence: Evidence, samples: Tensor, train: Tensor, distances: Tensor
) -> Figure | None:
    """Return the samples that are nearest to training images, or None if they are not images.

    Arguments:
        evidence: the evidence.
        samples: the index of each sample, `(k,)`.
        train: the index of its nearest training image, `(k,)`.
        distances: the distance between them, `(k,)`.
    """
    if not is_image(evidence.model.shape):
        return None
    nearest = distances.argsort()[:_NEIGHBORS]
    pairs = (
        evidence.rows("samples", samples[nearest]).float(),
        evidence.rows("train", train[nearest]).float(),
    )
    caption = "Samples nearest to training images: a sample and its nearest training image"
    return Figure(caption, partial(plots.pairs, *pairs))
