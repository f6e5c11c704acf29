"""Check that a run is resumed or evaluated on the data that it was trained on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from genzoo.contract import Dataset
from genzoo.data.fingerprint import changes, fingerprint
from genzoo.errors import RunError, SettingError, show
from genzoo.registry.build import build
from genzoo.registry.records import config
from genzoo.runs.folder import RunFolder

__all__ = ["check_same_data"]


def check_same_data(
    folder: RunFolder,
    dataset: Dataset,
    split: str,
    columns: Sequence[str],
    prints: Mapping[str, Any] | None = None,
    *,
    advice: str | None = None,
) -> None:
    """Check that a dataset has the recorded fingerprint; warn if the run has none.

    Arguments:
        folder: the run.
        dataset: the dataset to resume with or to evaluate on.
        split: `"train"` or `"validation"` for a resume, `"test"` for an evaluation.
        columns: the columns to compare. A resume depends only on the training columns that the
            model reads.
        prints: the fingerprint of `dataset`, if it was computed before.
        advice: the way to use the new data anyway, for the message, such as `"pass x"`.

    Raises:
        RunError: the data differ. The message names the first columns and settings that do.
    """
    recorded = folder.fingerprint()
    if recorded is None:
        warnings.warn(
            f"{folder.path} has no fingerprint of its data, so the data cannot be compared.",
            stacklevel=2,
        )
        return
    prints = fingerprint(dataset) if prints is None else prints
    if changed := changes(recorded, prints, split, columns):
        ways = {
            "test": f"name them: data = {show(str(folder.path))} (--data {folder.path})",
            "train": "set allow_other_data (--allow-other-data)",
        }
        use = "evaluate on" if split == "test" else "resume with"
        unsteady = _unsteady(dataset, prints, split, columns)
        raise RunError(
            f"{folder.path} was trained on other data: {'; '.join(changed[:3])}.{unsteady} "
            f"To {use} the new data anyway, {advice or ways.get(split, ways['train'])}."
        )


def _unsteady(
    dataset: Dataset, prints: Mapping[str, Any], split: str, columns: Sequence[str]
) -> str:
    """Return a sentence about a dataset that differs each time it is built, else an empty text."""
    try:
        again = build(config(dataset), "datasets")
    # the dataset was passed from Python, so it cannot be built again
    except SettingError:
        return ""
    if not changes(prints, fingerprint(again), split, columns):
        return ""
    return f" Dataset {dataset.name!r} differs each time it is built; give it a fixed seed."
