"""Checks of loggers: they accept the log and the pictures of a run, and change no other file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import SkipTest

from PIL import Image

from genzoo.contract import LoggedRun, Logger, Status
from genzoo.errors import GenzooError, SettingError
from genzoo.registry.build import build
from genzoo.registry.records import config
from genzoo.testing.subject import Subject, demand

__all__ = ["ALWAYS"]

_STATUSES: tuple[Status, ...] = ("complete", "stopped", "failed")
_RECIPE = {"model": {"name": "vae", "prior": {"name": "normal"}}, "train": {"steps": 40}}


@contextmanager
def _run_folder() -> Iterator[Path]:
    """Return a folder with what a run writes itself: a recipe, a sheet of samples, and text."""
    # loggers may still write as the folder is removed
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name) / "my-run"
        (folder / "samples").mkdir(parents=True)
        (folder / "recipe.toml").write_text('[model]\nname = "vae"\n', encoding="utf-8")
        (folder / "samples" / "step-000010.txt").write_text("a line\n\nanother\n", encoding="utf-8")
        Image.new("L", (20, 20), 128).save(folder / "samples" / "step-000010.png")
        yield folder


def _facts(folder: Path | None, step: int = 0, last_step: int = 0) -> LoggedRun:
    history = [{"step": number, "loss": 1.0 / number} for number in range(10, step + 1, 10)]
    return LoggedRun(
        name="my-run",
        folder=folder,
        step=step,
        last_step=max(step, last_step),
        total=40,
        recipe=_RECIPE,
        history=history,
    )


def _open(logger: Any, run: LoggedRun) -> None:
    """Open a logger; skip the test if it needs a package that is not installed."""
    try:
        logger.open(run)
    except ImportError as error:
        raise SkipTest(str(error)) from error


def _log(logger: Any, folder: Path | None, first: int = 10) -> None:
    """Log two steps with the names and values of real runs."""
    for step in (first, first + 10):
        values = {"seconds": 0.5, "loss": 1.0 / step, "critic/loss": float("nan")}
        values |= {"critic/lr": 1e-3, "gradient/net.0.weight": float("inf")}
        logger.log(step, values)
    if folder is not None:
        for suffix in (".png", ".txt"):
            logger.picture(first + 10, folder / "samples" / f"step-000010{suffix}")


def check_builds(subject: Subject) -> None:
    """Check that it is a `Logger`."""
    logger = subject()
    demand(isinstance(logger, Logger), f"{type(logger).__name__} is not a genzoo.contract.Logger")


def check_run(subject: Subject) -> None:
    """Check that it logs a run that ends in each possible way."""
    for status in _STATUSES:
        logger = subject()
        with _run_folder() as folder:
            _open(logger, _facts(folder))
            _log(logger, folder)
            logger.close(status)


def check_resume(subject: Subject) -> None:
    """Check that a second logger continues a run, whose steps 21 to 40 were lost."""
    with _run_folder() as folder:
        for step in (0, 20):
            logger = subject()
            _open(logger, _facts(folder, step, last_step=2 * step))
            _log(logger, folder, step + 10)
            logger.close("stopped")


def check_again(subject: Subject) -> None:
    """Check that one logger can log several runs, one after the other."""
    logger = subject()
    for _ in range(2):
        with _run_folder() as folder:
            _open(logger, _facts(folder))
            _log(logger, folder)
            logger.close("complete")


def check_without_folder(subject: Subject) -> None:
    """Check that it logs a run without a folder, or says with an error of genzoo what it needs."""
    logger = subject()
    try:
        _open(logger, _facts(None))
    except GenzooError:
        return
    _log(logger, None)
    logger.close("complete")


def check_files(subject: Subject) -> None:
    """Check that it leaves the files of the run as they are."""
    logger = subject()
    with _run_folder() as folder:
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        _open(logger, _facts(folder))
        _log(logger, folder)
        logger.close("complete")
        changed = [
            str(path.relative_to(folder))
            for path, content in before.items()
            if not path.is_file() or path.read_bytes() != content
        ]
    demand(not changed, f"it changes or removes {', '.join(changed)} of the run")


def check_config(subject: Subject) -> None:
    """Check that its config builds it again."""
    logger = subject()
    try:
        table = config(logger)
    except SettingError:
        raise SkipTest("it was not built from a registered name") from None
    again = build(table, "loggers")
    demand(
        type(again) is type(logger),
        f"the logger rebuilt from {table} is a {type(again).__name__}, not a "
        f"{type(logger).__name__}",
    )


ALWAYS = (
    check_builds,
    check_run,
    check_resume,
    check_again,
    check_without_folder,
    check_files,
    check_config,
)
"""The checks of every logger."""
