"""Store a trained run as an entry of pretrained weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from genzoo import plots
from genzoo.data.arrays import as_dataset
from genzoo.errors import RunError, SettingError
from genzoo.files import TEMPORARY_PREFIX, local_path, write_atomic, write_text
from genzoo.metrics.evaluate import evaluate
from genzoo.runs.bundle import write_model
from genzoo.runs.card import write_card
from genzoo.runs.folder import RunFolder
from genzoo.runs.seal import is_sealed, seal
from genzoo.train.pictures import picture
from genzoo.weights.entry import Entry

__all__ = ["store"]


def store(
    run: str | Path,
    folder: str | Path,
    data: Any = None,
    *,
    metrics: str | Sequence[Any] | None = None,
    n: int = 10_000,
    license: str = "",
    overwrite: bool = False,
) -> Entry:
    """Store the weights of a run as an entry: in half precision, measured, and with a card.

    The entry holds the weights that `sample` uses: those of the best evaluation if the run has a
    monitor, else the averaged ones if it has an average, else the last. The measurements and the
    samples on the card are those of the stored weights. Absolute paths and user names are removed.

    Arguments:
        run: the folder of a run.
        folder: a new folder. Its name becomes the name of the entry, such as `vae.digits`.
        data: the data to measure on, as in `genzoo.evaluate`. By default, those of the run.
        metrics: as in `genzoo.evaluate`; an empty list measures nothing.
        n: the largest number of held-out examples, and of samples.
        license: the license of the weights, an identifier of the Hugging Face Hub.
        overwrite: replace the entry that is in the folder.

    Returns:
        The entry.

    Raises:
        SettingError: the run is a pack.
        RunError: the folder exists, or the run has no weights.

    Example:
        >>> import tempfile, genzoo
        >>> base = tempfile.mkdtemp()
        >>> run = genzoo.fit("vae", "digits", f"{base}/run", steps=2)
        >>> entry = genzoo.weights.store(run.folder, f"{base}/vae.digits", metrics=[])
        >>> entry.load().sample(2).shape
        torch.Size([2, 1, 8, 8])
    """
    source, target = RunFolder.find(run), local_path(folder, "folder", RunError)
    if source.path.is_file():
        raise SettingError(f"{source.path} is a pack; store the run folder that it was made from.")
    if target.exists() and not (overwrite and is_sealed(target)):
        way_out = "set overwrite to replace it" if is_sealed(target) else "choose another folder"
        raise RunError(f"{target} exists already; {way_out}.")
    stage = RunFolder(target.absolute().parent / f"{TEMPORARY_PREFIX}{uuid4().hex[:12]}")
    try:
        model = write_model(source, stage, half=True)
        dataset = source.dataset() if data is None else as_dataset(data)
        if metrics is None or len(metrics):
            text = evaluate(model, dataset, metrics, n=n).to_json()
            write_text(stage.report / "evaluation.json", text)
        shown = picture(model, dataset, seed=0)
        if shown is not None and not isinstance(shown, list):
            write_atomic(stage.path / "samples.png", lambda path: plots.save(shown, path))
        name = target.name
        write_card(stage, model, name=name, license=license, source=name, trained_in=source)
        seal(stage.path)
        if target.exists():
            shutil.rmtree(target)
        stage.path.rename(target)
    except OSError as error:
        raise RunError(f"{target} could not be written: {error}.") from error
    finally:
        shutil.rmtree(stage.path, ignore_errors=True)
    return Entry(target)
