"""The run folder: everything that one training run keeps on disk.

```
recipe.toml          the recipe as run: every default filled, and what it ran on
model.safetensors    the weights (and model-ema.safetensors where they were averaged)
checkpoints/         the last few checkpoints; each holds everything for an exact resume
metrics.jsonl        one line for each logged step
samples/             sheets of samples from fixed noise
curves.png           the logged losses
report/              results of `genzoo evaluate`
```
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from genzoo.__about__ import __version__
from genzoo.contract import Dataset, Model
from genzoo.errors import GenzooError, PluginError, RunError, SettingError
from genzoo.files import TEMPORARY_PREFIX, local_path
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.registry.records import config, init_record
from genzoo.runs.checkpoint import Checkpoints, load_weights, newest_whole, read_weights, step_of
from genzoo.runs.lock import LOCK, FolderLock
from genzoo.runs.recipe import Recipe, checked, differences, dumps, parse
from genzoo.runs.revision import revision
from genzoo.runs.weights import FRESH, model_fingerprint, note_origin

RESUMABLE_SETTINGS = frozenset(
    {
        "steps",
        "epochs",
        "device",
        "compile",
        "checkpoint_every",
        "keep_checkpoints",
        "log_every",
        "sample_every",
        "gradient_norms",
        "resident",
    }
)
"""The training settings that a resume may change; any other would make it another run."""

_WRITTEN = (
    "checkpoints/step-*.ckpt", "samples/step-*.png", "samples/step-*.txt", "report/evaluation.*", "model.safetensors",
    "model-ema.safetensors", "events.out.tfevents.*", "metrics.jsonl", "curves.png", "recipe.toml",
)  # fmt: skip


M = TypeVar("M", bound=Model)


@dataclass
class Run(Generic[M]):
    """What `fit` returns.

    Arguments:
        model: trained, in eval mode; with the averaged weights where `ema` was on.
        history: the log, a mapping a line: step, seconds, images_per_second, the losses, gradient norms where asked for.
        steps: rounds trained, in all.
        folder: the run folder, if one was asked for.
        was_complete: the folder held a complete run, so nothing was done.
    """

    model: M
    history: list[dict[str, float]] = field(repr=False)
    steps: int
    folder: Path | None = None
    was_complete: bool = False


class RunFolder:
    """A folder that holds one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = local_path(path, "run folder", RunError)
        self.lock: FolderLock | None = None
        """Held while training; its path can change if the folder is moved meanwhile."""

    @property
    def recipe_file(self) -> Path:
        """The recipe as run."""
        return self.path / "recipe.toml"

    @property
    def weights(self) -> Path:
        """The last weights."""
        return self.path / "model.safetensors"

    @property
    def averaged(self) -> Path:
        """The averaged weights."""
        return self.path / "model-ema.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """The folder of the pictures of samples."""
        return self.path / "samples"

    @property
    def report(self) -> Path:
        """The folder of what `genzoo evaluate` measured."""
        return self.path / "report"

    def check_writable(self, resume: bool, overwrite: bool) -> None:
        """Refuse to write where something is, unless told what to do with it.

        Raises:
            RunError: the folder holds a run and neither was asked for, or it holds something that is no run.
        """
        if resume and overwrite:
            raise RunError(
                f"{self.path}: resume goes on with what is there and overwrite removes it; ask for one of them."
            )
        if self.path.is_file():
            raise RunError(f"{self.path} is a file; a run needs a folder.")
        if self._is_empty():
            return
        if not self.is_run():
            raise RunError(
                f"{self.path} exists and is not a run folder (no recipe.toml that a run wrote); choose another --out."
            )
        if not resume and not overwrite:
            raise RunError(
                f"{self.path} already holds a run; go on with --resume (genzoo resume), or start again with --overwrite."
            )
        if overwrite:
            self._refuse_links()
        self._refuse_kinds()

    def _is_empty(self) -> bool:
        """Return whether the folder holds nothing, apart from what killed runs leave behind."""
        return not self.path.exists() or all(_leftover(path) for path in self.path.iterdir())

    def _refuse_links(self) -> None:
        """Refuse to remove files from a folder outside that a symbolic link leads to."""
        for folder in (self.checkpoints, self.samples, self.report):
            if folder.is_symlink():
                raise RunError(
                    f"{folder} is a symbolic link to {os.readlink(folder)}, and --overwrite removes "  # noqa: PTH115
                    "nothing outside the run folder; remove the link, or choose another --out."
                )

    def _refuse_kinds(self) -> None:
        """Refuse a folder where a run writes a file, and the reverse."""
        for file in (self.recipe_file, self.weights, self.averaged, self.path / "metrics.jsonl"):
            if file.is_dir():
                raise RunError(f"{file} is a folder, and a run writes a file there; move it away.")
        for folder in (self.checkpoints, self.samples):
            if folder.exists() and not folder.is_dir():
                raise RunError(f"{folder} is a file, and a run needs a folder there; move it away.")

    def is_remainder(self, recipe: str) -> bool:
        """Return whether the folder holds nothing but what is left of the run with this recipe."""
        try:
            if self.recipe_file.exists():
                return self.recipe_file.read_text(encoding="utf-8") == recipe
            names = {path.name for path in self.path.iterdir() if not _leftover(path)}
        except (OSError, ValueError):
            return False
        return names <= {"checkpoints", "samples", "metrics.jsonl", "curves.png"}

    def is_run(self) -> bool:
        """Whether a run wrote the folder's recipe; one that a person put there does not count."""
        try:
            return "run" in self._table()
        except (OSError, ValueError):
            return False

    def intact(self) -> bool:
        """Return whether the folder that is held is still there, with its recipe."""
        return self.lock is None or (self.lock.intact() and self.recipe_file.exists())

    def remove_artifacts(self) -> None:
        """Remove the files that a run wrote, and nothing else; the recipe last, so that it can be done again after a kill.

        Of a symbolic link the link is removed; what is behind one that leads to a folder stays.

        Raises:
            RunError: a file cannot be removed.
        """
        self._refuse_links()
        for pattern in _WRITTEN:
            for path in self.path.glob(pattern):
                if path.is_symlink() or not path.is_dir():
                    _remove(path)

    def remove_temporary(self) -> None:
        """Remove what killed writes left behind, except in folders outside that links lead to."""
        for folder in (self.path, self.checkpoints, self.samples, self.report):
            if folder != self.path and folder.is_symlink():
                continue
            for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
                if _leftover(path):
                    _remove(path)

    def _table(self) -> dict[str, Any]:
        """Return the recipe file as it stands.

        Raises:
            OSError: there is none, or it cannot be read.
            ValueError: it is damaged.
        """
        if self.recipe_file.exists() and not self.recipe_file.is_file():  # a pipe might never end
            raise ValueError("it is not a file")
        return parse(self.recipe_file.read_bytes(), "its content")

    def recipe(self) -> Recipe:
        """The recipe as run.

        Raises:
            RunError: there is none, or it is damaged.
        """
        try:
            table = self._table()
        except FileNotFoundError:
            raise RunError(f"{self.path} is not a run folder: it has no recipe.toml.") from None
        except OSError as error:
            raise RunError(f"{self.recipe_file} cannot be read: {error.strerror}.") from None
        except ValueError as error:
            raise RunError(f"{self.recipe_file} is damaged: {error}") from None
        table.pop("run", None)
        return checked(table, str(self.recipe_file), required=("model",))

    def facts(self) -> dict[str, Any]:
        """What the run says of itself beside its recipe; empty where there is none."""
        try:
            found = self._table().get("run", {})
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def fingerprint(self) -> dict[str, Any] | None:
        """Return the fingerprint of the data that the run was trained on, or None if it keeps none."""
        kept = self.facts().get("data")
        return kept if isinstance(kept, dict) else None

    def check_same_recipe(self, recipe: Mapping[str, Any], allow_other_data: bool = False) -> None:
        """Make sure that a resume goes on with the same run.

        Raises:
            RunError: the recipe differs where a resume may not; it says where. Or the folder was saved, not trained.
        """
        if "saved" in self.facts():
            raise RunError(
                f"{self.path} was saved with genzoo.save, so it holds no training to resume; "
                "begin a new run with its weights by --from, or init_from in Python."
            )
        old = self.recipe()
        if allow_other_data:
            old = {**old, "data": dict(recipe["data"])}
        kept = {
            **old,
            "train": {k: v for k, v in old["train"].items() if k not in RESUMABLE_SETTINGS},
        }
        new = {
            **recipe,
            "train": {k: v for k, v in recipe["train"].items() if k not in RESUMABLE_SETTINGS},
        }
        changed = differences(kept, new)
        if changed:
            raise RunError(
                f"{self.path} was init_record by another recipe ({'; '.join(changed[:3])}); a resume may change "
                f"train.{', train.'.join(sorted(RESUMABLE_SETTINGS))}. Resume with the same recipe, or choose another --out."
            )

    def recipe_text(
        self,
        recipe: Mapping[str, Any],
        device: torch.device,
        size: int,
        needs: Sequence[str] = (),
        weights: str | Mapping[str, Any] = FRESH,
        time: str = "started",
        fingerprint: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the recipe as TOML, with what it runs on and `needs`, where its `weights` began, and its data's fingerprint.

        Raises:
            SettingError: a setting that TOML cannot hold.
        """
        found = {
            "genzoo": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "device": torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{device.type} ({platform.machine()})",
            "processes": size,
            "needs": list(needs),
            "git": revision(),
            time: datetime.datetime.now(datetime.UTC).isoformat(
                timespec="microseconds"
            ),  # tells runs apart
            "weights": weights,
            "data": fingerprint,
        }
        return dumps({**{k: v for k, v in recipe.items() if v}, "run": found})

    def model(self, averaged: bool = True) -> Model:
        """The trained model, in eval mode: the averaged weights where there are, else the last ones.

        Of a run that was killed, the newest whole checkpoint's, with a warning.
        """
        model: Model = self._built(self.recipe()["model"], "models")
        file = self.averaged if averaged and self.averaged.exists() else self.weights
        weights, round = read_weights(file) if file.exists() else ({}, -1)
        paths = Checkpoints(self.checkpoints).paths()
        if paths and step_of(paths[-1]) > round:
            found = newest_whole(self.checkpoints)
            if found is not None and found[1]["round"] > round:
                file, state = found
                weights, round = (
                    (state["ema"] if averaged and state["ema"] is not None else state["model"]),
                    state["round"],
                )
                warnings.warn(
                    f"{self.path} did not finish; these are the weights of step {round:,}.",
                    stacklevel=3,
                )
        if round < 0:
            raise RunError(
                f"{self.path} has no weights and no whole checkpoint yet; train it with --resume."
            )
        model.to(
            dtype=next(
                (value.dtype for value in weights.values() if value.is_floating_point()), None
            )
        )
        load_weights(model, weights, file)
        note_origin(
            model,
            data=self.recipe().get("data"),
            run=self.path.resolve().name,
            sha256=model_fingerprint(model),
        )
        return model.eval()

    def dataset(self) -> Dataset:
        """The data that the run was trained on.

        Raises:
            RunError: they were handed in from Python and are not in the folder, or a saved model does not say them.
        """
        table = self.recipe()["data"]
        if not table:
            raise RunError(
                f"{self.path} does not say which data it was trained on; save the model with them, as in "
                'genzoo.save(model, folder, data="digits").'
            )
        if table["name"] == IN_MEMORY:
            raise RunError(
                f"{self.path} was trained on arrays handed in from Python; hand them in again, or name a data set."
            )
        return self._built(table, "datasets")

    def _built(self, table: Mapping[str, Any], kind: str) -> Any:
        """A part of the run, or an error that says what the run needs."""
        try:
            return build(table, kind)
        except (SettingError, PluginError) as error:
            advice, end = self._advice(), "" if str(error).endswith((".", "?")) else "."
            family = PluginError if isinstance(error, PluginError) else SettingError
            raise family(f"{error}{end} {advice}" if advice else str(error)) from error.__cause__

    def _advice(self) -> str:
        """What the run says it needs, and how to get it: words for a person to judge, which nothing here acts on."""
        try:
            said = self._table().get("run", {}).get("needs", [])
        except (OSError, ValueError, AttributeError):
            return ""
        needs = (
            [text for text in said if isinstance(text, str) and text.isprintable()][:20]
            if isinstance(said, list)
            else []
        )
        packages = [
            found.expand(r"\1==\2") for text in needs if (found := _PACKAGE.fullmatch(text))
        ]
        install = (
            f" If you trust where it comes from: pip install {' '.join(dict.fromkeys(packages))}."
            if packages
            else ""
        )
        return f"The run says that it needs {'; '.join(needs)}.{install}" if needs else ""


_PACKAGE = re.compile(r"\w+ '[^']*' from ([A-Za-z0-9][\w.-]*) ([\w.+!]+)", re.ASCII)
"""A need that a package index may meet."""


def requirements(model: Model, dataset: Dataset | None) -> list[str]:
    """What must be installed or registered, beside genzoo, to build a model with all its parts, and its data, again."""
    found: dict[str, None] = {}
    for part in (*model.modules(), dataset):
        with contextlib.suppress(
            GenzooError
        ):  # what has no name: a layer, data handed in from Python
            how = init_record(part)
            found[registry(how.kind).registration(how.name).requirement] = None
    return [need for need in found if need]


IN_MEMORY = "in-memory"
"""What a recipe calls data that were handed in as arrays."""


def data_table(dataset: Dataset) -> dict[str, Any]:
    """Return the table that builds a data set again, or for arrays from Python one that says so."""
    try:
        return config(dataset)
    except SettingError:
        return {"name": IN_MEMORY, "shape": dataset.shape, "rows": dataset.rows()}


def _leftover(path: Path) -> bool:
    """Return whether a file is the temporary one of a write that was killed, or a lock file."""
    named = path.name.startswith(TEMPORARY_PREFIX) or path.name == LOCK
    return named and (path.is_symlink() or not path.is_dir())


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be removed: {error.strerror}.") from error
