"""The origin of a run's weights: fresh, from Python, or from another run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from genzoo.contract import Model
from genzoo.data.digest import of_tensors
from genzoo.errors import RunError
from genzoo.runs.checkpoint import exported, load_weights
from genzoo.runs.record import untouched_noise

if TYPE_CHECKING:
    from genzoo.runs.folder import RunFolder

__all__ = [
    "FRESH",
    "begin_from",
    "check_beginning",
    "kept_beginning",
    "model_fingerprint",
    "note_origin",
    "origin",
    "weights_origin",
]

FRESH = "fresh"
"""The origin of weights that were initialized with the seed of the run."""
_ORIGIN = "_genzoo_origin"


def model_fingerprint(model: Model) -> str:
    """Return the SHA-256 of the weights of a model that a run folder would store."""
    return of_tensors(exported(model, model.state_dict()))


def note_origin(model: nn.Module, **facts: Any) -> None:
    """Record the origin of a model on it: its `data`, its `run`, and the `sha256` in that run."""
    object.__setattr__(model, _ORIGIN, {name: fact for name, fact in facts.items() if fact})


def origin(model: nn.Module) -> dict[str, Any]:
    """Return the facts that `note_origin` recorded on a model, or an empty dictionary."""
    return dict(vars(model).get(_ORIGIN, {}))


def weights_origin(model: Model, *, is_fresh: bool) -> str | dict[str, Any]:
    """Return the origin of a model's weights, for the recipe of a run that begins with them.

    Arguments:
        model: the model before training.
        is_fresh: the weights were initialized with the seed of this run.

    Returns:
        `"fresh"`, or the hash of the weights. If a run stores the same weights, also its name.
    """
    if is_fresh:
        return FRESH
    digest, known = model_fingerprint(model), origin(model)
    run = {"run": known["run"]} if "run" in known and known.get("sha256") == digest else {}
    return {"sha256": digest, **run}


def begin_from(model: Model, source: str | Path) -> dict[str, Any]:
    """Load the weights of a run into a model, averaged ones if the run has them, else the last.

    Returns:
        The origin of the weights: their hash, the name of the run, and `"averaged"` or `"last"`.

    Raises:
        RunError: the source is not a run folder, or it has no weights or another architecture.
    """
    from genzoo.runs.folder import RunFolder

    folder = RunFolder.find(source)
    if not folder.exists():
        raise RunError(f"{folder.path} is not a run folder, so it has no weights to begin with.")
    with untouched_noise():
        trained = folder.model()
    weights = exported(trained, trained.state_dict())
    load_weights(model, weights, folder.path)
    is_averaged = folder.recipe().get("train", {}).get("ema") is not None
    which = "averaged" if is_averaged else "last"
    return {"sha256": of_tensors(weights), "run": folder.path.resolve().name, "which": which}


def kept_beginning(folder: RunFolder, requested: Mapping[str, Any] | str) -> Any:
    """Return the recorded origin of the weights of a run that is resumed.

    Arguments:
        folder: the run.
        requested: the origin of the weights that the user asks the run to begin with.

    Raises:
        RunError: the run began with other weights.
    """
    recorded = folder.facts().get("weights", "unknown")
    if isinstance(requested, Mapping) and "which" in requested:
        digest = recorded.get("sha256") if isinstance(recorded, Mapping) else recorded
        if digest != requested["sha256"]:
            raise RunError(
                f"{folder.path} did not begin with the {requested['which']} weights of "
                f"{requested['run']!r} (sha256 {requested['sha256'][:12]}...), but with "
                f"{str(digest)[:12]!r}; resume it without them, or choose another --out."
            )
    return recorded


def check_beginning(folder: RunFolder, requested: Mapping[str, Any] | str) -> None:
    """Check that a run without a checkpoint, which starts over, begins with the same weights.

    Raises:
        RunError: the run began with trained weights, and this call does not pass them again.
    """
    recorded = folder.facts().get("weights", FRESH)
    if not isinstance(recorded, Mapping):
        return
    if isinstance(requested, Mapping):
        is_same = requested["sha256"] == recorded.get("sha256")
        if is_same or "run" not in recorded:
            return
    source = "weights from Python"
    if "run" in recorded:
        source = f"the weights of run {recorded['run']!r}"
    raise RunError(
        f"{folder.path} began with {source} (sha256 {str(recorded.get('sha256'))[:12]}...) and has "
        "no checkpoint yet, so these weights are needed again: resume it with --from that run "
        "(init_from or the model in Python), or start again with --overwrite."
    )
