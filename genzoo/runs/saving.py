"""Save a model that was trained elsewhere, or changed after training, as a run folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from genzoo.contract import Model
from genzoo.data.arrays import as_dataset
from genzoo.data.fingerprint import fingerprint
from genzoo.errors import RunError, SettingError
from genzoo.files import TEMPORARY_PREFIX, write_text
from genzoo.runs.checkpoint import write_weights
from genzoo.runs.folder import RunFolder
from genzoo.runs.lock import FolderLock
from genzoo.runs.overwrite import check_writable, remove_artifacts, remove_temporary
from genzoo.runs.provenance import recipe_text
from genzoo.runs.record import record
from genzoo.runs.requirements import data_table, requirements
from genzoo.runs.weights import origin, weights_origin

__all__ = ["save"]

_HEAD = "# Saved with genzoo.save; genzoo did not train these weights in this folder.\n"


def save(model: Model, folder: str | Path, data: Any = None, *, overwrite: bool = False) -> Path:
    """Save a model as a run folder.

    `genzoo.load`, `genzoo sample`, and `genzoo evaluate` read it like the folder of a training
    run. It holds `model.safetensors` and `recipe.toml`, whose `[run]` table records when the model
    was saved.

    Arguments:
        model: an instance of a registered model, trained anywhere. It is not changed.
        folder: a new folder, or one that holds a run if `overwrite` is set.
        data: the training data, as in `genzoo.fit`. By default, the data of the run that the model
            comes from, if any. Without data, commands that need them raise an error.
        overwrite: replace the run that is in the folder.

    Returns:
        The folder.

    Raises:
        SettingError: the model or a part of it is not registered, or no settings build the model
            as it is now.
        RunError: the folder is in use or cannot be written. Its content then stays unchanged.

    Example:
        >>> import tempfile, torch, genzoo
        >>> model = genzoo.load("independent", shape=(4,)).fit(torch.eye(4))
        >>> folder = genzoo.save(model, tempfile.mkdtemp() + "/floor")
        >>> genzoo.load(folder).log_prob(torch.eye(4)).shape
        torch.Size([4])
    """
    if not isinstance(model, Model):
        raise SettingError(
            f"genzoo.save takes a genzoo.Model, not a {type(model).__name__}; use torch.save for "
            "other modules."
        )
    run = RunFolder(folder)
    lock = FolderLock(run.path)
    try:
        # a new folder needs no lock, because it is moved into place complete, in one step
        if run.path.is_dir():
            lock.acquire()
        check_writable(run, resume=False, overwrite=overwrite)
        return _save(model, run, data)
    finally:
        lock.release()


def _save(model: Model, run: RunFolder, data: Any) -> Path:
    dataset = None if data is None else as_dataset(data)
    known = origin(model)
    if dataset is not None:
        known = {"data": data_table(dataset), "class_names": dataset.class_names}
    table = known.get("data")
    recipe = {"model": record(model)}
    if table:
        recipe["data"] = table
    text = recipe_text(
        recipe,
        model.reference_tensor.device,
        1,
        needs=requirements(model, dataset),
        weights=weights_origin(model, is_fresh=False),
        time="saved",
        fingerprint=None if dataset is None else fingerprint(dataset),
        class_names=known.get("class_names", ()),
    )
    stage = RunFolder(run.path.absolute().parent / f"{TEMPORARY_PREFIX}{uuid4().hex[:12]}")
    # both files are complete before anything in the folder changes
    try:
        write_text(stage.recipe_file, _HEAD + text)
        write_weights(stage.weights, model, model.state_dict(), 0)
        _move(stage, run)
    except OSError as error:
        raise RunError(f"{run.path} could not be written: {error}.") from error
    finally:
        shutil.rmtree(stage.path, ignore_errors=True)
    return run.path


def _move(stage: RunFolder, run: RunFolder) -> None:
    """Move a staged folder to its path, in one step if the path is free; replace an old run."""
    if not run.path.exists():
        stage.path.rename(run.path)
        return
    remove_artifacts(run)
    remove_temporary(run)
    stage.recipe_file.replace(run.recipe_file)
    stage.weights.replace(run.weights)
