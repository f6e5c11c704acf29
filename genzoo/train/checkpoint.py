"""Files that are whole or not there: atomic writes, checkpoints, exported weights. Nothing that is read back is a pickle."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Model
from genzoo.errors import RunError

FORMAT = 1
"""The version of what is written; a newer one is refused by name."""

TEMPORARY = ".genzoo-"
"""How the names of files begin that are not whole yet."""


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file in the same folder, then move it into place: a reader sees the old file or the new one.

    Raises:
        RunError: the disk is full or the folder cannot be written; what was there before is untouched.
    """
    name = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=f".{path.name}", dir=path.parent)
        os.close(handle)
        write(Path(name))
        with open(name, "rb+") as file:  # noqa: PTH123
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_UMASK)  # noqa: PTH101  mkstemp makes files private
        os.replace(name, path)  # noqa: PTH105
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
        raise RunError(f"{path} could not be written: {error}. What was there before is untouched.") from error
    finally:
        if name:
            with contextlib.suppress(OSError):
                Path(name).unlink()


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _read_umask()  # once, at import: reading it means setting it, which is not safe among threads


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


_CONTENT = {"round", "batches", "model", "ema", "averaged", "players", "reports", "seconds"}


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
        write_atomic(path, lambda file: torch.save({"format": FORMAT, **state}, file))
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path


def step_of(path: Path) -> int:
    """The step that a checkpoint's name states."""
    found = re.search(r"step-(\d+)", path.name)
    return int(found[1]) if found else -1


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A checkpoint's state.

    Raises:
        RunError: it is damaged, not a checkpoint, or written by a newer genzoo.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        version = int(state["format"])
        if version <= FORMAT and not state.keys() >= _CONTENT:
            raise KeyError(f"it lacks {', '.join(sorted(_CONTENT - state.keys()))}")
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise RunError(
            f"checkpoint {path} is damaged or not a checkpoint ({reason}). Move it away to go on from the one before."
        ) from error
    if version > FORMAT:
        raise RunError(f"checkpoint {path} has format {version}, this genzoo reads up to {FORMAT}; upgrade genzoo.")
    return state


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
    """Export weights as safetensors."""
    from safetensors.torch import save_file

    metadata = {"genzoo": json.dumps({"format": FORMAT, "round": round})}  # one key: safetensors does not keep an order
    write_atomic(path, lambda file: save_file(exported(model, state), file, metadata))


def read_weights(path: Path) -> tuple[dict[str, Tensor], int]:
    """Exported weights and the round that they are of.

    Raises:
        RunError: damaged, or written by a newer genzoo.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            written = json.loads((file.metadata() or {}).get("genzoo", "{}"))
            version, round = int(written.get("format", 0)), int(written.get("round", 0))
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  it is no mapping
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"weights {path} are damaged ({error}); remove the file, and the newest checkpoint is used.") from error
    if version > FORMAT:
        raise RunError(f"weights {path} have format {version}, this genzoo reads up to {FORMAT}; upgrade genzoo.")
    return weights, round


def load_weights(model: Model, weights: Mapping[str, Tensor], origin: Path) -> None:
    """Put weights into a model.

    Raises:
        RunError: they are another model's; the model is untouched.
    """
    own = model.state_dict()
    needed = {key for key in own if not _hidden(model, key)}
    missing, foreign = sorted(needed - weights.keys()), sorted(weights.keys() - own.keys())
    unequal = [k for k in weights.keys() & own.keys() if weights[k].shape != own[k].shape]
    if missing or foreign or unequal:
        first = (missing or foreign or unequal)[0]
        what = "lack" if missing else "have an unknown" if foreign else f"have shape {tuple(weights[first].shape)} for"
        raise RunError(f"{origin} holds another model's weights than {type(model).__name__}: they {what} {first!r}.")
    model.load_state_dict(dict(weights), strict=False)
