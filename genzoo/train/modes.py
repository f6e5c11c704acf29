"""Torch's modes around a run: a run depends on its settings alone, not on the notebook around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def standard_modes(device: torch.device) -> Iterator[None]:
    """Train under torch's standard modes, and give the caller's back at the end.

    Gradients are recorded and autocast is off; tensors are made in float32 on the CPU unless the
    code says otherwise.
    """
    dtype, default = torch.get_default_dtype(), torch.get_default_device()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", device.type}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if default.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        stack.callback(torch.set_default_dtype, dtype)
        yield
