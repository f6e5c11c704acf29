"""Files of weights that the user names, checked before use."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from genzoo.errors import DataError
from genzoo.files import local_path

__all__ = ["assign", "read_weights"]

_SHOWN = 3
"""The largest number of weights that a message lists."""


def read_weights(path: str, network: str) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a file, in float32, and the first 8 digits of its SHA-256.

    Nothing in the file is executed.

    Arguments:
        path: a file of `safetensors`, or of `torch.save` with a state dict.
        network: the name of the network, for messages.

    Raises:
        DataError: the file does not exist, or holds something other than a state dict.
    """
    file = local_path(path, f"{network}: weights", DataError)
    if not file.is_file():
        raise DataError(
            f"{network}: {file} does not exist; download the weights, and name their file, as in "
            f'{{name = "{network}", weights = "FILE"}}.'
        )
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{network}: {file} cannot be read as weights ({reason}).") from error
    if not isinstance(state, Mapping) or not all(isinstance(x, Tensor) for x in state.values()):
        raise DataError(
            f"{network}: {file} holds a {type(state).__name__}; expected a state dict, name -> "
            "tensor."
        )
    weights = {
        name: x.to(torch.float32) if x.is_floating_point() else x for name, x in state.items()
    }
    return weights, _sha256(file)[:8]


def assign(module: nn.Module, weights: Mapping[str, Tensor], path: str, network: str) -> None:
    """Give a module on the meta device its weights, freeze it, and put it in eval mode.

    Arguments:
        module: the module.
        weights: name -> tensor, with the names and shapes of the module's state dict.
        path: the file of the weights, for messages.
        network: the name of the network, for messages.

    Raises:
        DataError: a name is missing or unknown, or a tensor has another shape.
    """
    expected = {name: tuple(x.shape) for name, x in module.state_dict().items()}
    missing = [name for name in expected if name not in weights]
    unknown = [name for name in weights if name not in expected]
    reshaped = [
        f"{name} {tuple(weights[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    problems = {"lacks": missing, "has the unknown weights": unknown, "has": reshaped}
    texts = [f"{verb} {_listed(names)}" for verb, names in problems.items() if names]
    if texts:
        raise DataError(
            f"{network}: {path} does not hold the weights of this network: it "
            f"{'; it '.join(texts)}. Take the published file."
        )
    module.load_state_dict(weights, assign=True)
    module.requires_grad_(requires_grad=False).eval()


def _listed(names: list[str]) -> str:
    """Return the first names, and the number of the others."""
    rest = f", and {len(names) - _SHOWN} others" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
