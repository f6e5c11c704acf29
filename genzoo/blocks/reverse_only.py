"""A guard for layers that implement their gradient by hand, in reverse mode only."""

from __future__ import annotations

import torch

from genzoo.errors import SettingError

__all__ = ["refuse_forward_mode"]


def refuse_forward_mode(what: str) -> None:
    """Refuse forward-mode differentiation.

    An operator without a forward-mode rule would silently lose its tangent.

    Arguments:
        what: the name of the layer, for the message.

    Raises:
        SettingError: the call is inside `torch.func.jvp` or
            `torch.autograd.forward_ad.dual_level`.

    Example:
        >>> x = torch.ones(1)
        >>> torch.func.jvp(lambda x: refuse_forward_mode("the layer"), (x,), (x,))
        Traceback (most recent call last):
        genzoo.errors.SettingError: the layer has no forward-mode derivative; use ...
    """
    if not torch.compiler.is_compiling() and torch.autograd.forward_ad._current_level >= 0:
        raise SettingError(
            f"{what} has no forward-mode derivative; use torch.autograd.grad or backward()."
        )
