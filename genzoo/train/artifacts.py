"""The files that a run leaves behind: recipe, checkpoints, log, pictures, and exported weights."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genzoo.contract import Dataset, LoggedRun, Logger, Model
from genzoo.data.fingerprint import fingerprint
from genzoo.errors import RunError
from genzoo.files import write_atomic, write_text
from genzoo.plots import curves, save
from genzoo.plots.theme import can_plot
from genzoo.runs.card import write_card
from genzoo.runs.checkpoint import Checkpoints, read_weights, write_weights
from genzoo.runs.folder import RunFolder
from genzoo.runs.overwrite import remove_artifacts, remove_temporary
from genzoo.runs.provenance import recipe_text
from genzoo.runs.recipe import Recipe
from genzoo.runs.record import record
from genzoo.runs.requirements import data_table, requirements
from genzoo.runs.result import Best, Run
from genzoo.runs.same_data import check_same_data
from genzoo.runs.same_recipe import check_same_recipe
from genzoo.runs.weights import check_beginning, kept_beginning, model_fingerprint, note_origin
from genzoo.train.averaging import Average
from genzoo.train.engine import Engine
from genzoo.train.frozen import frozen_patterns
from genzoo.train.history import Line, restore
from genzoo.train.keep import reclaim
from genzoo.train.loggers import Loggers
from genzoo.train.pictures import picture
from genzoo.train.settings import Settings, recorded_schedule

__all__ = ["Artifacts", "complete_recipe"]


class Artifacts:
    """The files of one run. Without a folder, the log stays in memory and nothing is written.

    Arguments:
        folder: the run folder, or None.
        dataset: the training data.
        engine: the device and processes; only the main process writes.
        keep_checkpoints: the number of checkpoints to keep.
        loggers: the receivers of the log and the pictures.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        dataset: Dataset,
        engine: Engine,
        keep_checkpoints: int,
        loggers: Sequence[Logger] = (),
    ) -> None:
        self.folder, self.dataset, self.engine = folder, dataset, engine
        self.loggers = Loggers(loggers if engine.main else (), engine.device)
        self.history: list[Line] = []
        """The lines of the log."""
        self._total = self._last_step = 0
        """The last step that an earlier call of `fit` logged."""
        self.last_checkpoint: Path | None = None
        self.recipe: Recipe = {}
        self.recipe_text = ""
        self._keep_checkpoints = keep_checkpoints
        self._moved_error = ""
        """The error to raise after the next checkpoint, if the run moved to another folder."""

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints in the run folder, wherever it is now."""
        assert self.folder is not None
        return Checkpoints(self.folder.checkpoints, self._keep_checkpoints)

    def open(
        self,
        recipe: Recipe,
        model: Model,
        *,
        resume: bool,
        allow_other_data: bool,
        beginning: str | Mapping[str, Any],
    ) -> Path | None:
        """Check that the run in the folder can be resumed, and prepare the text of the recipe.

        Nothing is written or removed here.

        Arguments:
            recipe: the settings of this run.
            model: the model before training.
            resume: continue the run that is in the folder.
            allow_other_data: resume even if the training data differ.
            beginning: the origin of the model's weights (see `genzoo.runs.weights`).

        Returns:
            The checkpoint to resume from, or None to start at step 0.

        Raises:
            RunError: the run has another recipe, other data, or other initial weights.
        """
        assert self.folder is not None
        self.recipe = recipe
        data_fingerprint = fingerprint(self.dataset)
        checkpoint = None
        if resume and self.folder.recipe_file.exists():
            check_same_recipe(self.folder, recipe, allow_other_data=allow_other_data)
            if not allow_other_data:
                splits = ["train"]
                recorded = self.folder.fingerprint() or {}
                if recipe["train"]["validation"] and (
                    self.dataset.validation or recorded.get("validation")
                ):
                    splits.append("validation")
                for split in splits:
                    check_same_data(
                        self.folder, self.dataset, split, model.inputs, prints=data_fingerprint
                    )
            checkpoint = next(reversed(self.checkpoints.paths()), None)
            if checkpoint is None:
                check_beginning(self.folder, beginning)
            else:
                beginning = kept_beginning(self.folder, beginning)
        if resume and checkpoint is None and self.engine.main:
            warnings.warn(
                f"{self.folder.path} has no checkpoint to resume from; training starts at step 0.",
                stacklevel=3,
            )
        self.recipe_text = recipe_text(
            recipe,
            self.engine.device,
            self.engine.size,
            needs=requirements(model, self.dataset),
            weights=beginning,
            fingerprint=data_fingerprint,
            class_names=self.dataset.class_names,
            skipped=self.dataset.skipped,
        )
        return checkpoint

    def begin(self, round: int, total: int, *, overwrite: bool) -> None:
        """Remove replaced files, restore the log up to a round, and write the recipe."""
        assert self.folder is not None
        # every process has read the folder before one of them writes
        self.engine.barrier()
        if self.engine.main:
            if overwrite:
                remove_artifacts(self.folder)
            remove_temporary(self.folder)
            self.history, self._last_step = restore(self.folder.path / "metrics.jsonl", round)
            if round < total:
                self._write_recipe()
        self.engine.barrier()

    def rewrite_if_lost(self, round: int) -> bool:
        """Write recipe and log again if the run folder was removed or moved; return whether it was.

        The run is complete again, on every rank, when the caller saves a checkpoint.
        """
        if self.folder is None:
            return False
        is_lost = self.engine.main and not self.folder.intact()
        if not self.engine.any(is_lost):
            return False
        if self.engine.main:
            lost_path = self.folder.path
            obstacle = reclaim(self.folder, self.recipe_text)
            self._write_recipe()
            self.loggers.reopen(self._logged_run(round))
            if obstacle:
                self._moved_error = (
                    f"{lost_path} was removed or moved during training, and {obstacle}. Training "
                    f"stopped at step {round:,}. {self.folder.path} holds the run; resume it with "
                    f"--resume --out {self.folder.path}."
                )
            else:
                warnings.warn(
                    f"step {round:,}: {lost_path} was removed or moved; the run was written there "
                    "again, without earlier checkpoints and pictures.",
                    stacklevel=2,
                )
        return True

    def open_loggers(self, round: int, total: int) -> None:
        """Open the loggers, before the first step of this call of `fit`."""
        self._total = total
        self.loggers.open(self._logged_run(round))

    def add_line(self, line: Line) -> None:
        """Add a line to the log."""
        self.history.append(line)
        values = {name: value for name, value in line.items() if name != "step"}
        self.loggers.log(int(line["step"]), values)

    def _logged_run(self, round: int) -> LoggedRun:
        folder = None if self.folder is None else self.folder.path
        name = folder.resolve().name if folder else self.recipe.get("model", {}).get("name", "run")
        last_step = int(self.history[-1]["step"]) if self.history else 0
        return LoggedRun(
            name=name,
            folder=folder,
            step=round,
            last_step=max(self._last_step, last_step),
            total=self._total,
            # loggers may change what they receive
            recipe=copy.deepcopy(self.recipe),
            history=tuple(map(dict, self.history)),
        )

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint.

        Raises:
            RunError: the run had to move to another folder; the checkpoint is written before.
        """
        if self.engine.main:
            self.last_checkpoint = self.checkpoints.save(state)
            if self._moved_error:
                raise RunError(self._moved_error)
        self.engine.barrier()

    def save_picture(self, model: Model, round: int, seed: int) -> None:
        """Write a picture of samples, from the same noise at every call."""
        if self.folder is None or not self.engine.main or not self.folder.intact():
            return
        content = picture(model, self.dataset, seed)
        if content is None:
            return
        suffix = ".txt" if isinstance(content, list) else ".png"
        path = self.folder.samples / f"step-{round:06d}{suffix}"
        write_atomic(path, lambda file: save(content, file))
        self.loggers.picture(round, path)

    def export(self, model: Model, average: Average | None, round: int) -> None:
        """Write the weights that `load` reads, a plot of the log, and the model card."""
        if self.folder is None or not self.engine.main:
            return
        folder, lines = self.folder, self.history
        if average:
            write_weights(folder.averaged, model, average.module.state_dict(), round)
        write_weights(folder.weights, model, model.state_dict(), round)
        if can_plot() and lines:
            write_atomic(folder.path / "curves.png", lambda path: save(curves(lines), path))
        write_card(folder, average.module if average else model)

    def save_best(self, model: Model, round: int) -> None:
        """Write the weights of the best evaluation so far."""
        if self.folder is not None and self.engine.main:
            write_weights(self.folder.best, model, model.state_dict(), round)

    def is_exported(self, average: Average | None, round: int) -> bool:
        """Return whether the exported weights are those of a round."""
        assert self.folder is not None
        files = [self.folder.weights]
        if average:
            files.append(self.folder.averaged)
        try:
            return all(read_weights(file)[1] == round for file in files)
        except RunError:
            return False

    def result(
        self,
        model: Model,
        average: Average | None,
        round: int,
        total: int,
        *,
        best: Best | None = None,
        was_complete: bool = False,
    ) -> Run[Any]:
        """Return the run. Its model is in eval mode and has the averaged weights, if any."""
        final = average.module if average else model
        final.eval()
        model.eval()
        folder = None if self.folder is None else self.folder.path
        facts = {"data": data_table(self.dataset), "class_names": self.dataset.class_names}
        # the final weights identify a run, so the last weights have no run if there is an average
        note_origin(model, **facts)
        if folder is None:
            note_origin(final, **facts)
        else:
            run_name = folder.resolve().name
            note_origin(final, **facts, run=run_name, sha256=model_fingerprint(final))
        return Run(final, self.history, round, folder, was_complete, total, self.dataset, best)

    def _write_recipe(self) -> None:
        assert self.folder is not None
        write_text(self.folder.recipe_file, self.recipe_text)


def complete_recipe(
    model: Model,
    dataset: Dataset,
    settings: Settings,
    overrides: Mapping[str, Mapping[str, Any]],
) -> Recipe:
    """Return the recipe of a run with every default filled in.

    Raises:
        SettingError: the model or a part of it is not registered, or no settings build the model
            as it is now.
    """
    frozen: Sequence[str] = frozen_patterns(model, settings.freeze)
    players = {
        name: {key: recorded_schedule(value) for key, value in table.items()}
        for name, table in overrides.items()
    }
    return {
        "model": record(model),
        "data": data_table(dataset),
        "train": {**settings.table(), "freeze": frozen},
        "players": players,
    }
