"""Digests of tensors, which are equal for equal content on every platform."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["add_tensor", "describe", "of_tensors"]


def add_tensor(digest: Any, tensor: Tensor) -> None:
    """Add a tensor's values to a `hashlib` digest, row by row, in little-endian order."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    size = flat.element_size()
    data = flat.view(torch.uint8)
    if sys.byteorder == "big":
        data = data.view(-1, size).flip(1).reshape(-1)
    digest.update(data.numpy())


def describe(tensor: Any) -> str:
    """Return a tensor's or column's type and shape, as in "uint8 (1500, 1, 8, 8)"."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def of_tensors(tensors: Mapping[str, Tensor], *facts: object) -> str:
    """Return the SHA-256 of named tensors and of additional facts, in hexadecimal.

    Example:
        >>> of_tensors({"w": torch.zeros(2)}) == of_tensors({"w": torch.tensor([0.0, 0.0])})
        True
    """
    digest = hashlib.sha256(repr(facts).encode())
    for name in sorted(tensors):
        digest.update(f"\n{name!r} {describe(tensors[name])}\n".encode())
        add_tensor(digest, tensors[name])
    return digest.hexdigest()
