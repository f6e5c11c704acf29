"""Figures of an evaluation: samples, interpolations, reconstructions, latent codes, and copies."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Evidence, Figure, generated_columns, has_capability, is_image
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.metrics.feature_metric import evenly_spaced
from genzoo.metrics.one_input import first_rows
from genzoo.models import latents
from genzoo.plots import latent_codes, pairs, scatter, sheet
from genzoo.plots.sheets import halves

__all__ = [
    "codes_figure",
    "interpolation_figure",
    "neighbors_figure",
    "reconstructions_figure",
    "samples_figure",
]

_IMAGES = 48
"""The number of samples on a sheet."""
_POINTS = 2000
"""The largest number of points in a scatter plot."""
_NEIGHBORS = 24
"""The number of samples that are shown with their nearest training image."""
_PATHS, _STEPS = 6, 10
"""The number of interpolations, and of images in each."""
_ORIGINALS = 24
"""The number of held-out images that are shown with their reconstruction."""
_CODES = 3000
"""The largest number of latent codes in a plot."""


def samples_figure(evidence: Evidence) -> Figure | None:
    """Return samples next to held-out examples, or None if they are not images or points."""
    shape = tuple(evidence.model.shape)
    if len(generated_columns(evidence.model)) != 1 or not (is_image(shape) or shape == (2,)):
        return None
    rows = evenly_spaced(evidence.n, _IMAGES if is_image(shape) else _POINTS)
    samples, real = evidence.rows("samples", rows).float(), evidence.rows("test", rows).float()
    if is_image(shape):
        draw = partial(halves, samples, real, titles=("samples", "held-out images"))
        return Figure("Samples (left) and held-out images (right)", draw)
    draw = partial(scatter, samples, real)
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
    images = (
        evidence.rows("samples", samples[nearest]).float(),
        evidence.rows("train", train[nearest]).float(),
    )
    caption = "Samples nearest to training images: a sample and its nearest training image"
    titles = ("sample", "training")
    return Figure(caption, partial(pairs, *images, titles=titles))


@torch.no_grad()
def interpolation_figure(evidence: Evidence) -> Figure | None:
    """Return interpolations between latent codes, or None if the model has none or no images.

    The codes are those of held-out images, or samples of the prior if the model cannot encode. A
    model with labels keeps the label of the start.
    """
    model: Any = evidence.model
    known = [name for name in ("encode", "prior") if has_capability(model, name)]
    is_supported = is_image(model.shape) and has_capability(model, "decode") and known
    if not is_supported or len(generated_columns(model)) != 1 or evidence.n < 2 * _PATHS:
        return None
    x, condition = _first_rows(evidence, 2 * _PATHS)
    paths = len(x) // 2  # a batch may have fewer rows
    if not paths:
        return None
    device = model.reference_tensor.device
    with exclusive(device):
        reseed(device, "evaluate", evidence.seed, "interpolation")
        if known[0] == "encode":
            ends, between = model.encode(x, **condition), "held-out images"
        else:
            ends, between = model.prior.sample(2 * paths), "samples"
        given = condition.get("given")
        start, end = ends[:paths], ends[paths : 2 * paths]
        given = None if given is None else given[:paths]
        images = latents.interpolate(model, start, end, _STEPS, given=given)
    draw = partial(sheet, images.flatten(0, 1).float().cpu(), _STEPS, side=1280)
    return Figure(f"Interpolations between the latent codes of {between}", draw)


@torch.no_grad()
def reconstructions_figure(evidence: Evidence) -> Figure | None:
    """Return held-out images next to their reconstructions, or None if they are not images."""
    if not is_image(evidence.model.shape):
        return None
    x, condition = _first_rows(evidence, _ORIGINALS)
    images = (x.float().cpu(), evidence.model.reconstruct(x, **condition).float().cpu())
    draw = partial(pairs, *images, titles=("original", "reconstruction"))
    return Figure("Held-out images and their reconstructions", draw)


def codes_figure(evidence: Evidence, codes: Tensor) -> Figure | None:
    """Return the latent codes of held-out examples by class, with the contours of the prior.

    It is None if codes have fewer than two coordinates, or if one is not finite.
    """
    if codes.shape[1] < 2 or len(codes) < 2 or not codes.isfinite().all():
        return None
    rows = evenly_spaced(len(codes), _CODES)
    labels = evidence.labels("y")
    draw = partial(
        latent_codes,
        codes[rows].cpu(),
        None if labels is None else labels[rows],
        evidence.class_names,
        evidence.model.prior,
    )
    return Figure("Latent codes of held-out examples, and the prior", draw, is_plot=True)


def _first_rows(evidence: Evidence, n: int) -> tuple[Tensor, dict[str, Any]]:
    """Return the first held-out examples and their conditions; fewer if a batch is smaller."""
    return next(first_rows(evidence.conditioned(), n))
