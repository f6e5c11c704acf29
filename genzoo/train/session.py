"""The training loop: rounds, and the work between them.

The loop knows no model by name. It draws batches, gives each player its turn, and takes care of
everything that is not a loss: seeds, precision, ranks, schedules, averaging, the log, pictures, and
checkpoints.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from genzoo.contract import Batch, Dataset, Logger, Model, Status
from genzoo.data.labels import check_labels_when_read
from genzoo.data.stream import Stream, once
from genzoo.distributed import replicated
from genzoo.distributed.keyed_draws import draws
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.errors import RunError, SettingError
from genzoo.runs.checkpoint import load_weights, read_checkpoint
from genzoo.runs.folder import RunFolder
from genzoo.runs.modes import eval_mode
from genzoo.runs.result import Run
from genzoo.train.artifacts import Artifacts
from genzoo.train.averaging import BN_BATCHES, Average, replica, update_batch_norm
from genzoo.train.closed_form import has_closed_form, solve, warn_unused_settings
from genzoo.train.display import Display
from genzoo.train.engine import Engine
from genzoo.train.frozen import train_mode
from genzoo.train.game import Game, Norms
from genzoo.train.log import LogBuffer
from genzoo.train.microbatches import compare_halves, split
from genzoo.train.monitor import Monitor
from genzoo.train.settings import Settings
from genzoo.train.stopping import Stopped, stop_message, stop_signals
from genzoo.train.validation import Validation, with_validation

__all__ = ["Session"]


class Session:
    """One call of `fit`: the model, its data, and the training progress.

    Arguments:
        model: the model, built for the data.
        dataset: the training data.
        settings: the settings of the run.
        engine: the device and processes.
        overrides: for each player, the settings of its optimizer that replace the model's.
        folder: the run folder, or None.
        loggers: the receivers of the log and the pictures.

    Raises:
        SettingError: the batch size does not fit microbatches and processes, or an override is
            wrong.
        DataError: the data do not fit the model.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        settings: Settings,
        engine: Engine,
        overrides: Mapping[str, Mapping[str, Any]],
        folder: RunFolder | None,
        loggers: Sequence[Logger] = (),
    ) -> None:
        if settings.batch_size % (settings.microbatches * engine.size):
            raise SettingError(
                f"train.batch_size = {settings.batch_size}: expected a multiple of microbatches "
                f"({settings.microbatches}) times processes ({engine.size})."
            )
        if model.is_standardized and engine.dtype == torch.bfloat16:
            raise SettingError(
                'train.precision = "bf16-true" is too coarse for the units of a table, which '
                'standardize = true keeps; use "bf16-mixed".'
            )
        engine.adopt(model)
        self.model, self.settings, self.engine = model, settings, engine
        self.game = Game(model, overrides, engine, settings)
        rows = dataset
        if model.classes and "y" in model.given:
            rows = check_labels_when_read(rows, model.classes)
        rows = with_validation(rows, settings)
        self.stream = Stream(
            rows,
            model.inputs,
            settings.batch_size,
            seed=settings.seed,
            device=engine.device,
            rank=engine.rank,
            size=engine.size,
            microbatches=settings.microbatches,
            resident=settings.resident,
            workers=settings.workers,
            dtype=torch.float64 if engine.dtype == torch.float64 else None,
        )
        self._check_batch()
        self.average = Average(model, settings.ema) if settings.ema else None
        self.log = LogBuffer(prefixed=len(self.game.players) > 1)
        self.monitor = Monitor(model, engine, self._first_batch)
        self.validation: Validation | None = None
        if rows.validation:
            self.validation = Validation(model, rows, settings, engine)
        self.artifacts = Artifacts(folder, dataset, engine, settings.keep_checkpoints, loggers)
        if has_closed_form(model):
            self.total = 1
            if engine.main:
                warn_unused_settings(model, settings, overrides)
        else:
            self.total = settings.total(self.stream.batches_per_epoch, self.game.batches)
        self.round = self.batches = 0

    def _check_batch(self) -> None:
        """Let the model check a first microbatch, before anything is written."""
        microbatch = split(self._first_batch(), self.settings.microbatches)[0]
        with torch.no_grad(), self.engine.autocast():
            self.model.check_batch(microbatch)

    def _first_batch(self) -> Batch:
        return self._cast(next(self.stream.batches()))

    def _cast(self, batch: Batch) -> Batch:
        if isinstance(batch, torch.Tensor):
            return self.engine.cast(batch)
        return {name: self.engine.cast(column) for name, column in batch.items()}

    def state(self) -> dict[str, Any]:
        """Return the state that an exact resume needs."""
        return {
            "round": self.round,
            "batches": self.batches,
            "model": self.model.state_dict(),
            "ema": self.average.module.state_dict() if self.average else None,
            "averaged": self.average.updates if self.average else 0,
            "players": self.game.state(),
            "log": self.log.state(),
            "validation": self.validation.state() if self.validation else None,
            "seconds": self.log.clock.seconds(),
        }

    def restore(self, path: Path | None) -> None:
        """Restore a checkpoint, or do nothing without one.

        The model comes last, so an error leaves it as it was.

        Raises:
            RunError: the checkpoint is damaged, or belongs to another model.
        """
        if path is None:
            return
        state = read_checkpoint(path, self.engine.device)
        self.game.restore(state["players"], path)
        if self.average:
            if state["ema"] is None:
                raise RunError(
                    f"{path} has no averaged weights, which train.ema needs; start again with "
                    "--overwrite."
                )
            load_weights(self.average.module, state["ema"], path)  # type: ignore[arg-type]
            self.average.updates = state["averaged"]
        load_weights(self.model, state["model"], path)
        self.log.restore(state["log"], state["seconds"])
        if self.validation:
            self.validation.restore(state["validation"])
        self.round, self.batches = state["round"], state["batches"]
        self.artifacts.last_checkpoint = path

    def run(self, resume_command: Callable[[], str], *, progress: bool) -> Run[Any]:
        """Train the remaining rounds, then export the weights.

        Arguments:
            resume_command: a function that returns the command that resumes this run.
            progress: show the progress.

        Raises:
            Stopped: a signal stopped training. Everything is saved, and the message says how to
                resume.
        """
        artifacts = self.artifacts
        if artifacts.folder is not None and self._is_over():
            self._update_batch_norm()
            # a kill between the last checkpoint and the export leaves older weights
            if self.engine.main and not artifacts.is_exported(self.average, self.round):
                artifacts.export(self.model, self.average, self.round)
            return self._result(was_complete=True)
        if self.engine.main:
            self.game.warn_idle()
        status: Status = "failed"
        try:
            artifacts.open_loggers(self.round, self.total)
            run = self._run(resume_command, progress=progress)
            status = "complete"
        except KeyboardInterrupt:
            status = "stopped"
            raise
        finally:
            artifacts.loggers.close(self.round, status)
        return run

    def _run(self, resume_command: Callable[[], str], *, progress: bool) -> Run[Any]:
        """Train the remaining rounds with open loggers, then export the weights."""
        artifacts = self.artifacts
        self.log.clock.restart()
        try:
            display = Display(self.total, self.round, shown=progress)
            with stop_signals() as requested, display:
                stopped = self._train(display, requested)
        except KeyboardInterrupt as error:  # a second Ctrl-C, or one that another handler raised
            raise Stopped(
                self._stop_message(resume_command(), at_once=True), self._result()
            ) from error
        finally:
            self.game.ownership.release_all()
            self.model.eval()
        if stopped:
            raise Stopped(self._stop_message(resume_command()), self._result())
        if artifacts.rewrite_if_lost(self.round):
            self._save_checkpoint()
        artifacts.export(self.model, self.average, self.round)
        self.engine.barrier()
        return self._result()

    def _train(self, display: Display, requested: threading.Event) -> bool:
        """Train until the last round, or until a stop is requested; return whether it was."""
        settings = self.settings
        batches = self.stream.batches(self.batches)
        train_mode(self.model, self.game.frozen)
        self._compare_halves()
        if self.round == 0:
            self._save_picture()
        while not self._is_over():
            last = self.round + 1 == self.total
            log_is_due = (self.round + 1) % settings.log_every == 0
            norms: Norms | None = {} if settings.gradient_norms and (log_is_due or last) else None
            images = self._play_round(batches, norms)
            display.move(self.round, images)
            stop = self._stops(requested, log_is_due=log_is_due)
            save = self._checkpoint_is_due(ends=last or stop)
            evaluate = self._evaluation_is_due(last=last)
            if log_is_due or last or save or evaluate:
                save = self._check(weights=last or save or evaluate) or save
            numbers = self._evaluate() if evaluate else {}
            last = last or self._is_over()
            save = save or self._checkpoint_is_due(ends=last)
            if log_is_due or last or evaluate:
                line = {**self._log_line(norms), **numbers}
                self._add_line(line, display if log_is_due or evaluate else None)
            picture = last or self.round % settings.sample_every == 0
            if save or picture or stop:
                self._update_batch_norm()
            if last:
                self._finish(self.model, self._final())
            if save:
                self._save_checkpoint()
            if picture:
                self._save_picture()
            if stop and not last:
                return True
        return False

    def _check(self, *, weights: bool) -> bool:
        """Check the losses and, if asked, the weights; return whether the folder was lost."""
        monitor, last_checkpoint = self.monitor, self.artifacts.last_checkpoint
        monitor.check_losses(self.log, self.round, last_checkpoint)
        was_lost = self.artifacts.rewrite_if_lost(self.round)
        if was_lost and self.validation:
            # its weights are lost; the next evaluation replaces them
            self.validation.best = None
        if weights or was_lost:
            monitor.check_weights(self.round, last_checkpoint)
        return was_lost

    def _add_line(self, line: dict[str, float], display: Display | None) -> None:
        """Add a line to the log, show it on a display, and warn about what it tells."""
        self.artifacts.add_line(line)
        if display is not None:
            display.log(line)
        self.monitor.diagnose(line, self.round, self.total)

    def _play_round(self, batches: Iterator[Batch], norms: Norms | None) -> int:
        """Make the steps of all players in one round.

        Arguments:
            batches: the remaining batches of the run.
            norms: receives the norm of each parameter's gradient, if it is not None.

        Returns:
            The number of images that the steps read.
        """
        settings = self.settings
        plan = self.game.plan(self.round)
        most = 0 if has_closed_form(self.model) else max(steps for _, steps in plan)
        images = most * settings.batch_size
        # each step of a player has a separate key; this key is for draws outside of losses,
        # such as those of `Player.after`
        key = (settings.seed, "round", self.round)
        parts = settings.microbatches
        with exclusive():
            round_batches = [self._cast(batch) for batch in islice(batches, most)]
            with draws(self.engine.device, *key, part=None, parts=parts):
                if has_closed_form(self.model):
                    self._solve()
                for player, steps in plan if most else ():
                    # a player with fewer steps than others gets the last batches
                    for batch in round_batches[most - steps :]:
                        report = self.game.step(player, batch, self.round / self.total, norms)
                        self.log.add(player.name, self.round, report)
            if self.average:
                self.average.update(self.model)
        self.round += 1
        self.batches += most
        self.log.clock.images += images
        return images

    def _solve(self) -> None:
        """Set the parameters of the model in closed form, and report its mean loss."""
        report, rows = solve(self.model, self._training_rows)
        self.log.add(self.game.players[0].name, self.round, report)
        self.log.clock.images += rows

    def _compare_halves(self) -> None:
        """Warn about losses that are not means over examples, if there are microbatches."""
        if self.settings.microbatches == 1 or has_closed_form(self.model):
            return
        players = [trainer.player for trainer in self.game.trainers.values()]
        with exclusive():
            batch = self._cast(next(self.stream.batches(self.batches)))
            compare_halves(self.model, players, batch, self.engine, self.settings)

    def _stops(self, requested: threading.Event, *, log_is_due: bool) -> bool:
        """Return whether to stop now. Several processes agree on it when a log line is due."""
        if self.engine.size == 1:
            return requested.is_set()
        return log_is_due and self.engine.any(requested.is_set())

    def _is_over(self) -> bool:
        """Return whether all rounds are done, or patience is over."""
        return self.round >= self.total or bool(
            self.validation and self.validation.patience_is_over
        )

    def _evaluation_is_due(self, *, last: bool) -> bool:
        if self.validation is None:
            return False
        return last or self.round % self.settings.evaluate_every == 0

    def _evaluate(self) -> dict[str, float]:
        """Measure the model on the validation rows, and keep it if it is the best one so far.

        The model is measured as it would be if training ended now.
        """
        assert self.validation is not None
        self._update_batch_norm()
        final = replica(self._final(), "an evaluation on validation rows", "train.validation")
        self._finish(final.eval())
        numbers, is_best = self.validation.measure(final, self.round)
        if is_best:
            self.artifacts.save_best(final, self.round)
        return numbers

    def _final(self) -> Model:
        """Return the model with the averaged weights, if there are any."""
        return self.average.module if self.average else self.model

    def _checkpoint_is_due(self, *, ends: bool) -> bool:
        if self.artifacts.folder is None:
            return False
        return ends or self.round % self.settings.checkpoint_every == 0

    def _log_line(self, norms: Norms | None) -> dict[str, float]:
        """Return the line of the log for this round, and empty the buffer."""
        clock = {
            "step": self.round,
            "seconds": round(self.log.clock.seconds(), 3),
            "images_per_second": round(self.log.clock.rate(), 1),
        }
        rates = {}
        if not has_closed_form(self.model):
            rates = self.game.learning_rates(self.log.rounds)
        means = self.log.flush(self.engine)
        losses = {name: value for name, value in means.items() if name not in clock}
        return {**clock, **losses, **rates, **self.game.gradient_norms(norms or {})}

    def _update_batch_norm(self) -> None:
        """Recompute the batch-norm statistics of the averaged weights, once in a round."""
        if not self.average or self.average.batch_norm_round == self.round:
            return
        parts = self.settings.microbatches
        batches = (
            microbatch
            for batch in islice(self.stream.batches(), BN_BATCHES)
            for microbatch in split(self._cast(batch), parts)
        )
        with exclusive():
            reseed(self.engine.device, self.settings.seed, "statistics", self.round)
            update_batch_norm(
                self.average.module,
                batches,
                self.engine.autocast,
                frozen=self.game.frozen,
                idle=self.game.idle,
            )
        self.average.batch_norm_round = self.round

    def _finish(self, *models: Model) -> None:
        """Let models fit what depends on their trained weights."""
        key = (self.settings.seed, "after")
        for model in dict.fromkeys(models):
            with eval_mode(model), torch.no_grad(), replicated(), draws(self.engine.device, *key):
                model.after_training(self._training_rows())

    def _training_rows(self) -> Iterator[Batch]:
        """Return one pass over the training rows in their stored order, the same on every rank."""
        batch_size, device = self.settings.batch_size, self.engine.device
        rows = once(
            self.stream.dataset, self.model.inputs, batch_size, device=device, split="train"
        )
        return map(self._cast, rows)

    def _save_checkpoint(self) -> None:
        self.log.pool(self.engine)
        self.artifacts.save_checkpoint(self.state())

    def _save_picture(self) -> None:
        self.artifacts.save_picture(self._final(), self.round, self.settings.seed)

    def _stop_message(self, command: str, *, at_once: bool = False) -> str:
        return stop_message(
            self.round,
            self.total,
            command,
            last_checkpoint=self.artifacts.last_checkpoint,
            at_once=at_once,
        )

    def _result(self, *, was_complete: bool = False) -> Run[Any]:
        return self.artifacts.result(
            self.model,
            self.average,
            self.round,
            self.total,
            best=self.validation.best if self.validation else None,
            was_complete=was_complete,
        )
