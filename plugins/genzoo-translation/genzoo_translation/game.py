"""What the translating games share."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genzoo.blocks.precision import at_least_single
from genzoo.contract import Shape, is_image
from genzoo.errors import SettingError


def judge(critic: Any, x: Tensor) -> Tensor:
    """A critic's scores in full precision: of patches where it has `patches`, else of images."""
    return at_least_single(getattr(critic, "patches", critic)(x))


def same_size(shape: Shape, given_shape: Shape | None) -> tuple[Shape, Shape]:
    """The shapes of what is made and of what it is made from.

    Raises:
        SettingError: they are not images of one height and width.
    """
    given = shape if given_shape is None else given_shape
    if (
        not is_image(tuple(shape))
        or not is_image(tuple(given))
        or tuple(shape[1:]) != tuple(given[1:])
    ):
        raise SettingError(
            f"shape = {tuple(shape)!r}, given_shape = {tuple(given)!r}: translation is between images (C, H, W) of one height "
            "and width."
        )
    return tuple(shape), tuple(given)


def images_given(model: Any, n: int, given: Tensor | None) -> Tensor:
    """The images that `sample` is to translate.

    Raises:
        SettingError: none are given, or another number, or of another shape.
    """
    wanted = (n, *model.given_shape)
    if not isinstance(given, Tensor) or tuple(given.shape) != wanted:
        found = tuple(given.shape) if isinstance(given, Tensor) else given
        name = type(model).__name__
        raise SettingError(
            f"{name}.sample({n}, given): given = {found}: it needs images of shape {wanted} in [0, 1]."
        )
    return given
