"""Where the weights of a run began: fresh, as they were handed in, or in another run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from genzoo.contract import Model
from genzoo.data.digest import add_tensor
from genzoo.errors import RunError
from genzoo.runs.checkpoint import exported, load_weights
from genzoo.runs.record import untouched_noise

if TYPE_CHECKING:
    from genzoo.runs.folder import RunFolder

FRESH = "fresh"
"""What a run says of weights that were drawn under its seed."""
_ORIGIN = "_genzoo_origin"


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of weights, over their names, dtypes, shapes and bytes, in the order of the names.

    Example:
        >>> fingerprint({"a": torch.zeros(2)}) == fingerprint({"a": torch.zeros(1, 2)})
        False
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        dtype = str(tensor.dtype).removeprefix("torch.")
        digest.update(f"{name}\n{dtype}\n{tuple(tensor.shape)}\n".encode())
        add_tensor(digest, tensor)
    return digest.hexdigest()


def model_fingerprint(model: Model) -> str:
    """Return the SHA-256 of the weights that a run folder would keep of a model."""
    return fingerprint(exported(model, model.state_dict()))


def note_origin(model: nn.Module, **facts: Any) -> None:
    """Write on a model what its settings do not say: the `data` it saw, the `run` it is of, the `sha256` it had there."""
    object.__setattr__(model, _ORIGIN, facts)


def origin(model: nn.Module) -> dict[str, Any]:
    """Return what was noted on a model; empty where nothing was."""
    return dict(vars(model).get(_ORIGIN, {}))


def beginning(model: Model, fresh: bool) -> str | dict[str, Any]:
    """Return where a model's weights are from: `"fresh"`, or their hash and, if they are still those of a run, its name.

    Arguments:
        model: before training.
        fresh: its weights were drawn under the seed of this run.
    """
    if fresh:
        return FRESH
    digest, known = model_fingerprint(model), origin(model)
    run = {"run": known["run"]} if "run" in known and known.get("sha256") == digest else {}
    return {"sha256": digest, **run}


def begin_from(model: Model, source: str | Path) -> dict[str, Any]:
    """Put the weights of a run into a model: the averaged ones if the run averages them, else the last ones.

    Returns:
        What the new run says of its beginning: the hash of the weights, the run's name, and which weights they are.

    Raises:
        RunError: it is not a run folder, has no weights, or has those of another architecture.
    """
    from genzoo.runs.folder import RunFolder

    folder = RunFolder(source)
    if not folder.path.is_dir():
        raise RunError(f"{folder.path} is not a run folder, so there are no weights to begin from.")
    with untouched_noise():
        trained = folder.model()
    weights = exported(trained, trained.state_dict())
    load_weights(model, weights, folder.path)
    averaged = folder.recipe().get("train", {}).get("ema") is not None
    which = "averaged" if averaged else "last"
    return {"sha256": fingerprint(weights), "run": folder.path.resolve().name, "which": which}


def kept_beginning(folder: RunFolder, begun: Mapping[str, Any] | str) -> Any:
    """Return what a run that is resumed says of its beginning, which going on does not change.

    Raises:
        RunError: the run began with other weights than those that it is asked to begin from.
    """
    kept = folder.facts().get("weights", "unknown")
    if isinstance(begun, Mapping) and "which" in begun:
        first = kept.get("sha256") if isinstance(kept, Mapping) else kept
        if first != begun["sha256"]:
            raise RunError(
                f"{folder.path} did not begin with the {begun['which']} weights of {begun['run']!r} (sha256 "
                f"{begun['sha256'][:12]}...), but with {str(first)[:12]!r}; resume it without them, or choose another --out."
            )
    return kept


def check_beginning(folder: RunFolder, begun: Mapping[str, Any] | str) -> None:
    """Check that a run without a checkpoint, which starts over, begins with the weights that it began with.

    Raises:
        RunError: the run began with trained weights, and they were not handed in again.
    """
    kept = folder.facts().get("weights", FRESH)
    if not isinstance(kept, Mapping) or (isinstance(begun, Mapping) and "run" not in kept):
        return
    if not isinstance(begun, Mapping) or begun["sha256"] != kept.get("sha256"):
        source = (
            f"the weights of run {kept['run']!r}"
            if "run" in kept
            else "weights that were handed in from Python"
        )
        raise RunError(
            f"{folder.path} began with {source} (sha256 {str(kept.get('sha256'))[:12]}...) and has no checkpoint yet, so "
            "they are needed again: resume it with --from that run (init_from or the model in Python), or start again "
            "with --overwrite."
        )
