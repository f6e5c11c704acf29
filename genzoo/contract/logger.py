"""The contract of loggers: they receive the lines of the log and the pictures of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from genzoo.registry.records import Recorded

__all__ = ["LoggedRun", "Logger", "Status"]

Status = Literal["complete", "stopped", "failed"]
"""The end of a run: all steps are done, a signal stopped it, or an error ended it."""


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """The facts about a run that a logger receives when it is opened."""

    name: str
    """The name of the run folder, or of the model if there is no folder."""
    folder: Path | None = None
    """The run folder, or None if the run writes nothing."""
    step: int = 0
    """The step after which training begins: 0, or the step of the checkpoint of a resume."""
    last_step: int = 0
    """The last step that was logged before. It is larger than `step` if the run was killed.

    The steps between them are trained again and give the same values.
    """
    total: int = 0
    """The number of steps in all."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """The recipe with every default filled in."""
    history: Sequence[Mapping[str, float]] = ()
    """The lines of the log up to `step`; each has a `"step"`."""


class Logger(Recorded):
    """A receiver of the log and the pictures of a run.

    Only rank 0 calls it. An error of a logger becomes one warning, and training goes on without
    the logger. Its random numbers do not change the run. Only `log` must be defined.

    Example:
        >>> import genzoo
        >>> class Printer(Logger):
        ...     def log(self, step, values):
        ...         print(step, sorted(values)[:2])
        >>> _ = genzoo.fit("vae", "digits", steps=2, log_every=1, progress=False,
        ...                loggers=[Printer()])
        1 ['images_per_second', 'kl']
        2 ['images_per_second', 'kl']
    """

    kind_of_part: ClassVar[str] = "loggers"

    def open(self, run: LoggedRun) -> None:
        """Begin to log a run, or continue a run that is resumed.

        A logger can be opened again after `close`, for the same run or for another.
        """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step: losses, learning rates, `seconds`, and `images_per_second`."""
        raise NotImplementedError(f"{type(self).__name__} does not define log(step, values)")

    def picture(self, step: int, file: Path) -> None:
        """Log the samples of a step: a sheet in a PNG file, or lines in a text file.

        Without a run folder, there are no pictures.
        """

    def close(self, status: Status) -> None:
        """End the log of the run, and write everything that is buffered."""
