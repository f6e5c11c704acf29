"""Checkpoints and weights on disk, each whole or absent. Nothing that is read back is a pickle."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Model
from genzoo.data.digest import of_tensors
from genzoo.errors import RunError
from genzoo.files import write_atomic
from genzoo.runs.verify import check_content, count

FORMAT = 2
"""The version of what is written; a newer one is refused by name. Version 1 had no digests."""

_SEAL = b"\ngenzoo sha256 "
"""What stands before the digest at the end of a checkpoint, of everything before it."""

_SEAL_SIZE = len(_SEAL) + 64


class Checkpoints:
    """The last `keep` checkpoints of a run, `step-000500.ckpt` and so on."""

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """The checkpoints there are, oldest first."""
        return sorted(self.folder.glob("step-*.ckpt"), key=step_of)

    def save(self, state: Mapping[str, Any]) -> Path:
        """Write a checkpoint whole, then forget the oldest."""
        path = self.folder / f"step-{state['round']:06d}.ckpt"
        write_atomic(path, lambda file: write_sealed({"format": FORMAT, **state}, file))
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path


def step_of(path: Path) -> int:
    """The step that a checkpoint's name states."""
    found = re.search(r"step-(\d+)", path.name)
    return int(found[1]) if found else -1


def write_sealed(state: Mapping[str, Any], path: Path) -> None:
    """Write a state and, behind it, its SHA-256, which a zip archive does not mind."""
    torch.save(dict(state), path)
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256")
        file.seek(0, os.SEEK_END)
        file.write(_SEAL + digest.hexdigest().encode())


def _check_seal(path: Path) -> bool:
    """Return whether a checkpoint has a digest, which then is that of its content.

    Raises:
        ValueError: it has another one.
    """
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - _SEAL_SIZE
        if left < 0:
            return False
        digest = hashlib.sha256()
        while left and (part := file.read(min(left, 1 << 20))):
            digest.update(part)
            left -= len(part)
        seal = file.read()
    if not seal.startswith(_SEAL):
        return False
    if seal[len(_SEAL) :] != digest.hexdigest().encode():
        raise ValueError("its content is not what was written: the digest differs")
    return True


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A checkpoint's state.

    Raises:
        RunError: it is damaged, not a checkpoint, or written by a newer genzoo.
    """
    try:
        sealed = _check_seal(path)
        state = torch.load(path, map_location=device, weights_only=True)
        version = count(state["format"], "format")
        if version <= FORMAT:
            if version > 1 and not sealed:
                raise ValueError("its digest is missing")
            check_content(state)
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise RunError(
            f"checkpoint {path} is damaged or not a checkpoint ({reason}). Move it away to go on from the one before."
        ) from error
    if version > FORMAT:
        raise RunError(
            f"checkpoint {path} has format {version}, this genzoo reads up to {FORMAT}; upgrade genzoo."
        )
    return state  # type: ignore[no-any-return]


def newest_whole(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that can be read, with its state; damaged ones are passed over with a warning."""
    for path in reversed(Checkpoints(folder).paths()):
        try:
            return path, read_checkpoint(path)
        except RunError as error:
            warnings.warn(str(error), stacklevel=3)
    return None


def exported(model: Model, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that a user needs: without what the model declares as training state, each tensor on its own."""
    return {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in state.items()
        if not _hidden(model, key)
    }


def _hidden(model: Model, key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in model.training_state)


def write_weights(path: Path, model: Model, state: Mapping[str, Tensor], round: int) -> None:
    """Export weights as safetensors, with a digest of them."""
    from safetensors.torch import save_file

    weights = exported(model, state)
    header = {"format": FORMAT, "round": round, "sha256": of_tensors(weights, FORMAT, round)}
    metadata = {"genzoo": json.dumps(header)}  # one key: safetensors does not keep an order
    write_atomic(path, lambda file: save_file(weights, file, metadata))


def read_weights(path: Path) -> tuple[dict[str, Tensor], int]:
    """Exported weights and the round that they are of.

    Raises:
        RunError: damaged, or written by a newer genzoo.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            version, round, digest = _header(file.metadata() or {})
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if version <= FORMAT and digest != (
            of_tensors(weights, version, round) if version > 1 else None
        ):
            raise ValueError("they are not what was written: the digest differs")
    except (
        SafetensorError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
    ) as error:
        raise RunError(
            f"weights {path} are damaged ({error}); remove the file, and the newest checkpoint is used."
        ) from error
    if version > FORMAT:
        raise RunError(
            f"weights {path} have format {version}, this genzoo reads up to {FORMAT}; upgrade genzoo."
        )
    return weights, round


def _header(metadata: Mapping[str, str]) -> tuple[int, int, Any]:
    """Return the format, round and digest that exported weights state; without any of them, 0, 0 and None.

    Raises:
        ValueError: they state something else.
    """
    if "genzoo" not in metadata:
        if any("sha256" in text for text in metadata.values()):
            raise ValueError("the header has no 'genzoo'")
        return 0, 0, None  # written by another program
    header = json.loads(metadata["genzoo"])
    return (
        count(header.get("format", 0), "format"),
        count(header.get("round", 0), "round"),
        header.get("sha256"),
    )


def load_weights(model: Model, weights: Mapping[str, Tensor], origin: Path) -> None:
    """Put weights into a model.

    Raises:
        RunError: they are another model's, or not finite; the model is untouched.
    """
    own = model.state_dict()
    needed = {key for key in own if not _hidden(model, key)}
    missing, foreign = sorted(needed - weights.keys()), sorted(weights.keys() - own.keys())
    unequal = [k for k in weights.keys() & own.keys() if weights[k].shape != own[k].shape]
    if missing or foreign or unequal:
        first = (missing or foreign or unequal)[0]
        what = (
            "lack"
            if missing
            else "have an unknown"
            if foreign
            else f"have shape {tuple(weights[first].shape)} for"
        )
        raise RunError(
            f"{origin} holds another model's weights than {type(model).__name__}: they {what} {first!r}."
        )
    if broken := not_finite(model, weights, nan_buffers(model)):
        names = broken[0] if len(broken) == 1 else f"{broken[0]} and {len(broken) - 1} more"
        raise RunError(
            f"{origin} holds weights that are not finite ({names}); move it away to use the checkpoint before it."
        )
    model.load_state_dict(dict(weights), strict=False)


def nan_buffers(model: Model) -> set[str]:
    """Return the names of the buffers in which NaN stands for something."""
    return {
        name
        for name, value in model.named_buffers()
        if value.is_floating_point() and bool(value.isnan().any())
    }


def not_finite(model: Model, weights: Mapping[str, Tensor], placeholders: set[str]) -> list[str]:
    """Return the names of weights with which a model computes nothing.

    Parameters must be finite. Buffers can hold infinities, as a mask does, but no NaN.

    Arguments:
        model: whose weights they are.
        weights: a state.
        placeholders: buffers in which NaN stands for something (see `nan_buffers`).
    """
    buffers = {name for name, _ in model.named_buffers()}
    floats = {
        name: value
        for name, value in weights.items()
        if value.is_floating_point() and name not in placeholders
    }
    return [
        k
        for k, v in floats.items()
        if bool(v.isnan().any() if k in buffers else not v.isfinite().all())
    ]
