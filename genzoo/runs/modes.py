"""Set modes within a block: torch's global modes during a run, and eval mode of a model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

__all__ = ["eval_mode", "standard_modes"]


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode within a block, and restore the mode of each module after it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def standard_modes(device: torch.device) -> Iterator[None]:
    """Run a block under torch's standard modes, and restore the caller's modes afterward.

    Gradients are recorded and autocast is off. New tensors are float32 and on the CPU unless the
    code asks for another dtype or device.
    """
    default = torch.get_default_device()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        for device_type in {"cpu", device.type}:
            stack.enter_context(torch.autocast(device_type, enabled=False))
        if default.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_single_precision())
        yield


_lock = threading.Lock()
_active_blocks = 0
_callers_dtype = torch.float32


@contextmanager
def _single_precision() -> Iterator[None]:
    """Make float32 the default dtype until the last active block ends.

    The default dtype is shared by all threads, so blocks in several threads may overlap.
    """
    global _active_blocks, _callers_dtype
    with _lock:
        if not _active_blocks:
            _callers_dtype = torch.get_default_dtype()
        _active_blocks += 1
        torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        with _lock:
            _active_blocks -= 1
            if not _active_blocks:
                torch.set_default_dtype(_callers_dtype)
