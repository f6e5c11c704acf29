"""The model on its device that a command works on, and the data of its run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.cli.common import say
from genzoo.errors import RunError, SettingError

if TYPE_CHECKING:
    from genzoo.contract import Dataset, Model

__all__ = ["available_device", "data", "held_out", "load", "note_sampler", "require"]


def load(run: str, device: str, checkpoint: Any = "last") -> Model:
    """Return the model of a run, or a registered model, on a device and in eval mode."""
    from genzoo import loading

    device = available_device(device)
    return loading.load(run, checkpoint=checkpoint).to(device).eval()


def available_device(name: str) -> str:
    """Return the name of a device of this machine.

    Raises:
        SettingError: the name is invalid, or this machine does not have the device.
    """
    from genzoo.train.engine import check_device

    kind, _ = check_device(name)
    if kind == "auto":
        from genzoo.train.engine import Engine

        return str(Engine("auto", "32-true").device)
    return name


def require(model: Model, capability: str) -> Any:
    """Return a model if it has a method.

    Raises:
        SettingError: the model does not have the method. The message lists what it can do.
    """
    from genzoo.contract import has_capability

    if not has_capability(model, capability):
        can = [
            name
            for name in (
                "sample",
                "complete",
                "translate",
                "encode",
                "decode",
                "reconstruct",
                "log_prob",
                "elbo",
            )
            if has_capability(model, name)
        ]
        raise SettingError(f"{type(model).__name__} has no {capability}; it can {', '.join(can)}.")
    return model


def data(run: str, data_path: Path | None = None) -> Dataset:
    """Return the dataset of a run, from a new path if it has moved.

    Raises:
        RunError: the path is not a run folder.
    """
    from genzoo.runs.folder import RunFolder

    folder = RunFolder.find(run)
    if not folder.exists():
        raise RunError(f"{run} is not a run folder, so it has no data.")
    return folder.dataset(data_path)


def held_out(
    run: str, model: Model, n: int, columns: tuple[str, ...], dataset: Dataset | None = None
) -> Any:
    """Return `n` held-out rows of a dataset, by default the run's dataset."""
    from genzoo.train import pictures

    dataset = dataset or data(run)
    available = pictures.held_out_rows(dataset, columns)
    if n > available:
        raise SettingError(
            f"-n {n}: {dataset.name} has only {available} held-out examples; ask for fewer."
        )
    return pictures.held_out(dataset, columns, n, model)


def note_sampler(model: Any) -> None:
    """Print a note if samples of a model do not come from its prior."""
    if getattr(model, "has_fitted_sampler", False):
        say("note: samples use the sampler that was fitted to the latent codes, not the prior")
