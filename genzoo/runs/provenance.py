"""The `[run]` table of a recipe: the versions, the device, and the origin of a run."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from genzoo.__about__ import __version__
from genzoo.runs.format import FORMAT
from genzoo.runs.recipe import dumps
from genzoo.runs.revision import revision
from genzoo.runs.weights import FRESH

__all__ = ["recipe_text"]


def recipe_text(
    recipe: Mapping[str, Any],
    device: torch.device,
    size: int,
    *,
    needs: Sequence[str] = (),
    weights: str | Mapping[str, Any] = FRESH,
    time: str = "started",
    fingerprint: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
    skipped: Sequence[str] = (),
) -> str:
    """Return a recipe as TOML, with a `[run]` table.

    Arguments:
        recipe: the recipe with every default filled in.
        device: the device of the run.
        size: the number of processes.
        needs: the requirements for building the model again (see `genzoo.runs.requirements`).
        weights: the origin of the weights (see `genzoo.runs.weights`).
        time: the name of the entry for the time, `"started"` or `"saved"`.
        fingerprint: the fingerprint of the data.
        class_names: the names of the labels of the data.
        skipped: the names of the files of the data that could not be read.

    Raises:
        SettingError: TOML cannot hold a setting.
    """
    device_name = f"{device.type} ({platform.machine()})"
    if device.type == "cuda":
        device_name = torch.cuda.get_device_name(device)
    # microseconds, so that the time identifies the run
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    run = {
        "format": FORMAT,
        "genzoo": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": device_name,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": size,
        "needs": list(needs),
        "git": revision(),
        time: now,
        "weights": weights,
        "class_names": list(class_names) or None,
        "skipped": list(skipped) or None,
        "data": fingerprint,
    }
    sections = {name: table for name, table in recipe.items() if table}
    return dumps({**sections, "run": run})
