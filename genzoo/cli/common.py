"""Shared functions of the commands: print messages, load a model, and write samples."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.file_proxy import FileProxy

from genzoo.errors import RunError, SettingError, did_you_mean, on_one_line
from genzoo.files import local_path
from genzoo.terminal import Console, end_quietly, is_terminal

if TYPE_CHECKING:
    from torch import Tensor

    from genzoo.contract import Dataset, Model

__all__ = [
    "Checkpoint", "Count", "DataPath", "Device", "Limit", "MetricSeed", "RunName", "Seed",
    "console", "data", "errors", "held_out", "interrupted", "kinds_named", "load", "note_sampler",
    "parts", "require", "say", "with_plugins", "write",
]  # fmt: skip

console = Console(width=None if is_terminal(sys.stdout) else 160)
errors = Console(stderr=True, soft_wrap=True)

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run folder, or the name of pretrained weights or of a model."
    ),
]
Count = Annotated[int, typer.Option("-n", min=1, help="The number of examples.")]
Seed = Annotated[int, typer.Option(help="The seed of the noise.")]
Checkpoint = Annotated[
    str, typer.Option(help="The weights to load: last, or best (at the best validation).")
]
DataPath = Annotated[
    Path | None, typer.Option(metavar="PATH", help="The new path of the run's data, if they moved.")
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, help="Use at most this number of held-out examples.")
]
MetricSeed = Annotated[int, typer.Option(help="The seed of samples and metrics.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or mps.")]


def say(text: str) -> None:
    """Print a line on standard error, with the rank of the process unless it is rank 0."""
    rank = os.environ.get("RANK", "0")
    line = on_one_line(text if rank == "0" else f"rank {rank}: {text}")
    # A proxy means that a progress bar is shown; the line is printed above it.
    if isinstance(sys.stderr, FileProxy) and is_terminal(sys.stderr):
        print(line, file=sys.stderr)
    else:
        errors.print(line, markup=False)


def interrupted(error: BaseException) -> KeyboardInterrupt | None:
    """Return the KeyboardInterrupt that caused an error, or None.

    If Ctrl-C interrupts an import, another error may hide it.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, KeyboardInterrupt):
            return cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return None


def with_plugins(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--plugin FILE` to a command, and report Ctrl-C in one line.

    The exit code is then 130. The option may be repeated. Each file is executed before the
    command, so that it can register names. In options that are paths, ~ is the home folder.
    """

    @functools.wraps(command)
    def wrapped(*arguments: Any, plugin: list[Path] | None = None, **options: Any) -> Any:
        from genzoo.registry.plugin_files import load_file

        try:
            for file in plugin or ():
                load_file(file)
            paths = {
                key: local_path(path, key)
                for key, path in options.items()
                if isinstance(path, Path)
            }
            return command(*arguments, **options | paths)
        except BaseException as error:
            stop = interrupted(error)
            if stop is None:
                raise
            end_quietly()
            say(str(stop) or "stopped")  # typer would drop the message
            raise typer.Exit(130) from None

    option = typer.Option(
        "--plugin",
        metavar="FILE",
        help="A Python file to execute first, which registers names.",
    )
    hint = Annotated[list[Path] | None, option]
    signature = inspect.signature(command, eval_str=True)
    added = inspect.Parameter(
        "plugin", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint
    )
    wrapped.__signature__ = signature.replace(parameters=[*signature.parameters.values(), added])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {**inspect.get_annotations(command, eval_str=True), "plugin": hint}
    return wrapped


def parts(**texts: str | None) -> dict[str, Any]:
    """Return options that name a part: a table in TOML as a table, and other texts as they are.

    Arguments:
        **texts: option -> text. Those that are None are left out. A table begins with `{`.
    """
    from genzoo.runs.recipe import override

    kept = {key: text for key, text in texts.items() if text is not None}
    tables = [f"{key}={text}" for key, text in kept.items() if text.lstrip().startswith("{")]
    return kept | override({}, tables)


def kinds_named(name: str) -> list[str]:
    """Return the kinds in which a name is registered.

    Raises:
        SettingError: the name is not registered.
    """
    from genzoo.registry.kinds import KINDS
    from genzoo.registry.lookup import kinds_of, registry

    kinds = kinds_of(name)
    if not kinds:
        known = {known for kind in KINDS for known in registry(kind).available()}
        raise SettingError(f"Nothing is named {name!r}.{did_you_mean(name, known)}")
    return kinds


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
        raise SettingError(f"{type(model).__name__} has no {capability}; it can {', '.join(can)}")
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


def write(
    samples: Tensor,
    out: Path,
    columns: int | None = None,
    shown: Tensor | None = None,
    lines: Sequence[str] | None = None,
    *,
    labels: Sequence[str] = (),
    titles: Sequence[str] = (),
) -> None:
    """Write samples to a file; its suffix selects the format.

    Arguments:
        samples: the samples.
        out: a path that ends in .npy for an array, .png, .svg, or .pdf for a picture, or .txt for
            text.
        columns: the number of columns of the sheet.
        shown: the images to show instead of the samples.
        lines: the samples as lines of text, if they are text.
        labels: the texts next to the rows of the sheet, or below its images.
        titles: the texts above its columns.

    Raises:
        SettingError: the samples cannot be written in this format.
    """
    from genzoo.files import write_atomic
    from genzoo.plots import draw, save
    from genzoo.plots.files import SUFFIXES

    if not hasattr(samples, "shape"):
        raise SettingError(
            f"samples of type {type(samples).__name__} cannot be written as an image or an array."
        )
    suffix = out.suffix.lower()
    if suffix == ".npy":
        import numpy as np
        import torch

        def written(path: Path) -> None:
            with path.open("wb") as file:
                # NumPy does not support bfloat16.
                array = samples.float() if samples.dtype == torch.bfloat16 else samples
                np.save(file, array.cpu().numpy())

    elif suffix in SUFFIXES:
        images = samples if shown is None else shown
        picture = draw(images, columns=columns, labels=labels, titles=titles)
        if picture is None:
            text = "" if lines is None else ", or as text, as in -o samples.txt"
            raise SettingError(
                f"samples of shape {tuple(samples.shape[1:])} cannot be shown as an image; write "
                f"them as an array, as in -o samples.npy{text}."
            )

        def written(path: Path) -> None:
            save(picture, path)

    elif suffix == ".txt" and lines is not None:

        def written(path: Path) -> None:
            save(list(lines), path)

    else:
        suffixes = (*SUFFIXES, ".npy") if lines is None else (".txt", ".npy")
        raise SettingError(
            f"-o {out}: expected a name that ends in {', '.join(suffixes[:-1])} or {suffixes[-1]}."
        )
    write_atomic(out, written)
    console.print(f"{out}: {len(samples)} of shape {tuple(samples.shape[1:])}", markup=False)
