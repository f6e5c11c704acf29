"""A clamp with a gradient outside its bounds."""

from __future__ import annotations

from torch import Tensor

__all__ = ["bounded"]


def bounded(x: Tensor, low: float, high: float) -> Tensor:
    r"""Return x clamped to [low, high], with the gradient of x everywhere.

    \[ y = \min(\max(x, l), h), \qquad \frac{dy}{dx} = 1 \]

    Within the bounds this is x itself. A plain clamp has no gradient outside the bounds, so values
    that leave them could not return.

    Example:
        >>> import torch
        >>> x = torch.tensor([-50.0, 0.5, 1e30], requires_grad=True)
        >>> y = bounded(x, -30, 20)
        >>> y.tolist(), torch.autograd.grad(y.sum(), x)[0].tolist()
        ([-30.0, 0.5, 20.0], [1.0, 1.0, 1.0])
    """
    return x.clamp(low, high).detach() + (x - x.detach())
