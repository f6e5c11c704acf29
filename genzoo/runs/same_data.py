"""Refuse to go on with a run, or to measure it, on other data than it was trained on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from genzoo.contract import Dataset
from genzoo.data.fingerprint import changes, fingerprint
from genzoo.errors import RunError, SettingError
from genzoo.registry.build import build
from genzoo.registry.records import config
from genzoo.runs.folder import RunFolder


def check_same_data(
    folder: RunFolder,
    dataset: Dataset,
    split: str,
    columns: Sequence[str],
    prints: Mapping[str, Any] | None = None,
) -> None:
    """Check that what is read of a data set is what the run had; say so if the run cannot tell.

    Arguments:
        folder: the run.
        dataset: the data at hand.
        split: `"train"` to go on, `"test"` to measure.
        columns: those that are read. A resume depends on the training columns that the model
            reads, and on no others.
        prints: the fingerprint of `dataset`, if it is known already.

    Raises:
        RunError: they differ; the message names each column and setting.
    """
    kept = folder.fingerprint()
    if kept is None:
        warnings.warn(
            f"{folder.path} keeps no fingerprint of its data, so they cannot be compared.",
            stacklevel=2,
        )
        return
    prints = fingerprint(dataset) if prints is None else prints
    if found := changes(kept, prints, split, columns):
        use = "resume with" if split == "train" else "evaluate on"
        unsteady = _unsteady(dataset, prints, split, columns)
        raise RunError(
            f"{folder.path} was trained on other data: {'; '.join(found[:3])}.{unsteady} "
            f"To {use} these all the same, ask for it with allow_other_data (--allow-other-data)."
        )


def _unsteady(
    dataset: Dataset, prints: Mapping[str, Any], split: str, columns: Sequence[str]
) -> str:
    """Return a sentence about a data set that is another one each time it is built."""
    try:
        again = build(config(dataset), "datasets")
    except SettingError:  # handed in from Python
        return ""
    if not changes(prints, fingerprint(again), split, columns):
        return ""
    return f" Data set {dataset.name!r} differs each time it is built; give it a fixed seed."
