"""What is done with the codes of a model that decodes: paths between them, and sums of them."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genzoo.contract.inputs import fits, unfit, whole
from genzoo.distributed import uniform
from genzoo.errors import SettingError, did_you_mean, show

_PATHS = ("auto", "slerp", "linear")


def slerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    r"""Spherical interpolation: the direction moves along the great circle at constant speed, the norm along a straight line.

    \[ z_w = \big((1 - w) |a| + w |b|\big) \left( \frac{\sin (1 - w)\theta}{\sin \theta} \frac{a}{|a|}
       + \frac{\sin w \theta}{\sin \theta} \frac{b}{|b|} \right), \qquad \theta = \angle(a, b) \]

    Between vectors of one norm it is Shoemake's formula. Where no one great circle joins them, as one is zero or they point in
    opposite directions, it is the straight line.

    Arguments:
        start: \( a \), `(..., dim)`.
        end: \( b \), `(..., dim)`.
        weight: \( w \) in [0, 1], a number or of a shape that broadcasts with the `...`.

    Returns:
        `(..., dim)`; exactly `start` at 0 and `end` at 1.

    References:
        Animating Rotation with Quaternion Curves, Shoemake, 1985, https://doi.org/10.1145/325334.325242
        Sampling Generative Networks, White, 2016, https://arxiv.org/abs/1609.04468

    Example:
        >>> slerp(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0]), 0.5)
        tensor([2.1213, 2.1213])
    """
    w = torch.as_tensor(weight, dtype=start.dtype, device=start.device)[..., None]
    a, b = start.norm(dim=-1, keepdim=True), end.norm(dim=-1, keepdim=True)
    u, v = start / a, end / b
    apart, together = (u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True)
    turn = (
        2 * torch.atan2(apart, together) / torch.pi
    )  # of pi; an arc cosine would lose small angles
    norm = (1 - w) * a + w * b

    def share(of: Tensor) -> Tensor:
        """sin(of * angle) / sin(angle), which at an angle of 0 is `of`."""
        return of * torch.sinc(of * turn) / torch.sinc(turn)

    # nearer to opposite than this, rounding would choose the circle
    turns = (a > 0) & (b > 0) & (together > torch.finfo(start.dtype).eps ** 0.5)
    return (
        torch.where(turns, norm / a * share(1 - w), 1 - w) * start
        + torch.where(turns, norm / b * share(w), w) * end
    )


@torch.no_grad()
def interpolate(
    model: nn.Module,
    start: Tensor,
    end: Tensor,
    steps: int = 10,
    path: Literal["auto", "slerp", "linear"] = "auto",
) -> Tensor:
    r"""Decode the codes along a path from `start` to `end`, without gradients.

    Draws of a normal distribution in many dimensions lie near a sphere, and the middle of a straight line between two of them has a norm
    that is smaller by \( \sqrt 2 \): a code as the decoder has hardly seen one. So where the prior is `spherical` the path turns
    instead.

    Arguments:
        model: has `decode`.
        start: codes, `(n, dim)`.
        end: codes, `(n, dim)`.
        steps: points on each path, the ends included; 2 or more.
        path: `"slerp"`, `"linear"`, or `"auto"`: the first where the model's prior is spherical, else the second.

    Returns:
        `(n, steps, *shape)`.

    Raises:
        SettingError: the model cannot decode, the codes are not of one shape that it can decode, or a setting is wrong.

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
            f"start holds {len(start)} codes and end {len(end)}; a path needs one of each."
        )
    steps = whole(
        steps, f"steps = {show(steps)}: a path has its two ends, and points between them", 2
    )
    fits(len(start) * steps * start.shape[1], start, f"steps = {steps}: a path")
    if path not in _PATHS:
        raise SettingError(f"No path named {path!r}.{did_you_mean(str(path), _PATHS)}")
    if path == "auto":
        path = "slerp" if getattr(getattr(model, "prior", None), "spherical", False) else "linear"
    weight = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    start, end = start[:, None], end[:, None]
    codes = (
        slerp(start, end, weight) if path == "slerp" else torch.lerp(start, end, weight[:, None])
    )
    images: Tensor = decoder.decode(codes.flatten(0, 1))
    return images.unflatten(0, codes.shape[:2])


@torch.no_grad()
def latent_arithmetic(
    model: nn.Module, a: Tensor, b: Tensor, c: Tensor, neighbors: int = 8, radius: float = 0.25
) -> Tensor:
    r"""Decode "a without b, with c" (a smiling woman - a neutral woman + a neutral man), without gradients.

    \[ y = \bar a - \bar b + \bar c, \qquad y_i = y + \epsilon_i, \quad \epsilon_i \sim U[-s, s]^{d_z} \]

    Each term is the mean of the codes of some examples that share a property: that of a single one is seldom stable.

    Arguments:
        model: has `decode`.
        a: codes of examples, `(k, dim)`; so are `b` and `c`, each with a `k` of its own.
        b: what is taken away.
        c: what is added.
        neighbors: how many points near \( y \) to decode too; they show whether the result holds around it.
        radius: \( s \), how far they lie from it in each coordinate. The paper's prior is uniform on [-1, 1].

    Returns:
        `(1 + neighbors, *shape)`: the result, then its neighbors.

    Raises:
        SettingError: the model cannot decode, the codes are not of one dimension that it can decode, or a setting is wrong.

    References:
        Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks, Radford, Metz and Chintala,
        2015, https://arxiv.org/abs/1511.06434

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
        raise SettingError(f"radius = {show(radius)}: expected a finite number from 0 on.")
    fits(neighbors * a.shape[1], a, f"neighbors = {neighbors}: the sum")
    y = a.mean(dim=0, keepdim=True) - b.mean(dim=0, keepdim=True) + c.mean(dim=0, keepdim=True)
    noise = 2 * uniform(neighbors, y.shape[1], like=y) - 1
    images: Tensor = decoder.decode(torch.cat([y, (y + radius * noise).to(y.dtype)]))
    return images


def _decoding(model: nn.Module, **codes: Tensor) -> Any:
    """The model, once it is known that it can decode such codes."""
    if not hasattr(model, "decode"):
        raise SettingError(
            f"{type(model).__name__} has no decode(z), so nothing can be done with its codes."
        )
    for name, z in codes.items():
        if wrong := unfit(model, z, "tensor", name):
            raise SettingError(wrong)
    shapes = ", ".join(f"{name} {tuple(z.shape)}" for name, z in codes.items())
    if any(z.dim() != 2 or len(z) == 0 for z in codes.values()):
        raise SettingError(f"codes are (k, dim) with k >= 1; these are {shapes}.")
    dims = {z.shape[1] for z in codes.values()}
    own = getattr(model, "latent_dim", None)
    if len(dims) > 1 or own not in (None, *dims):
        needed = (
            "one dimension"
            if own is None
            else f"the {own} coordinates that {type(model).__name__} decodes"
        )
        raise SettingError(f"codes need {needed}; these are {shapes}.")
    return model
