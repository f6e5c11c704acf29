"""Shared functions of the translation models."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genzoo.blocks.precision import at_least_single
from genzoo.contract import Shape, is_image
from genzoo.errors import SettingError

__all__ = ["images_given", "judge", "same_size"]


def judge(critic: Any, x: Tensor) -> Tensor:
    """Return a critic's scores in full precision, per patch if it has `patches`, else per image."""
    return at_least_single(getattr(critic, "patches", critic)(x))


def same_size(shape: Shape, given_shape: Shape | None) -> tuple[Shape, Shape]:
    """Return the shapes of outputs and inputs.

    Raises:
        SettingError: they are not shapes of images with the same height and width.
    """
    given = shape if given_shape is None else given_shape
    both_images = is_image(tuple(shape)) and is_image(tuple(given))
    if not both_images or tuple(shape[1:]) != tuple(given[1:]):
        raise SettingError(
            f"shape = {tuple(shape)!r}, given_shape = {tuple(given)!r}: translation is between "
            "images (C, H, W) of the same height and width."
        )
    return tuple(shape), tuple(given)


def images_given(model: Any, n: int, given: Tensor | None) -> Tensor:
    """Return the images that `sample` translates.

    Raises:
        SettingError: `given` is None, or has another number of images or another shape.
    """
    expected = (n, *model.given_shape)
    if not isinstance(given, Tensor) or tuple(given.shape) != expected:
        value = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else repr(given)
        raise SettingError(
            f"{type(model).__name__}.sample({n}, given): given has {value}; it needs images of "
            f"shape {expected} in [0, 1]."
        )
    return given
