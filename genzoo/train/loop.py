"""The one trainer: `fit` plays the game that a model's players describe, and keeps it in a run folder.

The loop knows no model by name. It draws batches, gives each player its turn, and sees to everything that is not a loss:
seeds, precision, ranks, schedules, averaging, the log, pictures and checkpoints.
"""

from __future__ import annotations

import shlex
import threading
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import nn

from genzoo.contract import Batch, Dataset, Model, Player
from genzoo.data.arrays import as_dataset
from genzoo.data.fingerprint import fingerprint
from genzoo.data.stream import Stream, once
from genzoo.distributed import draws, emulate_rank, exclusive, reseed
from genzoo.errors import RunError, SettingError, TrainingError, show
from genzoo.files import write_atomic
from genzoo.plots import can_plot, curves, save
from genzoo.runs.checkpoint import (
    Checkpoints,
    load_weights,
    nan_buffers,
    not_finite,
    read_checkpoint,
    read_weights,
    write_weights,
)
from genzoo.runs.folder import IN_MEMORY, Run, RunFolder, data_table, requirements
from genzoo.runs.modes import standard_modes
from genzoo.runs.recipe import Recipe
from genzoo.runs.record import record
from genzoo.runs.same_data import check_same_data
from genzoo.runs.weights import (
    FRESH,
    begin_from,
    beginning,
    check_beginning,
    kept_beginning,
    model_fingerprint,
    note_origin,
)
from genzoo.train.artifacts import picture
from genzoo.train.averaging import Average, update_batch_norm
from genzoo.train.build_for import build_for
from genzoo.train.display import Display
from genzoo.train.engine import Engine
from genzoo.train.frozen import freezing, frozen_modules, frozen_patterns, train_mode
from genzoo.train.history import History
from genzoo.train.keep import hold, reclaim
from genzoo.train.log import Clock, Reports, resume_hint
from genzoo.train.microbatches import compare_halves, split
from genzoo.train.misplaced import explained
from genzoo.train.players import Ownership, trainers
from genzoo.train.processes import peers
from genzoo.train.scales import unscaled
from genzoo.train.settings import Settings, in_words
from genzoo.train.stopping import Stopped, stop_signals

_SETTLING = 20
"""Batches from which averaged weights get their batch statistics."""


M = TypeVar("M", bound=Model)


@overload
def fit(
    model: M,
    data: Any,
    out: str | Path | None = None,
    *,
    players: Mapping[str, Mapping[str, Any]] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    allow_other_data: bool = False,
    init_from: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Run[M]: ...


@overload
def fit(
    model: str | Mapping[str, Any],
    data: Any,
    out: str | Path | None = None,
    *,
    players: Mapping[str, Mapping[str, Any]] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    allow_other_data: bool = False,
    init_from: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Run[Model]: ...


def fit(
    model: Any,
    data: Any,
    out: str | Path | None = None,
    *,
    players: Mapping[str, Mapping[str, Any]] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    allow_other_data: bool = False,
    init_from: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Run[Any]:
    """Train a model on data.

    Arguments:
        model: an instance (trained in place), a registered name, or a table; the latter two are built with the data's shape,
            under the seed.
        data: a registered data set's name or table, a `Dataset`, or arrays (see `genzoo.data.arrays.as_dataset`).
        out: the run folder; without one nothing is written.
        players: player -> settings of its optimizer that replace the model's (`{"critic": {"lr": 1e-4}}`), its `schedule`,
            and `groups` and `no_decay` (see `genzoo.train.optimizers`).
        resume: go on from the newest checkpoint in `out`, to `steps` in all; start over where there is none.
        overwrite: remove the run that is in `out` first.
        allow_other_data: resume though the training data differ from those that the run began with.
        init_from: a run folder whose weights training begins with (averaged ones, where it has them), instead of fresh ones; all
            settings are this run's.
        progress: show a progress bar on a terminal or in a notebook; else print a line each log
            interval.
        **settings: as in `genzoo.train.settings.Settings` (`steps`, `batch_size`, `seed`, `device`, ...).

    Returns:
        The trained model with its history.

    Raises:
        SettingError: an unknown name, setting or value.
        DataError: data that cannot be read, or fewer than a batch.
        RunError: `out` is taken or in use, a checkpoint is damaged or another model's, or the data are others.
        TrainingError: a loss is not finite, players own the same parameter, or all parameters are frozen.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP asked to stop; its `run` holds the model so far.

    Example:
        >>> import genzoo
        >>> run = genzoo.fit("vae", "digits", steps=2, batch_size=16)
        >>> run.steps, run.model.sample(3).shape
        (2, torch.Size([3, 1, 8, 8]))
    """
    if not isinstance(players, Mapping | None):
        raise SettingError(
            f'players = {show(players)}: expected a table of players, as in players={{"critic": {{"lr": 1e-4}}}}.'
        )
    with explained(model, data):
        chosen = Settings.of(settings)
    engine = Engine(chosen.device, chosen.precision)
    folder = None if out is None else RunFolder(out)
    with (
        peers(engine.size),
        hold(folder, engine, resume, overwrite),
        standard_modes(engine.device),
        emulate_rank(engine.rank, engine.size),
        explained(model, data),
    ):
        with exclusive():
            dataset = as_dataset(data)
            fresh = not isinstance(model, nn.Module)
            model = build_for(model, dataset, chosen.seed, engine.device)
            begun: Any = None if init_from is None else begin_from(model, init_from)
        if begun is None and folder is not None:
            begun = beginning(model, fresh)
        with freezing(model, chosen.freeze) as thaw:
            with exclusive():
                session = Session(model, dataset, chosen, engine, players or {}, folder)
            if session.average:
                thaw(session.average.module)
            if folder is not None:
                session.open(resume, overwrite, allow_other_data, begun or FRESH)
            return session.run(progress and engine.main)


class Session:
    """One call of `fit`: what it trains, on what, how, and how far it is."""

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        settings: Settings,
        engine: Engine,
        overrides: Mapping[str, Mapping[str, Any]],
        folder: RunFolder | None,
    ) -> None:
        self.model, self.dataset, self.settings, self.engine, self.folder = (
            model,
            dataset,
            settings,
            engine,
            folder,
        )
        self.overrides = overrides
        if settings.batch_size % (settings.microbatches * engine.size):
            raise SettingError(
                f"train.batch_size = {settings.batch_size}: expected a multiple of microbatches ({settings.microbatches}) "
                f"times processes ({engine.size})"
            )
        engine.adopt(model)
        self.trainers = trainers(model, overrides, engine, settings)
        self.ownership = Ownership(model, self.trainers)
        self.by_name = {trainer.player.name: trainer for trainer in self.trainers}
        self.players = model.players()
        self.idle = [player.name for player in self.players if player.name not in self.by_name]
        self.frozen = frozen_modules(model)
        self.stream = Stream(
            dataset, model.inputs, settings.batch_size, seed=settings.seed, device=engine.device, rank=engine.rank,
            size=engine.size, microbatches=settings.microbatches, resident=settings.resident,
            dtype=torch.float64 if engine.dtype == torch.float64 else None,
        )  # fmt: skip
        self._check_batch()
        self.average = Average(model, settings.ema) if settings.ema else None
        self.reports = Reports(alone=len(self.players) == 1)
        self.history = History(folder.path if folder is not None and engine.main else None)
        self.checkpoints = (
            None if folder is None else Checkpoints(folder.checkpoints, settings.keep_checkpoints)
        )
        self.solves = hasattr(model, "solve")
        if self.solves:
            self._note_unused()
        self.total = (
            1 if self.solves else settings.total(self.stream.batches_per_epoch, self._batches)
        )
        self.round = self.batches = 0
        self.clock = Clock()
        self.last_good: Path | None = None
        self.norms: dict[nn.Parameter, torch.Tensor] | None = None
        self.said: set[str] = set()
        self.text = self.moved = ""
        self.placeholders = nan_buffers(model)
        self.settled = 0

    def _batches(self, round: int) -> int:
        return max(trainer.steps(round) for trainer in self.trainers)

    def _check_batch(self) -> None:
        """Let the model look at a first microbatch, before anything is written."""
        with torch.no_grad(), self.engine.autocast():
            self.model.check_batch(
                split(self._cast(next(self.stream.batches())), self.settings.microbatches)[0]
            )

    def recipe(self) -> Recipe:
        """What is being run, with every default filled.

        Raises:
            SettingError: the model, or a part that it holds, is not registered, or was changed in a way that no setting says.
        """
        return {
            "model": record(self.model),
            "data": data_table(self.dataset),
            "train": {
                **self.settings.table(),
                "freeze": frozen_patterns(self.model, self.settings.freeze),
            },
            "players": {
                name: {key: in_words(value) for key, value in table.items()}
                for name, table in self.overrides.items()
            },
        }

    def open(
        self,
        resume: bool,
        overwrite: bool,
        allow_other_data: bool = False,
        begun: str | Mapping[str, Any] = FRESH,
    ) -> None:
        """Make the run folder, or take up the run that is in it; nothing is removed before everything else was checked."""
        assert self.folder is not None
        assert self.checkpoints is not None
        folder, recipe = self.folder, self.recipe()
        prints = fingerprint(self.dataset)
        resume = resume and folder.recipe_file.exists()
        if resume:
            folder.check_same_recipe(recipe, allow_other_data)
            if not allow_other_data:
                check_same_data(folder, self.dataset, "train", self.model.inputs, prints)
            found = self.checkpoints.paths()
            if found:
                self.restore(read_checkpoint(found[-1], self.engine.device), found[-1])
                begun = kept_beginning(folder, begun)
            else:
                check_beginning(folder, begun)
        needed = requirements(self.model, self.dataset)
        self.text = folder.recipe_text(
            recipe, self.engine.device, self.engine.size, needed, begun, fingerprint=prints
        )
        self.engine.barrier()  # all have looked before one writes
        if self.engine.main:
            if overwrite:
                folder.remove_artifacts()
            folder.remove_temporary()
            self.history.resume(self.round)
            if self.round < self.total:
                self._write_recipe()
        self.engine.barrier()

    def _write_recipe(self) -> None:
        assert self.folder is not None
        write_atomic(
            self.folder.recipe_file, lambda path: path.write_text(self.text, encoding="utf-8")
        )

    def _write_again(self) -> bool:
        """Return whether the run folder was removed or moved; then write recipe and log again.

        A checkpoint makes the run whole, on every rank: the caller saves one.
        """
        if self.folder is None or not self.engine.any(
            self.engine.main and not self.folder.intact()
        ):
            return False
        if self.engine.main:
            assert self.checkpoints is not None
            lost = self.folder.path
            obstacle = reclaim(self.folder, self.text)
            self.checkpoints.folder = self.folder.checkpoints
            self._write_recipe()
            self.history.move(self.folder.path)
            if obstacle:
                self.moved = (
                    f"{lost} was removed or moved while it was trained into, and {obstacle}. Training stopped at step "
                    f"{self.round:,}; {self.folder.path} holds the run, to go on with --resume and that --out."
                )
            else:
                warnings.warn(
                    f"step {self.round:,}: {lost} was removed or moved; the run was written there again, "
                    "without earlier checkpoints and pictures.",
                    stacklevel=2,
                )
        return True

    def state(self) -> dict[str, Any]:
        """All that an exact resume needs."""
        return {
            "round": self.round,
            "batches": self.batches,
            "model": self.model.state_dict(),
            "ema": self.average.module.state_dict() if self.average else None,
            "averaged": self.average.updates if self.average else 0,
            "players": {name: trainer.state() for name, trainer in self.by_name.items()},
            "reports": self.reports.state(),
            "seconds": self.clock.seconds(),
        }

    def restore(self, state: Mapping[str, Any], path: Path) -> None:
        """Take up a checkpoint; the model comes last, so that a refusal leaves it as it was.

        Raises:
            RunError: it is another model's, or something in it does not fit.
        """
        if set(state["players"]) != set(self.by_name):
            raise RunError(
                f"{path} is of a game between {sorted(state['players'])}, this model's is {sorted(self.by_name)}."
            )
        try:
            for name, trainer in self.by_name.items():
                trainer.restore(state["players"][name])
        except RunError as error:
            raise RunError(f"{path} cannot be resumed from: {error}") from None
        if self.average:
            if state["ema"] is None:
                raise RunError(
                    f"{path} holds no average of the weights, which train.ema asks for; start again with --overwrite."
                )
            load_weights(self.average.module, state["ema"], path)  # type: ignore[arg-type]
            self.average.updates = state["averaged"]
        load_weights(self.model, state["model"], path)
        self.reports.restore(state["reports"])
        self.round, self.batches, self.clock = (
            state["round"],
            state["batches"],
            Clock(state["seconds"]),
        )
        self.last_good = path

    def run(self, progress: bool) -> Run[Any]:
        """Play the rounds that are left, then write what a user reads.

        Raises:
            Stopped: asked to stop; everything is saved, and the message says how to go on.
        """
        if self.folder is not None and self.round >= self.total:
            self._settle()
            if (
                self.engine.main and not self._exported()
            ):  # killed between its last checkpoint and its export
                self._export()
            return replace(self._result(), was_complete=True)
        if self.idle and self.engine.main:
            names = " and ".join(map(repr, self.idle))
            warnings.warn(
                f"skipping player {names}: all parameters are frozen, so the loss is not computed.",
                stacklevel=3,
            )
        self.clock = Clock(self.clock.before)
        try:
            with stop_signals() as asked, Display(self.total, self.round, progress) as display:
                stopped = self._play(display, asked)
        except KeyboardInterrupt as stop:  # a second Ctrl-C, or one that is not ours
            raise Stopped(self._farewell(at_once=True), self._result()) from stop
        finally:
            self.ownership.release_all()
            self.history.close()
            self.model.eval()
        if stopped:
            raise Stopped(self._farewell(), self._result())
        if self._write_again():
            self._save()
        if self.folder is not None and self.engine.main:
            self._export()
        self.engine.barrier()
        return self._result()

    def _farewell(self, at_once: bool = False) -> str:
        """Say where training stopped and how to go on."""
        where = (
            f"stopped at {'once, after ' if at_once else ''}step {self.round:,} of {self.total:,}"
        )
        if self.folder is None:
            return (
                f"{where}; the model so far is `stop.run.model`, after `except KeyboardInterrupt as stop`, "
                "or `sys.last_value.run.model` in a notebook."
            )
        kept = (
            f"; {self.last_good} holds it all"
            if not at_once
            else f". {resume_hint(self.last_good)}"
        )
        return f"{where}{kept.rstrip('.')}. Go on with {self._resume_command()}."

    def _resume_command(self) -> str:
        """Say what to type to go on; what was handed over from Python must be handed over again."""
        assert self.folder is not None
        path = str(self.folder.path)
        if data_table(self.dataset)["name"] == IN_MEMORY:
            return f"genzoo.fit(model, data, {path!r}, resume=True)"
        return f"`genzoo resume {shlex.quote(path)}`"

    def _play(self, display: Display, asked: threading.Event) -> bool:
        """The loop; True where it was asked to stop before the end."""
        settings, engine, model = self.settings, self.engine, self.model
        batches = self.stream.batches(self.batches)
        train_mode(model, self.frozen)
        if settings.microbatches > 1 and not self.solves:
            players = [trainer.player for trainer in self.trainers]
            with exclusive():
                compare_halves(
                    model,
                    players,
                    self._cast(next(self.stream.batches(self.batches))),
                    engine,
                    settings,
                )
        if self.round == 0:
            self._picture()
        while self.round < self.total:
            plan = [(player, self._steps(player)) for player in self.players]
            self.ownership.check(plan, self.round)
            last, logs = self.round + 1 == self.total, (self.round + 1) % settings.log_every == 0
            self.norms = {} if settings.gradient_norms and (logs or last) else None
            count = 0 if self.solves else max(steps for _, steps in plan)
            key = (
                settings.seed,
                "round",
                self.round,
            )  # for a model that draws in a round of its own
            with exclusive():
                drawn = [self._cast(next(batches)) for _ in range(count)]
                with draws(engine.device, *key, part=None, parts=settings.microbatches):
                    if self.solves:
                        self._solve()
                    else:
                        model.round(plan, drawn, self._update)
                if self.average:
                    self.average.update(model)
            self.round += 1
            self.batches += len(drawn)
            self.clock.images += len(drawn) * settings.batch_size
            display.move(self.round, len(drawn) * settings.batch_size)
            stop = asked.is_set() if engine.size == 1 else logs and engine.any(asked.is_set())
            saves = self.checkpoints is not None and (
                last or stop or self.round % settings.checkpoint_every == 0
            )
            if logs or last or saves:
                self._check_losses()
                saves = self._write_again() or saves
            if last or saves:
                self._check_weights()
            if logs or last:
                line = {
                    "step": self.round,
                    "seconds": round(self.clock.seconds(), 3),
                    "images_per_second": round(self.clock.rate(), 1),
                }
                rates = self._rates()  # of those who played since the last line
                losses = {k: v for k, v in self.reports.means(engine).items() if k not in line}
                line = {**line, **losses, **rates, **self._norms()}
                self.history.add(line)
                if logs:
                    display.log(line)
                self._advise(line)
            pictures = last or self.round % settings.sample_every == 0
            if saves or pictures or stop:
                self._settle()
            if saves:
                self._save()
            if pictures:
                self._picture()
            if stop and not last:
                return True
        return False

    def _steps(self, player: Player) -> int:
        return self.by_name[player.name].steps(self.round) if player.name in self.by_name else 0

    def _update(self, player: Player, batch: Batch) -> None:
        if player.name in self.idle:
            return
        self.ownership.activate(player.name)
        report = self.by_name[player.name].step(batch, self.round / self.total, self.norms)
        self.reports.add(player.name, self.round, report)

    def _solve(self) -> None:
        """Let the model set its parameters in closed form from the training data, then report its mean loss on them."""
        player, dataset, settings = self.players[0], self.dataset, self.settings
        read = partial(
            once,
            dataset,
            self.model.inputs,
            settings.batch_size,
            device=self.engine.device,
            split="train",
        )
        with (
            emulate_rank(0, 1),
            torch.no_grad(),
        ):  # every rank reads all rows and comes to the same parameters
            frozen = [(p, p.clone()) for p in self.model.parameters() if not p.requires_grad]
            self.model.solve(map(self._cast, read()))  # type: ignore[operator]
            for parameter, value in frozen:
                parameter.copy_(value)
            totals: dict[str, torch.Tensor] = {}
            rows = 0
            for batch in map(self._cast, read()):
                size = self.model.batch_size(batch)
                rows += size
                for name, value in player.loss(batch).items():
                    totals[name] = totals.get(name, 0) + size * value.double()
        self.reports.add(
            player.name, self.round, {name: total / rows for name, total in totals.items()}
        )
        self.clock.images += rows

    def _note_unused(self) -> None:
        """Say which settings of gradient steps a model in closed form leaves unused."""
        unused = [
            f"train.{name}"
            for name in ("steps", "epochs")
            if getattr(self.settings, name) is not None
        ]
        unused += [f"players.{name}" for name in self.overrides]
        if unused and self.engine.main:
            warnings.warn(
                f"{type(self.model).__name__} is fitted in closed form, in one pass over the training data; "
                f"{', '.join(unused)} has no effect.",
                stacklevel=2,
            )

    def _rates(self) -> dict[str, float]:
        """Return the last learning rate of each player that reported since the last line of the log.

        Parameter groups with rates of their own have a number. A closed form has no learning rate.
        """
        if self.solves:
            return {}
        return {
            "/".join(
                filter(None, ("" if self.reports.alone else name, "lr", str(number or "")))
            ): float(group["lr"])
            for name, trainer in self.by_name.items()
            if name in self.reports.rounds
            for number, group in enumerate(trainer.optimizer.param_groups)
            if number == 0 or trainer.rates[number] != trainer.rates[0]
        }

    def _norms(self) -> dict[str, float]:
        """The gradient norms of this round, by the parameters' names: of each player's last step, if it made one."""
        norms = self.norms or {}
        named = {
            f"gradient/{name}": norms[p] for name, p in self.model.named_parameters() if p in norms
        }
        return (
            dict(zip(named, torch.stack([*named.values()]).tolist(), strict=True)) if named else {}
        )

    def _advise(self, line: Mapping[str, float]) -> None:
        """Pass on what the model has to say about a line of the log, each text once."""
        text = self.model.diagnose(line, self.round / self.total) if self.engine.main else None
        if text and text not in self.said:
            self.said.add(text)
            warnings.warn(f"step {self.round:,}: {text}", stacklevel=2)

    def _check_losses(self) -> None:
        """Stop where a loss is not finite; warn once where one explodes and the data are the likely cause."""
        player = self.reports.check(self.last_good, self._cause)
        if player is None or "scales" in self.said:
            return
        self.said.add("scales")
        if self.engine.main and (words := self._cause()):
            warnings.warn(
                f"step {self.round:,}: the loss of player {player!r} explodes. {words}",
                stacklevel=3,
            )

    def _cause(self) -> str | None:
        """Say what is wrong with the data, if they are the likely cause of a loss that explodes."""
        return unscaled(self._cast(next(self.stream.batches())))

    def _cast(self, batch: Batch) -> Batch:
        if isinstance(batch, torch.Tensor):
            return self.engine.cast(batch)
        return {name: self.engine.cast(column) for name, column in batch.items()}

    def _check_weights(self) -> None:
        """Stop before weights that are not finite are kept: a loss may be finite where its gradient is not.

        Raises:
            TrainingError: some parameter is NaN or infinite.
        """
        if broken := not_finite(self.model, self.model.state_dict(), self.placeholders):
            raise TrainingError(
                f"{broken[0]} is not finite after step {self.round}, though the losses were. {resume_hint(self.last_good)} "
                f"{self._cause() or 'Lower the learning rate, or set train.clip_grad_norm, and start again.'}"
            )

    def _settle(self) -> None:
        """Give the averaged weights batch statistics of their own, before anybody sees them."""
        if self.average and self.settled != self.round:
            drawn = islice(self.stream.batches(), _SETTLING)
            batches = (
                part
                for batch in drawn
                for part in split(self._cast(batch), self.settings.microbatches)
            )
            with exclusive():
                reseed(self.engine.device, self.settings.seed, "statistics", self.round)
                update_batch_norm(
                    self.average.module, batches, self.engine.autocast, self.frozen, self.idle
                )
            self.settled = self.round

    def _save(self) -> None:
        assert self.checkpoints is not None
        self.reports.pool(self.engine)
        if self.engine.main:
            self.last_good = self.checkpoints.save(self.state())
            if self.moved:
                raise RunError(self.moved)
        self.engine.barrier()

    def _final(self) -> Model:
        return self.average.module if self.average else self.model

    def _result(self) -> Run[Any]:
        model, folder = self._final().eval(), None if self.folder is None else self.folder.path
        self.model.eval()
        run = (
            {}
            if folder is None
            else {"run": folder.resolve().name, "sha256": model_fingerprint(model)}
        )
        table = data_table(self.dataset)
        note_origin(
            self.model, data=table
        )  # beside an average, the last weights are not those that a run is known by
        note_origin(model, data=table, **run)
        return Run(model, self.history.lines, self.round, folder)

    def _exported(self) -> bool:
        assert self.folder is not None
        files = (
            (self.folder.averaged, self.folder.weights) if self.average else (self.folder.weights,)
        )
        try:
            return all(read_weights(file)[1] == self.round for file in files)
        except RunError:
            return False

    def _export(self) -> None:
        assert self.folder is not None
        if self.average:
            write_weights(
                self.folder.averaged, self.model, self.average.module.state_dict(), self.round
            )
        write_weights(self.folder.weights, self.model, self.model.state_dict(), self.round)
        if can_plot() and self.history.lines:
            write_atomic(
                self.folder.path / "curves.png", lambda path: save(curves(self.history.lines), path)
            )

    def _picture(self) -> None:
        """A sheet of samples from the same noise each time."""
        if self.folder is None or not self.engine.main or not self.folder.intact():
            return
        found = picture(self._final(), self.dataset, self.settings.seed)
        if found is not None:
            path = (
                self.folder.samples
                / f"step-{self.round:06d}{'.txt' if isinstance(found, list) else '.png'}"
            )
            write_atomic(path, lambda file: save(found, file))
