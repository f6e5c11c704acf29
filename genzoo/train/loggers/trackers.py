"""The loggers of experiment trackers: W&B, trackio, and MLflow.

W&B and trackio have the same functions: `init`, `log`, and `finish`. MLflow has others for the same
purposes. A tracker that a resume opens again continues the same run there, because the run folder
holds its identifier in `trackers.json`.
"""

from __future__ import annotations

import importlib
import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from genzoo.contract import LoggedRun, Logger, Status
from genzoo.files import write_text

__all__ = ["MLflow", "Trackio", "WandB"]

_FILE = "trackers.json"


class _Tracker(Logger):
    """Send values and sheets of samples to a tracker.

    Arguments:
        project: the project, or experiment, that the run belongs to.
        options: further arguments of the tracker's function that starts a run.
    """

    package: ClassVar[str]
    """The package of the tracker, and the extra that installs it."""

    def __init__(self, project: str = "genzoo", options: Mapping[str, Any] | None = None) -> None:
        self.project, self.options = project, dict(options or {})
        self._last_step = -1
        """The last step that the tracker has."""

    def open(self, run: LoggedRun) -> None:
        try:
            self._tracker: Any = importlib.import_module(self.package)
        except ImportError:
            raise ImportError(
                f"it needs {self.package}; install it with: pip install 'genzoo[{self.package}]'"
            ) from None
        known = _read(run.folder)
        identifier = known.get(self.package)
        self._last_step = -1 if identifier is None else run.last_step
        started = self._start(run, identifier)
        if run.folder is not None and started != identifier:
            text = json.dumps({**known, self.package: started})
            write_text(run.folder / _FILE, text)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step > self._last_step:
            self._log(step, values)

    def picture(self, step: int, file: Path) -> None:
        if step > self._last_step:
            self._log_picture(step, file)

    def close(self, status: Status) -> None:
        self._finish(status)

    def _start(self, run: LoggedRun, identifier: str | None) -> str:
        """Start a run, or continue the one with an identifier; return its identifier."""
        raise NotImplementedError

    def _log(self, step: int, values: Mapping[str, Any]) -> None:
        self._tracker.log(dict(values), step=step)

    def _log_picture(self, step: int, file: Path) -> None:
        # neither of the two shows text
        if file.suffix == ".png":
            self._log(step, {"samples": self._tracker.Image(str(file))})

    def _finish(self, status: Status) -> None:  # noqa: ARG002
        self._tracker.finish()


class WandB(_Tracker):
    """Send values and sheets of samples to Weights & Biases.

    It needs the extra `wandb` and `wandb login`.

    Arguments:
        project: the project that the run belongs to.
        options: further arguments of `wandb.init`, such as `{"mode": "offline"}`.
    """

    package = "wandb"

    def _start(self, run: LoggedRun, identifier: str | None) -> str:
        identifier = identifier or uuid.uuid4().hex
        table = {"project": self.project, "name": run.name, "config": dict(run.recipe)}
        self._tracker.init(**{**table, **self.options}, id=identifier, resume="allow")
        return identifier

    def _finish(self, status: Status) -> None:
        self._tracker.finish(exit_code=int(status == "failed"))


class Trackio(_Tracker):
    """Send values and sheets of samples to trackio, which keeps them on this machine by default.

    It needs the extra `trackio`.

    Arguments:
        project: the project that the run belongs to.
        options: further arguments of `trackio.init`, such as `{"space_id": "user/space"}`.
    """

    package = "trackio"

    def _start(self, run: LoggedRun, identifier: str | None) -> str:
        table = {"project": self.project, "name": run.name, "config": dict(run.recipe)}
        table |= self.options
        if identifier is None:
            # if another run has this name, trackio chooses a new one
            started = self._tracker.init(**table, resume="never")
        else:
            started = self._tracker.init(**{**table, "name": identifier}, resume="allow")
        return str(started.name)


class MLflow(_Tracker):
    """Send values and samples to MLflow, at `MLFLOW_TRACKING_URI` or on this machine.

    It needs the extra `mlflow`.

    Arguments:
        project: the experiment that the run belongs to.
        options: further arguments of `mlflow.start_run`, such as `{"tags": {"team": "a"}}`.
    """

    package = "mlflow"

    def _start(self, run: LoggedRun, identifier: str | None) -> str:
        self._tracker.set_experiment(self.project)
        if identifier is not None:
            return str(self._tracker.start_run(run_id=identifier).info.run_id)
        started = self._tracker.start_run(**{"run_name": run.name, **self.options})
        self._tracker.log_dict(dict(run.recipe), "recipe.json")
        return str(started.info.run_id)

    def _log(self, step: int, values: Mapping[str, Any]) -> None:
        # MLflow refuses other characters
        named = {re.sub(r"[^\w.\- /]", "_", name): value for name, value in values.items()}
        self._tracker.log_metrics(named, step=step)

    def _log_picture(self, step: int, file: Path) -> None:  # noqa: ARG002
        self._tracker.log_artifact(str(file), "samples")

    def _finish(self, status: Status) -> None:
        ends = {"complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
        self._tracker.end_run(ends[status])


def _read(folder: Path | None) -> dict[str, str]:
    """Return the identifiers in a run folder: tracker -> identifier."""
    try:
        table = json.loads((folder / _FILE).read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
