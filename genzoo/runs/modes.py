"""Torch's modes around a run: a run depends on its settings alone, not on the notebook around it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def standard_modes(device: torch.device) -> Iterator[None]:
    """Train under torch's standard modes, and give the caller's back at the end.

    Gradients are recorded and autocast is off; tensors are made in float32 on the CPU unless the
    code says otherwise.
    """
    default = torch.get_default_device()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", device.type}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if default.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_single_precision())
        yield


_lock = threading.Lock()
_inside = 0
_callers = torch.float32


@contextmanager
def _single_precision() -> Iterator[None]:
    """Make float32 the default dtype, which all threads share, until the last of those that want it leaves."""
    global _inside, _callers
    with _lock:
        if not _inside:
            _callers = torch.get_default_dtype()
        _inside += 1
        torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                torch.set_default_dtype(_callers)
