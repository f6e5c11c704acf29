"""Bundle a run: the files with which others can load it, sealed, and without absolute paths."""

from __future__ import annotations

import shutil
from pathlib import Path

from genzoo.contract import Model
from genzoo.files import write_text
from genzoo.runs.card import write_card
from genzoo.runs.checkpoint import write_weights
from genzoo.runs.folder import RunFolder
from genzoo.runs.portable import portable_recipe, portable_text
from genzoo.runs.seal import seal

__all__ = ["bundle", "write_model"]


def bundle(
    source: RunFolder, folder: Path, *, name: str = "", license: str = "", address: str = ""
) -> None:
    """Write the bundle of a run: weights, recipe, card, measurements, samples, and hashes.

    Arguments:
        source: the run.
        folder: a new folder.
        name: the title of the card.
        license: the license of the weights, an identifier of the Hugging Face Hub.
        address: the argument of `genzoo.load` that loads the bundle.

    Raises:
        RunError: the run has no weights, or a file cannot be written.
    """
    target = RunFolder(folder)
    model = write_model(source, target)
    report = source.report / "evaluation.json"
    # the report of a run measures its last weights
    if report.exists() and not source.best.exists():
        write_text(target.report / report.name, portable_text(report.read_text(encoding="utf-8")))
    sheets = sorted(source.samples.glob("step-*.png"))
    if sheets:
        shutil.copyfile(sheets[-1], folder / "samples.png")
    write_card(target, model, name=name, license=license, source=address, trained_in=source)
    seal(folder)


def write_model(source: RunFolder, target: RunFolder, *, half: bool = False) -> Model:
    """Write the recipe of a run and the weights that `sample` uses; return the written model.

    The weights are those of the best evaluation if the run has a monitor, else the averaged ones if
    it has an average, else the last.
    """
    checkpoint = "best" if source.best.exists() else "last"
    trained, round = source.trained(checkpoint)
    write_text(target.recipe_file, portable_recipe(source.recipe_file.read_bytes()))
    write_weights(target.weights, trained, trained.state_dict(), round, half=half)
    return target.model()
