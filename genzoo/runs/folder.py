"""The run folder: everything that one training run keeps on disk.

```
recipe.toml          the recipe with every default filled in, and the versions and device of the run
model.safetensors    the weights (and model-ema.safetensors if they were averaged)
best.safetensors     the weights of the best evaluation, if `train.monitor` or `patience` was set
checkpoints/         the last few checkpoints; each holds everything for an exact resume
metrics.jsonl        one line for each logged step
samples/             pictures of samples from fixed noise
curves.png           the logged losses
report/              the results of `genzoo evaluate`
card.md              the model card
```

A folder of pretrained weights is a run folder, too. It has the final weights, the recipe, the card,
and `sha256.json`, with the hashes of its files.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from genzoo.contract import Dataset, Model
from genzoo.errors import PluginError, RunError, SettingError, did_you_mean
from genzoo.files import local_path
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.runs.checkpoint import Checkpoints, load_weights, newest_whole, read_weights, step_of
from genzoo.runs.data_path import rerooted
from genzoo.runs.format import check_format
from genzoo.runs.hub import PREFIX, download
from genzoo.runs.lock import FolderLock
from genzoo.runs.portable import recipe_digest
from genzoo.runs.recipe import Recipe, checked, parse
from genzoo.runs.requirements import IN_MEMORY, install_advice
from genzoo.runs.seal import check_seal, is_sealed
from genzoo.runs.weights import model_fingerprint, note_origin

__all__ = ["RunFolder"]


class RunFolder:
    """A folder that holds one run.

    Arguments:
        path: the folder; it need not exist yet.

    Example:
        >>> folder = RunFolder.find("vae.digits")
        >>> folder.recipe()["model"]["name"], folder.weights.name
        ('vae', 'model.safetensors')
    """

    def __init__(self, path: str | Path) -> None:
        self.path = local_path(path, "run folder", RunError)
        self.lock: FolderLock | None = None
        """Held during training. Its path changes if the folder is moved during that time."""

    @classmethod
    def find(cls, run: str | Path) -> RunFolder:
        """Return the folder of a run for reading: by name, on the Hugging Face Hub, or at a path.

        A path that ends in `.zip` is a pack (see `genzoo.pack`).

        If a folder has the name of pretrained weights, the weights win; write `./name` for the
        folder.

        Raises:
            SettingError: nothing is at the path, which is almost the name of pretrained weights.
            PluginError: the weights belong to a plugin that cannot be used.
            RunError: the pretrained weights are damaged, or the path cannot be that of a folder.
        """
        if isinstance(run, str) and run.startswith(PREFIX):
            return cls(download(run))
        names = registry("weights")
        if isinstance(run, str) and run in names:
            entry: Any = names.get(run)
            if not hasattr(entry, "folder"):
                raise PluginError(
                    f"weights {run!r} are registered as a {type(entry).__name__}; register "
                    "genzoo.weights.Entry(folder)."
                )
            entry.check()
            return cls(entry.folder)
        folder = cls(run)
        if folder.path.suffix.lower() == ".zip" and folder.path.is_file():
            from genzoo.runs.pack import Pack

            return Pack(folder.path)
        if not folder.path.exists() and len(folder.path.parts) == 1:
            hint = did_you_mean(str(run), names.available())
            if names.registrations_of(str(run)) or "Did you mean" in hint:
                names.registration(str(run))  # raises an error that says why
        return folder

    def exists(self) -> bool:
        """Return whether the folder exists."""
        return self.path.is_dir()

    @property
    def recipe_file(self) -> Path:
        """The recipe of the run."""
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
    def best(self) -> Path:
        """The weights of the best evaluation on the validation rows."""
        return self.path / "best.safetensors"

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
        """The folder of the results of `genzoo evaluate`."""
        return self.path / "report"

    def is_run(self) -> bool:
        """Return whether a run wrote the recipe. A recipe from a person does not count."""
        try:
            return "run" in self._table()
        except (OSError, ValueError):
            return False

    def intact(self) -> bool:
        """Return whether the locked folder still exists, with its recipe."""
        return self.lock is None or (self.lock.intact() and self.recipe_file.exists())

    def _table(self) -> dict[str, Any]:
        """Return the content of the recipe file.

        Raises:
            OSError: it does not exist, or cannot be read.
            ValueError: it is damaged.
        """
        # reading a pipe might never end
        if self.recipe_file.exists() and not self.recipe_file.is_file():
            raise ValueError("it is not a file")
        return parse(self.recipe_file.read_bytes(), "its content")

    def recipe(self) -> Recipe:
        """Return the recipe of the run.

        Raises:
            RunError: the recipe is missing, damaged, or of another format.
        """
        try:
            table = self._table()
        except FileNotFoundError:
            reason = "has no recipe.toml" if self.path.is_dir() else "does not exist"
            raise RunError(f"{self.path} is not a run folder: it {reason}.") from None
        except NotADirectoryError:
            raise RunError(
                f"{self.path} is a file; expected a run folder. A pack can be loaded, but not "
                "resumed or packed again."
            ) from None
        except OSError as error:
            raise RunError(f"{self.recipe_file} cannot be read: {error.strerror}.") from None
        except ValueError as error:
            raise RunError(f"{self.recipe_file} is damaged: {error}") from None
        check_format(self.path, table.pop("run", None))
        return checked(table, str(self.recipe_file), required=("model",))

    def facts(self) -> dict[str, Any]:
        """Return the `[run]` table of the recipe: the versions, device, and origin of the run."""
        try:
            table = self._table().get("run", {})
        except (OSError, ValueError):
            return {}
        return table if isinstance(table, dict) else {}

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the labels 0, 1, ... of the data; empty if the run has none."""
        recorded = self.facts().get("class_names")
        return tuple(map(str, recorded)) if isinstance(recorded, list) else ()

    def fingerprint(self) -> dict[str, Any] | None:
        """Return the fingerprint of the training data, or None if the run does not keep it."""
        recorded = self.facts().get("data")
        return recorded if isinstance(recorded, dict) else None

    def history(self) -> list[dict[str, float]]:
        """Return the log, without lines that cannot be read; empty if there is none."""
        lines = []
        file = self.path / "metrics.jsonl"
        for text in file.read_bytes().splitlines() if file.is_file() else ():
            with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
                # NaN and infinities are texts
                line = json.loads(text).items()
                lines.append({name: float(x) if isinstance(x, str) else x for name, x in line})
        return lines

    def model(
        self, *, averaged: bool = True, checkpoint: Literal["last", "best"] = "last"
    ) -> Model:
        """Return the trained model, in eval mode.

        The last weights are the averaged ones if the run has them. For a run that was killed, they
        come from its newest readable checkpoint, with a warning.

        Arguments:
            averaged: prefer the averaged weights.
            checkpoint: `"last"`, or `"best"` for the weights of the best evaluation on validation
                rows.

        Raises:
            RunError: the folder is not a run, or has no such weights that can be read.
            SettingError: `checkpoint` is another word.
        """
        return self.trained(checkpoint, averaged=averaged)[0]

    def trained(self, checkpoint: str, *, averaged: bool = True) -> tuple[Model, int]:
        """Return the trained model, and the round after which it had its weights."""
        if checkpoint not in ("last", "best"):
            raise SettingError(f'checkpoint = {checkpoint!r}: expected "last" or "best".')
        if is_sealed(self.path):
            check_seal(self.path)
        recipe = self.recipe()
        model: Model = self._built(recipe["model"], "models")
        is_best = checkpoint == "best"
        weights, file, round = self._best_weights() if is_best else self._last(averaged)
        dtypes = (value.dtype for value in weights.values() if value.is_floating_point())
        model.to(dtype=next(dtypes, None))
        load_weights(model, weights, file)
        note_origin(
            model,
            data=recipe.get("data"),
            class_names=self.class_names(),
            run=self.path.resolve().name,
            sha256=model_fingerprint(model),
            recipe=recipe_digest(recipe),
        )
        return model.eval(), round

    def _best_weights(self) -> tuple[Mapping[str, Tensor], Path, int]:
        """Return the weights of the best evaluation, their file, and their round."""
        if is_sealed(self.path):
            raise RunError(
                f"{self.path} holds stored weights, which have one checkpoint; leave out "
                "checkpoint (--checkpoint)."
            )
        if not self.best.exists():
            raise RunError(
                f"{self.path} has no best.safetensors; train with train.monitor, such as "
                'train.monitor="frechet", to keep the best weights.'
            )
        weights, round = read_weights(self.best)
        return weights, self.best, round

    def _last(self, averaged: bool) -> tuple[Mapping[str, Tensor], Path, int]:  # noqa: FBT001
        """Return the last weights, their file, and their round."""
        file = self.averaged if averaged and self.averaged.exists() else self.weights
        weights, round = read_weights(file) if file.exists() else ({}, -1)
        paths = Checkpoints(self.checkpoints).paths()
        if paths and step_of(paths[-1]) > round:
            newest = newest_whole(self.checkpoints)
            if newest is not None and newest[1]["round"] > round:
                file, state = newest
                round = state["round"]
                has_average = averaged and state["ema"] is not None
                weights = state["ema"] if has_average else state["model"]
                warnings.warn(
                    f"{self.path} did not finish; these are the weights of step {round:,}.",
                    stacklevel=5,
                )
        if round < 0:
            raise RunError(
                f"{self.path} has no weights and no readable checkpoint yet; train it with "
                "--resume."
            )
        return weights, file, round

    def dataset(self, data_path: str | Path | None = None) -> Dataset:
        """Return the training data of the run.

        Arguments:
            data_path: the new path of the data, if they have moved.

        Raises:
            SettingError: `data_path` is given for data without a path.
            RunError: the data came from Python and are not in the folder, or the folder does not
                name them.
        """
        table = self.recipe()["data"]
        if not table:
            raise RunError(
                f"{self.path} does not name the data it was trained on; save the model with them, "
                'as in genzoo.save(model, folder, data="digits").'
            )
        if table["name"] == IN_MEMORY:
            raise RunError(
                f"{self.path} was trained on arrays from Python; pass them again, or name a "
                "dataset."
            )
        if data_path is not None:
            table = rerooted(table, data_path)
        return self._built(table, "datasets")

    def _built(self, table: Mapping[str, Any], kind: str) -> Any:
        """Build a part of the run, or raise an error that lists the requirements of the run."""
        try:
            return build(table, kind)
        except (SettingError, PluginError) as error:
            message, advice = str(error), install_advice(self.facts().get("needs"))
            if advice:
                end = "" if message.endswith((".", "?")) else "."
                message = f"{message}{end} {advice}"
            family = PluginError if isinstance(error, PluginError) else SettingError
            raise family(message) from error.__cause__
