"""Interpolation between latent codes, and arithmetic on them."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genzoo.contract import conditions
from genzoo.contract.inputs import fits, unfit, whole
from genzoo.distributed import uniform
from genzoo.errors import DataError, SettingError, did_you_mean, show
from genzoo.models.conditioning import Conditional

__all__ = ["interpolate", "latent_arithmetic", "slerp"]

_PATHS = ("auto", "slerp", "linear")


def slerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    r"""Interpolate spherically between vectors.

    The direction moves along the great circle at constant speed, and the norm changes linearly:

    \[ z_w = \big((1 - w) |a| + w |b|\big)
       \left( \frac{\sin (1 - w)\theta}{\sin \theta} \frac{a}{|a|}
       + \frac{\sin w \theta}{\sin \theta} \frac{b}{|b|} \right), \qquad \theta = \angle(a, b) \]

    For vectors of equal norm this is Shoemake's formula. If no single great circle joins the
    vectors, because one is zero or they point in opposite directions, the path is a straight line.

    Arguments:
        start: \( a \), `(..., dim)`.
        end: \( b \), `(..., dim)`.
        weight: \( w \) in [0, 1], a number or a tensor whose shape broadcasts with the `...`.

    Returns:
        `(..., dim)`; exactly `start` at 0 and `end` at 1.

    References:
        Animating Rotation with Quaternion Curves, Shoemake, 1985,
            https://doi.org/10.1145/325334.325242
        Sampling Generative Networks, White, 2016, https://arxiv.org/abs/1609.04468

    Example:
        >>> slerp(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0]), 0.5)
        tensor([2.1213, 2.1213])
    """
    w = torch.as_tensor(weight, dtype=start.dtype, device=start.device)[..., None]
    a, b = start.norm(dim=-1, keepdim=True), end.norm(dim=-1, keepdim=True)
    u, v = start / a, end / b
    apart, together = (u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True)
    # The angle as a fraction of pi. An arc cosine would lose small angles.
    turn = 2 * torch.atan2(apart, together) / torch.pi
    norm = (1 - w) * a + w * b

    def sine_ratio(fraction: Tensor) -> Tensor:
        """Return sin(fraction * angle) / sin(angle), whose limit at an angle of 0 is `fraction`."""
        return fraction * torch.sinc(fraction * turn) / torch.sinc(turn)

    # For directions that are closer to opposite, rounding would choose the circle.
    turns = (a > 0) & (b > 0) & (together > torch.finfo(start.dtype).eps ** 0.5)
    start_weight = torch.where(turns, norm / a * sine_ratio(1 - w), 1 - w)
    end_weight = torch.where(turns, norm / b * sine_ratio(w), w)
    return start_weight * start + end_weight * end


@torch.no_grad()
def interpolate(
    model: nn.Module,
    start: Tensor,
    end: Tensor,
    steps: int = 10,
    path: Literal["auto", "slerp", "linear"] = "auto",
    given: Tensor | None = None,
) -> Tensor:
    r"""Decode the latent codes along a path from `start` to `end`, without gradients.

    Samples of a normal distribution in many dimensions lie near a sphere. The midpoint of a
    straight line between two of them has a norm that is smaller by \( \sqrt 2 \), and the decoder
    has rarely seen such latent codes. Therefore the default path follows the sphere if the model's
    prior is `spherical`.

    Arguments:
        model: a model with `decode`.
        start: latent codes, `(n, dim)`.
        end: latent codes, `(n, dim)`.
        steps: the number of points on each path, including both ends; 2 or more.
        path: `"slerp"`, `"linear"`, or `"auto"`, which takes `"slerp"` if the model's prior is
            spherical and `"linear"` otherwise.
        given: the label of each path, `(n,)`, if the model is conditional.

    Returns:
        `(n, steps, *shape)`.

    Raises:
        SettingError: the model cannot decode, the latent codes have different shapes or a shape
            that the model cannot decode, or a setting is invalid.
        DataError: labels are missing, invalid, or not accepted.

    References:
        Sampling Generative Networks, White, 2016, https://arxiv.org/abs/1609.04468

    Example:
        >>> import genzoo
        >>> model = genzoo.load("vae", shape=(1, 8, 8))
        >>> start, end = model.prior.sample(6).chunk(2)
        >>> genzoo.interpolate(model, start, end, steps=5).shape
        torch.Size([3, 5, 1, 8, 8])
    """
    decoder = _decoding(model, start=start, end=end)
    if len(start) != len(end):
        raise SettingError(
            f"start holds {len(start)} codes and end {len(end)}; a path needs one of each, so pass "
            "equally many."
        )
    problem = f"steps = {show(steps)}: a path has two ends, and points between them"
    steps = whole(steps, problem, 2)
    fits(len(start) * steps * start.shape[1], start, f"steps = {steps}: a path")
    if path not in _PATHS:
        raise SettingError(f"No path named {path!r}.{did_you_mean(str(path), _PATHS)}")
    if path == "auto":
        path = "slerp" if getattr(getattr(model, "prior", None), "spherical", False) else "linear"
    _check_labels(decoder, given, len(start))
    weight = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    start, end = start[:, None], end[:, None]
    codes = (
        slerp(start, end, weight) if path == "slerp" else torch.lerp(start, end, weight[:, None])
    )
    labels = None if given is None else given.repeat_interleave(steps, 0)
    images: Tensor = decoder.decode(codes.flatten(0, 1), **conditions(labels))
    return images.unflatten(0, codes.shape[:2])


@torch.no_grad()
def latent_arithmetic(
    model: nn.Module,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    neighbors: int = 8,
    radius: float = 0.25,
    given: Tensor | None = None,
) -> Tensor:
    r"""Decode "a without b, with c", without gradients.

    For example: a smiling woman - a neutral woman + a neutral man.

    \[ y = \bar a - \bar b + \bar c, \qquad
       y_i = y + \epsilon_i, \quad \epsilon_i \sim U[-s, s]^{d_z} \]

    Each term is the mean of the latent codes of examples that share a property. The result for
    single examples is rarely stable.

    Arguments:
        model: a model with `decode`.
        a: latent codes of examples, `(k, dim)`. The number k may differ between a, b, and c.
        b: the latent codes to subtract.
        c: the latent codes to add.
        neighbors: the number of additional points near \( y \) to decode. They show how the result
            varies around \( y \).
        radius: \( s \), the largest distance of the neighbors in each coordinate. The paper's
            prior is uniform on [-1, 1].
        given: the label of all results, `(1,)`, if the model is conditional.

    Returns:
        `(1 + neighbors, *shape)`: the result, then its neighbors.

    Raises:
        SettingError: the model cannot decode, the latent codes have different dimensions or one
            that the model cannot decode, or a setting is invalid.
        DataError: labels are missing, invalid, or not accepted.

    References:
        Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
            Networks, Radford, Metz and Chintala, 2015, https://arxiv.org/abs/1511.06434

    Example:
        >>> import genzoo
        >>> model = genzoo.load("vae", shape=(1, 8, 8))
        >>> a, b, c = model.prior.sample(9).chunk(3)
        >>> genzoo.latent_arithmetic(model, a, b, c).shape
        torch.Size([9, 1, 8, 8])
    """
    decoder = _decoding(model, a=a, b=b, c=c)
    neighbors = whole(neighbors, f"neighbors = {show(neighbors)}", 0)
    if not isinstance(radius, int | float) or not 0 <= radius < math.inf:
        raise SettingError(f"radius = {show(radius)}: expected a finite number, 0 or larger.")
    fits(neighbors * a.shape[1], a, f"neighbors = {neighbors}: the sum")
    _check_labels(decoder, given, 1)
    y = a.mean(dim=0, keepdim=True) - b.mean(dim=0, keepdim=True) + c.mean(dim=0, keepdim=True)
    noise = 2 * uniform(neighbors, y.shape[1], like=y) - 1
    labels = conditions(None if given is None else given.repeat_interleave(1 + neighbors, 0))
    images: Tensor = decoder.decode(torch.cat([y, (y + radius * noise).to(y.dtype)]), **labels)
    return images


def _check_labels(model: Any, given: Any, n: int) -> None:
    """Check labels before they are repeated.

    Raises:
        DataError: they are not a tensor of `n` labels.
    """
    if isinstance(model, Conditional):
        model.check_given(given, n)
    elif given is not None and not (isinstance(given, Tensor) and given.shape[:1] == (n,)):
        actual = f"of shape {tuple(given.shape)}" if isinstance(given, Tensor) else show(given)
        raise DataError(f"given is {actual}; pass a tensor with {n} rows, one for each result.")


def _decoding(model: nn.Module, **codes: Tensor) -> Any:
    """Return the model after checking that it can decode these latent codes."""
    name = type(model).__name__
    if not hasattr(model, "decode"):
        raise SettingError(f"{name} has no decode(z), so it cannot decode latent codes.")
    for argument, z in codes.items():
        if wrong := unfit(model, z, "tensor", argument):
            raise SettingError(wrong)
    shapes = ", ".join(f"{argument} {tuple(z.shape)}" for argument, z in codes.items())
    if any(z.dim() != 2 or len(z) == 0 for z in codes.values()):
        raise SettingError(f"codes are (k, dim) with k >= 1; these are {shapes}.")
    dims = {z.shape[1] for z in codes.values()}
    latent_dim = getattr(model, "latent_dim", None)
    if latent_dim is not None and dims != {latent_dim}:
        raise SettingError(
            f"codes need the {latent_dim} coordinates that {name} decodes; these are {shapes}."
        )
    if len(dims) > 1:
        raise SettingError(f"codes need one dimension; these are {shapes}.")
    return model
