"""Checkpoints and weights on disk. Each file is complete or missing, and loading runs no code."""

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
from genzoo.contract.standardize import MEAN, SCALE, standardize
from genzoo.data.digest import of_tensors
from genzoo.errors import RunError
from genzoo.files import write_atomic
from genzoo.runs.format import FORMAT, check_version
from genzoo.runs.verify import check_content, count

__all__ = [
    "Checkpoints",
    "exported",
    "load_weights",
    "nan_buffers",
    "newest_whole",
    "not_finite",
    "read_checkpoint",
    "read_weights",
    "step_of",
    "write_sealed",
    "write_weights",
]

_SEAL = b"\ngenzoo sha256 "
"""The mark before the digest at the end of a checkpoint; the digest covers everything before it."""

_SEAL_SIZE = len(_SEAL) + 64


class Checkpoints:
    """The checkpoints of a run, `step-000500.ckpt` and so on.

    Arguments:
        folder: the folder of the checkpoints.
        keep: the number of checkpoints to keep.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        return sorted(self.folder.glob("step-*.ckpt"), key=step_of)

    def save(self, state: Mapping[str, Any]) -> Path:
        """Write a complete checkpoint, then remove the oldest ones."""
        path = self.folder / f"step-{state['round']:06d}.ckpt"
        write_atomic(path, lambda file: write_sealed({"format": FORMAT, **state}, file))
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path


def step_of(path: Path) -> int:
    """Return the step in the name of a checkpoint, or -1."""
    match = re.search(r"step-(\d+)", path.name)
    return int(match[1]) if match else -1


def write_sealed(state: Mapping[str, Any], path: Path) -> None:
    """Write a state and, after it, its SHA-256. A zip archive may be followed by other bytes."""
    torch.save(dict(state), path)
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256")
        file.seek(0, os.SEEK_END)
        file.write(_SEAL + digest.hexdigest().encode())


def _check_seal(path: Path) -> bool:
    """Return whether a checkpoint has a digest, once the digest is checked.

    Raises:
        ValueError: the digest is not that of the content.
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
        raise ValueError("its content has changed since it was written: the digest differs")
    return True


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return the state in a checkpoint.

    Raises:
        RunError: the checkpoint is damaged, is not a checkpoint, or has another format.
    """
    try:
        is_sealed = _check_seal(path)
        state = torch.load(path, map_location=device, weights_only=True)
        version = count(state["format"], "format")
        if version == FORMAT:
            if not is_sealed:
                raise ValueError("its digest is missing")
            check_content(state)
    # torch raises many types for a damaged file
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise RunError(
            f"checkpoint {path} is damaged or not a checkpoint ({reason}). Move it away to resume "
            "from the one before."
        ) from error
    check_version(f"checkpoint {path}", version)
    return state  # type: ignore[no-any-return]


def newest_whole(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest readable checkpoint with its state; warn about those that are not."""
    for path in reversed(Checkpoints(folder).paths()):
        try:
            return path, read_checkpoint(path)
        except RunError as error:
            warnings.warn(str(error), stacklevel=3)
    return None


def exported(model: Model, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of the weights that a user needs: all but the model's `training_state`."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
        if not _is_training_state(model, name)
    }


def _is_training_state(model: Model, key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in model.training_state)


def write_weights(
    path: Path, model: Model, state: Mapping[str, Tensor], round: int, *, half: bool = False
) -> None:
    """Export weights as safetensors, with their digest.

    Arguments:
        path: the file to write.
        model: the model that the weights belong to.
        state: the weights by name.
        round: the number of rounds after which the model had these weights.
        half: store float32 parameters as float16. `read_weights` returns them as float32.
    """
    from safetensors.torch import save_file

    weights = exported(model, state)
    header: dict[str, Any] = {"format": FORMAT, "round": round}
    if half:
        parameters = {name for name, _ in model.named_parameters()}
        narrowed = {
            name: _narrowed(value) if name in parameters else value
            for name, value in weights.items()
        }
        header["narrowed"] = [name for name in weights if narrowed[name] is not weights[name]]
        weights = narrowed
    header["sha256"] = of_tensors(weights, FORMAT, round)
    # one key, because safetensors does not keep an order
    metadata = {"genzoo": json.dumps(header)}
    write_atomic(path, lambda file: save_file(weights, file, metadata))


def _narrowed(value: Tensor) -> Tensor:
    """Return a float32 tensor as float16; any other, or one with larger values, as it is."""
    if value.dtype != torch.float32:
        return value
    narrow = value.half()
    return narrow if bool(narrow.isfinite().all()) else value


def read_weights(
    path: Path,
    *,
    name: Path | None = None,
    hint: str = "remove the file to use the newest checkpoint instead",
) -> tuple[dict[str, Tensor], int]:
    """Return exported weights and their round. Weights from other programs have round 0.

    Float32 weights that were stored as float16 are float32 again.

    Arguments:
        path: the file.
        name: the path that messages name instead, if the file is a temporary copy.
        hint: what to do if the file is damaged.

    Raises:
        RunError: the weights are damaged, or have another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file.metadata() or {})
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header is None:
            return weights, 0
        version, round, digest, narrowed = header
        if version == FORMAT and digest != of_tensors(weights, version, round):
            raise ValueError("they have changed since they were written: the digest differs")
        weights |= {name: weights[name].float() for name in narrowed}
    except (
        SafetensorError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
    ) as error:
        raise RunError(f"weights {name or path} are damaged ({error}); {hint}.") from error
    check_version(f"weights file {name or path}", version)
    return weights, round


def _header(metadata: Mapping[str, str]) -> tuple[int, int, Any, list[str]] | None:
    """Return the header of exported weights, or None for those of another program.

    It consists of the format, the round, the digest, and the names of the float32 weights that are
    stored as float16.

    Raises:
        ValueError: the header is damaged.
    """
    if "genzoo" not in metadata:
        if any("sha256" in text for text in metadata.values()):
            raise ValueError("the header has no 'genzoo'")
        return None
    header = json.loads(metadata["genzoo"])
    version = count(header.get("format", 0), "format")
    round = count(header.get("round", 0), "round")
    return version, round, header.get("sha256"), list(header.get("narrowed", ()))


def load_weights(model: Model, weights: Mapping[str, Tensor], origin: Path) -> None:
    """Load weights into a model. Weights of a standardized model standardize it, too.

    Arguments:
        model: the model; if this raises, it is unchanged.
        weights: the weights by name.
        origin: the file or folder that they come from, for error messages.

    Raises:
        RunError: the weights belong to another model, or are not finite.
    """
    state = model.state_dict()
    is_standardized = MEAN in weights and SCALE in weights and not model.is_standardized
    if is_standardized:
        state |= dict.fromkeys((MEAN, SCALE), torch.zeros(model.shape))
    needed = {name for name in state if not _is_training_state(model, name)}
    missing = sorted(needed - weights.keys())
    unknown = sorted(weights.keys() - state.keys())
    common = weights.keys() & state.keys()
    unequal = [name for name in common if weights[name].shape != state[name].shape]
    problem = ""
    if missing:
        problem = f"lack {missing[0]!r}"
    elif unknown:
        problem = f"have an unknown {unknown[0]!r}"
    elif unequal:
        problem = f"have shape {tuple(weights[unequal[0]].shape)} for {unequal[0]!r}"
    if missing and {*missing} <= {MEAN, SCALE} and not unknown and not unequal:
        raise RunError(
            f"{origin} holds weights of a model that is not standardized, and this "
            f"{type(model).__name__} is; leave out standardize = true, or begin without these "
            "weights."
        )
    if problem:
        raise RunError(
            f"{origin} holds another model's weights than {type(model).__name__}: they {problem}."
        )
    if broken := not_finite(model, weights, nan_buffers(model)):
        names = broken[0] if len(broken) == 1 else f"{broken[0]} and {len(broken) - 1} more"
        raise RunError(
            f"{origin} holds weights that are not finite ({names}); move it away to use the "
            "checkpoint before it."
        )
    if is_standardized:
        standardize(model, weights[MEAN], weights[SCALE])
    model.load_state_dict(dict(weights), strict=False)


def nan_buffers(model: Model) -> set[str]:
    """Return the names of the buffers in which NaN is a placeholder."""
    return {
        name
        for name, value in model.named_buffers()
        if value.is_floating_point() and bool(value.isnan().any())
    }


def not_finite(model: Model, weights: Mapping[str, Tensor], placeholders: set[str]) -> list[str]:
    """Return the names of weights with which a model cannot compute.

    Parameters must be finite. Buffers can hold infinities, as a mask does, but no NaN.

    Arguments:
        model: the model that the weights belong to.
        weights: the weights by name.
        placeholders: buffers in which NaN is a placeholder (see `nan_buffers`).
    """
    buffers = {name for name, _ in model.named_buffers()}
    broken: list[str] = []
    for name, value in weights.items():
        if not value.is_floating_point() or name in placeholders:
            continue
        bad = value.isnan() if name in buffers else ~value.isfinite()
        if bool(bad.any()):
            broken.append(name)
    return broken
