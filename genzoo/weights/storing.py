"""Store a trained run as an entry of pretrained weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from genzoo import plots
from genzoo.errors import RunError
from genzoo.files import TEMPORARY_PREFIX, local_path, write_atomic
from genzoo.metrics.evaluate import evaluate
from genzoo.runs.card import write_card
from genzoo.runs.checkpoint import read_weights, write_weights
from genzoo.runs.folder import RunFolder
from genzoo.runs.portable import portable_recipe
from genzoo.runs.seal import is_sealed, seal
from genzoo.train.pictures import picture
from genzoo.weights.entry import Entry

__all__ = ["store"]


def store(
    run: str | Path,
    folder: str | Path,
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
        run: the folder of a run, whose data are on this machine.
        folder: a new folder. Its name becomes the name of the entry, such as `vae.digits`.
        metrics: as in `genzoo.evaluate`; an empty list measures nothing.
        n: the largest number of held-out examples, and of samples.
        license: the license of the weights, an identifier of the Hugging Face Hub.
        overwrite: replace the entry that is in the folder.

    Returns:
        The entry.

    Raises:
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
    if target.exists() and not (overwrite and is_sealed(target)):
        way_out = "set overwrite to replace it" if is_sealed(target) else "choose another folder"
        raise RunError(f"{target} exists already; {way_out}.")
    stage = RunFolder(target.absolute().parent / f"{TEMPORARY_PREFIX}{uuid4().hex[:12]}")
    try:
        _write(source, stage, target.name, metrics, n, license)
        if target.exists():
            shutil.rmtree(target)
        stage.path.rename(target)
    except OSError as error:
        raise RunError(f"{target} could not be written: {error}.") from error
    finally:
        shutil.rmtree(stage.path, ignore_errors=True)
    return Entry(target)


def _write(
    source: RunFolder, stage: RunFolder, name: str, metrics: Any, n: int, license: str
) -> None:
    """Write the files of an entry into a folder."""
    checkpoint: Literal["best", "last"] = "best" if source.best.exists() else "last"
    trained = source.model(checkpoint=checkpoint)
    files = (source.best,) if checkpoint == "best" else (source.averaged, source.weights)
    round = next((read_weights(file)[1] for file in files if file.exists()), 0)
    recipe = portable_recipe(source.recipe_file.read_bytes())
    write_atomic(stage.recipe_file, lambda path: path.write_text(recipe, encoding="utf-8"))
    write_weights(stage.weights, trained, trained.state_dict(), round, half=True)
    model, data = stage.model(), source.dataset()
    if metrics is None or len(metrics):
        evaluation = evaluate(model, data, metrics, n=n)
        text = evaluation.to_json()
        report = stage.report / "evaluation.json"
        write_atomic(report, lambda path: path.write_text(text, encoding="utf-8"))
    shown = picture(model, data, seed=0)
    if shown is not None and not isinstance(shown, list):
        write_atomic(stage.path / "samples.png", lambda path: plots.save(shown, path))
    write_card(stage, model, name=name, license=license, source=name, trained_in=source)
    seal(stage.path)
