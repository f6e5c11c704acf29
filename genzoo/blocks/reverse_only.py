"""A guard for layers whose gradient is written by hand, in reverse mode only."""

from __future__ import annotations

import torch

from genzoo.errors import SettingError


def refuse_forward_mode(what: str) -> None:
    """Refuse forward-mode differentiation, under which an operator without a rule for it loses its tangent in silence.

    Raises:
        SettingError: this runs within `torch.func.jvp` or `torch.autograd.forward_ad.dual_level`.

    Example:
        >>> torch.func.jvp(lambda x: refuse_forward_mode("the layer"), (torch.ones(1),), (torch.ones(1),))
        Traceback (most recent call last):
        genzoo.errors.SettingError: the layer has no forward-mode derivative; use torch.autograd.grad or backward().
    """
    if not torch.compiler.is_compiling() and torch.autograd.forward_ad._current_level >= 0:
        raise SettingError(
            f"{what} has no forward-mode derivative; use torch.autograd.grad or backward()."
        )
