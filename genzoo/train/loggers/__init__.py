"""The loggers of runs: build them from settings, and call them so that no error ends a run."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from genzoo.contract import LoggedRun, Logger, Status
from genzoo.distributed.random_state import exclusive
from genzoo.errors import SettingError, describe, show
from genzoo.registry.build import build
from genzoo.registry.records import config, recorded
from genzoo.train.loggers.jsonl import JSONL

__all__ = ["Loggers", "build_loggers", "recorded_loggers"]

_BROKEN = (Exception, SystemExit)
"""What may come out of a logger. Ctrl-C still stops the run."""


class Loggers:
    """The loggers of one run.

    An error of a logger becomes one warning. The run goes on without that logger.

    Arguments:
        loggers: the loggers; none on other ranks than 0.
        device: the device whose random state they must not change.
    """

    def __init__(self, loggers: Sequence[Logger], device: torch.device) -> None:
        self._loggers, self._device = list(loggers), device

    def open(self, run: LoggedRun) -> None:
        """Open the loggers."""
        for logger in [*self._loggers]:
            self._call(logger, "open", run.step, run)

    def reopen(self, run: LoggedRun) -> None:
        """Close the loggers and open them again, because the run folder is a new one."""
        for logger in [*self._loggers]:
            self._call(logger, "close", run.step, "stopped")
        self.open(run)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step."""
        for logger in [*self._loggers]:
            self._call(logger, "log", step, step, dict(values))

    def picture(self, step: int, file: Path) -> None:
        """Log a picture of a step."""
        for logger in [*self._loggers]:
            self._call(logger, "picture", step, step, file)

    def close(self, step: int, status: Status) -> None:
        """Close the loggers."""
        for logger in [*self._loggers]:
            self._call(logger, "close", step, status)
        self._loggers = []

    def _call(self, logger: Logger, method: str, step: int, *arguments: Any) -> None:
        """Call a method of a logger; after an error, warn and drop the logger."""
        try:
            with self._isolated():
                getattr(logger, method)(*arguments)
        except _BROKEN as error:
            self._loggers.remove(logger)
            warnings.warn(
                f"logger {_name(logger)!r} failed in {method} at step {step:,}: "
                f"{describe(error).rstrip('.')}. "
                "Training continues without it, and Run.history keeps every value. Repair it and "
                "resume the run, or leave it out of train.loggers.",
                stacklevel=2,
            )
            if method in ("log", "picture"):
                with suppress(*_BROKEN), self._isolated():
                    logger.close("failed")

    @contextmanager
    def _isolated(self) -> Iterator[None]:
        """Keep the random state and the modes of the run from a logger."""
        dtype = torch.get_default_dtype()
        try:
            with exclusive(self._device), torch.no_grad():
                yield
        finally:
            torch.set_default_dtype(dtype)


def build_loggers(specs: Sequence[Any] | None, folder: Path | None) -> list[Logger]:
    """Build the loggers of a run. A run folder always has a `JSONL`.

    Arguments:
        specs: names, tables, and instances. None means TensorBoard, if it is installed and the run
            has a folder.
        folder: the run folder, or None.

    Raises:
        SettingError: a name or setting is unknown, or an object is not a `Logger`.
        PluginError: a name belongs to a plugin that cannot be used.
    """
    if specs is None:
        specs = ("tensorboard",) if folder is not None and find_spec("tensorboard") else ()
    loggers = [_built(spec, number) for number, spec in enumerate(specs)]
    if folder is None:
        return loggers
    return [JSONL(), *(logger for logger in loggers if type(logger) is not JSONL)]


def _built(spec: Any, number: int) -> Logger:
    label = f"train.loggers[{number}]"
    if not isinstance(spec, str | Mapping | Logger):
        what = f"the class {spec.__name__}" if inspect.isclass(spec) else show(spec)
        raise SettingError(
            f"{label} = {what}: expected a name, a table, or an instance of a class that derives "
            "from genzoo.contract.Logger."
        )
    logger = build(spec, "loggers", slot=label)
    if not isinstance(logger, Logger):
        raise SettingError(
            f"{label} = {show(spec)}: it builds a {type(logger).__name__}, which does not derive "
            "from genzoo.contract.Logger."
        )
    return logger


def recorded_loggers(specs: Sequence[Any] | None) -> list[Any] | None:
    """Return loggers as a recipe records them. It cannot hold objects of unregistered classes."""
    if specs is None:
        return None
    records = []
    for spec in specs:
        if isinstance(spec, str | Mapping):
            records.append(spec)
            continue
        with suppress(SettingError):
            records.append(config(spec))
    return records


def _name(logger: Logger) -> str:
    record = recorded(logger)
    return record.name if record is not None and record.name else type(logger).__name__
