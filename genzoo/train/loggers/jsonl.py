"""The logger of `metrics.jsonl`, which every run folder has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from genzoo.contract import LoggedRun, Logger
from genzoo.errors import RunError
from genzoo.train.history import Line, line_text, write

__all__ = ["JSONL"]


class JSONL(Logger):
    """Write `metrics.jsonl`, which has a line of strict JSON for each logged step.

    Every run folder has this logger. `Run.history` and a resume read its file.
    """

    def __init__(self) -> None:
        self._file = Path()
        self._lines: list[Line] = []

    def open(self, run: LoggedRun) -> None:
        if run.folder is None:
            raise RunError("metrics.jsonl needs a run folder; pass one, as in out='runs/a'.")
        self._file = run.folder / "metrics.jsonl"
        self._lines = [dict(line) for line in run.history]
        if self._lines:
            write(self._file, self._lines)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._lines.append({"step": step, **values})
        # somebody removed the file during training
        if len(self._lines) > 1 and not self._file.exists():
            return write(self._file, self._lines)
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line_text(self._lines[-1]))
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"{self._file} could not be written: {reason}.") from error
