"""The result of `fit`, and its display in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from torch import Tensor

from genzoo.contract import Dataset, Model
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.errors import printable, shorten
from genzoo.plots import draw
from genzoo.plots.files import as_html
from genzoo.plots.theme import can_plot
from genzoo.runs.folder import RunFolder
from genzoo.runs.modes import eval_mode

__all__ = ["Best", "Run"]

M = TypeVar("M", bound=Model)
_SAMPLES = 64
"""The number of samples that a notebook shows."""


@dataclass(frozen=True)
class Best:
    """The best evaluation on the validation rows.

    Arguments:
        step: the step after which it was made.
        quantity: the name of the monitored number in the log, such as `"validation/loss"`.
        value: the number.
    """

    step: int
    quantity: str
    value: float


@dataclass(repr=False)
class Run(Generic[M]):
    """The result of `fit`.

    A notebook displays it with the last line of its log and a picture of samples.

    Arguments:
        model: the trained model, in eval mode, with the averaged weights if `ema` was set.
        history: the log. Each line maps names to values: step, seconds, images_per_second, the
            losses, and, on request, gradient norms.
        steps: the number of rounds trained, in all.
        folder: the run folder, if there is one.
        was_complete: the folder held a complete run, so nothing was trained.
        requested_steps: the number of rounds that the settings ask for, in all. A complete run may
            have more, or fewer if `patience` was over.
        dataset: the dataset of the run.
        best: the best evaluation on the validation rows, if `monitor` or `patience` was set. The
            run folder has its weights: `genzoo.load(folder, checkpoint="best")`.

    Example:
        >>> import genzoo
        >>> run = genzoo.fit("vae", "digits", steps=2, progress=False)
        >>> run.steps, run.model.sample(4).shape, sorted(run.history[-1])[:2]
        (2, torch.Size([4, 1, 8, 8]), ['images_per_second', 'kl'])
    """

    model: M
    history: list[dict[str, float]]
    steps: int
    folder: Path | None = None
    was_complete: bool = False
    requested_steps: int = 0
    dataset: Dataset | None = None
    best: Best | None = None

    @classmethod
    def open(cls, path: str | Path, *, checkpoint: Literal["last", "best"] = "last") -> Run[Model]:
        """Open a run that was trained before. Its dataset is not built, and `best` is not known.

        Arguments:
            path: a run folder, a pack, or the name of pretrained weights.
            checkpoint: as in `genzoo.load`.

        Raises:
            RunError: nothing is at the path, or it is not a run or is damaged.

        Example:
            >>> import tempfile, torch, genzoo
            >>> model = genzoo.load("independent", shape=(4,)).fit(torch.eye(4))
            >>> folder = genzoo.save(model, tempfile.mkdtemp() + "/floor")
            >>> genzoo.Run.open(folder).model.log_prob(torch.eye(4)).shape
            torch.Size([4])
        """
        folder = RunFolder.find(path)
        model, round = folder.trained(checkpoint)
        steps = folder.recipe()["train"].get("steps")
        return Run(
            model,
            folder.history(),
            round,
            folder.path,
            was_complete=True,
            requested_steps=steps if isinstance(steps, int) else round,
        )

    def __repr__(self) -> str:
        facts = [f"{self.model.parameter_count:,} parameters", f"{self.steps:,} steps"]
        if self.dataset is not None:
            facts.append(f"data {shorten(self.dataset.name)!r}")
        if self.best is not None:
            best = self.best
            facts.append(f"best {best.quantity} {best.value:.5g} at step {best.step:,}")
        if self.folder is not None:
            facts.append(f"folder {str(self.folder)!r}")
        return printable(f"<Run of {type(self.model).__name__}: {', '.join(facts)}>")

    def _repr_html_(self) -> str:
        """Return the facts, the last line of the log, and a picture of samples."""
        text = f"<p>{html.escape(repr(self).strip('<>'))}</p>"
        if self.history:
            last = self.history[-1]
            values = [f"{value:.5g}" for value in last.values()]
            text += f"<table>{_row('th', last)}{_row('td', values)}</table>"
        picture = _picture(self.model)
        return text if picture is None else text + as_html(picture, "Samples")


def _row(tag: str, cells: Iterable[str]) -> str:
    """Return a row of a table."""
    joined = "".join(f"<{tag}>{html.escape(printable(cell))}</{tag}>" for cell in cells)
    return f"<tr>{joined}</tr>"


def _picture(model: Model) -> Any:
    """Return a picture of samples, or None if they are not images or points, or need more inputs.

    It depends on the weights alone, and the caller's random state does not change.
    """
    if hasattr(model, "text") or tuple(model.given) not in ((), ("y",)):
        return None
    with eval_mode(model), exclusive():
        reseed(model.reference_tensor.device, 0, "samples")
        samples = model.sample(_SAMPLES)
    if not isinstance(samples, Tensor) or (samples.dim() == 2 and not can_plot()):
        return None
    return draw(samples)
