"""`fit` trains the players of a model and keeps the result in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

from torch import nn

from genzoo.contract import Model
from genzoo.data.arrays import as_dataset
from genzoo.distributed import emulate_rank
from genzoo.distributed.random_state import exclusive
from genzoo.errors import SettingError, show
from genzoo.runs.folder import RunFolder
from genzoo.runs.modes import standard_modes
from genzoo.runs.result import Run
from genzoo.runs.weights import FRESH, begin_from, weights_origin
from genzoo.train.artifacts import complete_recipe
from genzoo.train.build_for import build_for
from genzoo.train.engine import Engine
from genzoo.train.frozen import freezing
from genzoo.train.keep import hold
from genzoo.train.loggers import build_loggers
from genzoo.train.misplaced import explained
from genzoo.train.processes import peers
from genzoo.train.session import Session
from genzoo.train.settings import Settings
from genzoo.train.stopping import resume_command

__all__ = ["fit"]

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
    model: Model | str | Mapping[str, Any],
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
        model: an instance, a registered name, or a table. An instance is trained in place. A name
            or a table is built with the shape of the data, under the seed.
        data: the name or table of a registered dataset, a `Dataset`, or arrays (see
            `genzoo.data.as_dataset`).
        out: the run folder. Without it, nothing is written.
        players: for each player, settings of its optimizer that replace the model's
            (`{"critic": {"lr": 1e-4}}`), its `schedule`, and settings for some of its
            parameters: `groups`, a list of `{"params": "encoder.*", "lr": 1e-4}`, and `no_decay`,
            which leaves biases and norms without weight decay.
        resume: continue from the newest checkpoint in `out`, to `steps` in all; start at step 0 if
            there is no checkpoint.
        overwrite: remove the run that is in `out` first.
        allow_other_data: resume even if the training data differ from those the run began with.
        init_from: a run folder whose weights replace the fresh ones at the start (the averaged
            weights, if the run has them). All settings are this run's.
        progress: show a progress bar on a terminal or in a notebook, and otherwise print a line at
            each log interval.
        **settings: as in `genzoo.train.Settings` (`steps`, `batch_size`, `seed`,
            `device`, ...).

    Returns:
        The trained model with its history.

    Raises:
        SettingError: a name, a setting, or a value is unknown or wrong.
        DataError: the data cannot be read, or have fewer rows than a batch.
        RunError: `out` is taken or in use, a checkpoint is damaged or belongs to another model, or
            the data differ from those of the run.
        TrainingError: a loss is not finite, players own the same parameter, or all parameters are
            frozen.
        KeyboardInterrupt: Ctrl-C, SIGTERM, or SIGHUP stopped training. Its attribute `run` holds
            the model so far.

    Example:
        >>> import genzoo
        >>> run = genzoo.fit("vae", "digits", steps=2, batch_size=16)
        >>> run.steps, run.model.sample(3).shape
        (2, torch.Size([3, 1, 8, 8]))
    """
    if not isinstance(players, Mapping | None):
        raise SettingError(
            f"players = {show(players)}: expected a table of players, as in "
            'players={"critic": {"lr": 1e-4}}.'
        )
    overrides = players or {}
    with explained(model, data):
        checked = Settings.of(settings)
    engine = Engine(checked.device, checked.precision)
    folder = None if out is None else RunFolder(out)
    with (
        peers(engine.size),
        hold(folder, engine, resume=resume, overwrite=overwrite),
        standard_modes(engine.device),
        emulate_rank(engine.rank, engine.size),
        explained(model, data),
    ):
        loggers = build_loggers(checked.loggers, None if folder is None else folder.path)
        with exclusive():
            dataset = as_dataset(data)
            if "batch_size" not in settings:
                checked = checked.with_fitting_batch(dataset, engine.size)
            is_fresh = not isinstance(model, nn.Module)
            model = build_for(model, dataset, checked.seed, engine.device, engine.dtype)
            origin: Any = FRESH
            if init_from is not None:
                origin = begin_from(model, init_from)
            elif folder is not None:
                origin = weights_origin(model, is_fresh=is_fresh)
        with freezing(model, checked.freeze) as unfreeze:
            with exclusive():
                session = Session(model, dataset, checked, engine, overrides, folder, loggers)
            if session.average:
                unfreeze(session.average.module)
            if folder is not None:
                recipe = complete_recipe(model, dataset, checked, overrides)
                checkpoint = session.artifacts.open(
                    recipe,
                    model,
                    resume=resume,
                    allow_other_data=allow_other_data,
                    beginning=origin,
                )
                session.restore(checkpoint)
                session.artifacts.begin(session.round, session.total, overwrite=overwrite)
            elif loggers:
                # without a folder, a run need not have a recipe
                with suppress(SettingError):
                    recipe = complete_recipe(model, dataset, checked, overrides)
                    session.artifacts.recipe = recipe
            command = partial(resume_command, folder, model, dataset, checked, overrides)
            return session.run(command, progress=progress and engine.main)
