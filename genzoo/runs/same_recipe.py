"""Check that a resume continues the same run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genzoo.errors import RunError
from genzoo.runs.data_path import without_paths
from genzoo.runs.folder import RunFolder
from genzoo.runs.recipe import differences

__all__ = ["RESUMABLE_SETTINGS", "check_same_recipe"]

RESUMABLE_SETTINGS = frozenset(
    {
        "steps",
        "epochs",
        "device",
        "compile",
        "checkpoint_every",
        "keep_checkpoints",
        "log_every",
        "loggers",
        "sample_every",
        "patience",
        "gradient_norms",
        "resident",
        "workers",
    }
)
"""The training settings that a resume may change; any other would make it another run."""


def check_same_recipe(
    folder: RunFolder, recipe: Mapping[str, Any], *, allow_other_data: bool = False
) -> None:
    """Check that a recipe continues a run.

    Arguments:
        folder: the run.
        recipe: the recipe with which to resume it.
        allow_other_data: do not compare the data.

    Raises:
        RunError: the recipe differs in more than `RESUMABLE_SETTINGS`, the run has another
            format, or the folder was saved with `genzoo.save`.
    """
    old = folder.recipe()
    if "saved" in folder.facts():
        raise RunError(
            f"{folder.path} was saved with genzoo.save, so it has no training to resume; begin "
            "a new run with its weights: --from, or init_from in Python."
        )
    if allow_other_data:
        old = {**old, "data": dict(recipe["data"])}
    elif folder.fingerprint() is not None:
        # the data may have moved, and their fingerprint is compared
        old, recipe = ({**one, "data": without_paths(one["data"])} for one in (old, recipe))
    changed = differences(_fixed_part(old), _fixed_part(recipe))
    if changed:
        resumable = ", train.".join(sorted(RESUMABLE_SETTINGS))
        raise RunError(
            f"{folder.path} was trained by another recipe ({'; '.join(changed[:3])}); a resume "
            f"may change train.{resumable}. Resume with the same recipe, or choose another "
            "--out."
        )


def _fixed_part(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a recipe that a resume may not change."""
    train = {
        name: value for name, value in recipe["train"].items() if name not in RESUMABLE_SETTINGS
    }
    return {**recipe, "train": train}
