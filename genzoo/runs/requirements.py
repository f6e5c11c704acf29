"""The plugins, files, and data that a run needs, in addition to genzoo, to be opened again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from genzoo.contract import Dataset, Model
from genzoo.errors import GenzooError, SettingError
from genzoo.registry.lookup import registry
from genzoo.registry.records import config, init_record, recorded
from genzoo.registry.registration import Registration

__all__ = [
    "IN_MEMORY",
    "data_table",
    "defined_in_python",
    "install_advice",
    "plugin_files",
    "requirements",
]

IN_MEMORY = "in-memory"
"""The dataset name that a recipe uses for arrays from Python."""

_PACKAGE = re.compile(r"\w+ '[^']*' from ([A-Za-z0-9][\w.-]*) ([\w.+!]+)", re.ASCII)
"""A requirement that a package index may have."""

_MOST_REQUIREMENTS = 20
"""The number of requirements in a message; a recipe from a stranger may list any number."""


def requirements(model: Model, dataset: Dataset | None) -> list[str]:
    """Return the requirements for building a model, all its parts, and its data."""
    texts = [registration.requirement for registration in _registrations(model, dataset)]
    return [text for text in dict.fromkeys(texts) if text]


def plugin_files(model: Model, dataset: Dataset | None) -> list[str]:
    """Return the plugin files of a model and its data, as the user named them."""
    files = [registration.file for registration in _registrations(model, dataset)]
    return [*dict.fromkeys(file.label for file in files if file is not None)]


def defined_in_python(model: Model, dataset: Dataset | None) -> bool:
    """Return whether the running program registered a part, so `genzoo resume` cannot find it."""
    return any(registration.origin == "here" for registration in _registrations(model, dataset))


def _registrations(model: Model, dataset: Dataset | None) -> Iterator[Registration]:
    for part in (*model.modules(), dataset):
        # a part without a record, such as a layer, has no name; do not search all registries for it
        if recorded(part) is None:
            continue
        # a class that is not registered has no name either
        with contextlib.suppress(GenzooError):
            init = init_record(part)
            yield registry(init.kind).registration(init.name)


def data_table(dataset: Dataset) -> dict[str, Any]:
    """Return the table that builds a dataset again; for arrays, a placeholder."""
    try:
        return config(dataset)
    except SettingError:
        return {"name": IN_MEMORY, "shape": dataset.shape, "rows": dataset.rows()}


def install_advice(needs: Any) -> str:
    """Return a sentence about the requirements that a run lists; empty if it lists none.

    The text comes from the run folder, so only a person may act on it.

    Arguments:
        needs: the entry `needs` of the run, whatever it holds.
    """
    if not isinstance(needs, Sequence) or isinstance(needs, str):
        return ""
    texts = [text for text in needs if isinstance(text, str) and text.isprintable()]
    texts = texts[:_MOST_REQUIREMENTS]
    if not texts:
        return ""
    matches = [match for text in texts if (match := _PACKAGE.fullmatch(text))]
    packages = dict.fromkeys(match.expand(r"\1==\2") for match in matches)
    advice = f"The run says that it needs {'; '.join(texts)}."
    if packages:
        advice += f" If you trust where it comes from: pip install {' '.join(packages)}."
    return advice
