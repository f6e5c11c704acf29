"""What the commands share: where they print, how they load a model, and how they write what it drew."""

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

console = Console(width=None if is_terminal(sys.stdout) else 160)
errors = Console(stderr=True, soft_wrap=True)

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, or a registered model's name.")
]
Count = Annotated[int, typer.Option("-n", min=1, help="How many.")]
Seed = Annotated[int, typer.Option(help="Seed of the noise.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")]


def say(text: str) -> None:
    """Print a line on standard error, with this process's rank unless it is the first one."""
    rank = os.environ.get("RANK", "0")
    line = on_one_line(text if rank == "0" else f"rank {rank}: {text}")
    if isinstance(sys.stderr, FileProxy) and is_terminal(
        sys.stderr
    ):  # a bar moves on it: the line goes above
        print(line, file=sys.stderr)
    else:
        errors.print(line, markup=False)


def interrupted(error: BaseException) -> KeyboardInterrupt | None:
    """Return the Ctrl-C that an error comes from: an import that is cut short may end in another."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, KeyboardInterrupt):
            return cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return None


def with_plugins(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--plugin FILE`, and let Ctrl-C end it in one line, with exit code 130.

    The option may be repeated; each file is executed first, for the names that it registers. In options that are paths, ~ is
    the home folder.
    """

    @functools.wraps(command)
    def wrapped(*arguments: Any, plugin: list[Path] | None = None, **options: Any) -> Any:
        from genzoo.registry.plugins import load_file

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
            say(str(stop) or "stopped")  # here, because typer drops the words
            raise typer.Exit(130) from None

    option = typer.Option(
        "--plugin",
        metavar="FILE",
        help="A Python file to execute first, for the names that it registers.",
    )
    hint = Annotated[list[Path] | None, option]
    signature = inspect.signature(command, eval_str=True)
    added = inspect.Parameter(
        "plugin", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint
    )
    wrapped.__signature__ = signature.replace(parameters=[*signature.parameters.values(), added])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {**inspect.get_annotations(command, eval_str=True), "plugin": hint}
    return wrapped


def kinds_named(name: str) -> list[str]:
    """The kinds that have a name.

    Raises:
        SettingError: none has.
    """
    from genzoo.registry.kinds import KINDS
    from genzoo.registry.lookup import kinds_of, registry

    kinds = kinds_of(name)
    if not kinds:
        known = {known for kind in KINDS for known in registry(kind).available()}
        raise SettingError(f"Nothing is named {name!r}.{did_you_mean(name, known)}")
    return kinds


def load(run: str, device: str) -> Model:
    """A run's model, or a registered one, on a device and in eval mode."""
    from genzoo import loading
    from genzoo.train.engine import check_device

    kind, _ = check_device(device)
    if kind == "auto":
        from genzoo.train.engine import Engine

        device = str(Engine("auto", "32-true").device)
    return loading.load(run).to(device).eval()


def require(model: Model, capability: str) -> Any:
    """The model, if it has a method.

    Raises:
        SettingError: it has not; it says what the model can do.
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


def data(run: str) -> Dataset:
    """The data of a run.

    Raises:
        RunError: it is no run folder.
    """
    from genzoo.runs.folder import RunFolder

    if not Path(run).is_dir():
        raise RunError(f"{run} is not a run folder, so there are no data to go with it")
    return RunFolder(run).dataset()


def held_out(
    run: str, model: Model, n: int, columns: tuple[str, ...], found: Dataset | None = None
) -> Any:
    """`n` held-out rows of the run's data, or of those that were `found` already."""
    from genzoo.train import artifacts

    found = found or data(run)
    there = artifacts.rows(found, columns)
    if n > there:
        raise SettingError(f"{found.name} has {there} held-out examples, and -n asks for {n}")
    return artifacts.held_out(found, columns, n, model)


def write(
    samples: Tensor,
    out: Path,
    columns: int | None = None,
    shown: Tensor | None = None,
    lines: Sequence[str] | None = None,
) -> None:
    """Write samples as an array, as the `lines` of text that they are, or as a picture of them or of what is `shown` instead."""
    from genzoo.files import write_atomic
    from genzoo.plots import draw, save

    if not hasattr(samples, "shape"):
        raise SettingError(
            f"samples of type {type(samples).__name__} are neither a picture nor an array"
        )
    if out.suffix == ".npy":
        import numpy as np
        import torch

        def written(path: Path) -> None:
            with path.open("wb") as file:
                np.save(
                    file,
                    (samples.float() if samples.dtype == torch.bfloat16 else samples).cpu().numpy(),
                )

    elif out.suffix == ".png":
        picture = draw(samples if shown is None else shown, columns=columns)
        if picture is None:
            raise SettingError(
                f"samples of shape {tuple(samples.shape[1:])} make no picture; write an array, as in -o samples.npy"
                f"{'' if lines is None else ', or text, as in -o samples.txt'}"
            )

        def written(path: Path) -> None:
            save(picture, path)

    elif out.suffix == ".txt" and lines is not None:

        def written(path: Path) -> None:
            save(list(lines), path)

    else:
        raise SettingError(
            f"-o {out}: expected a name that ends in {'.png' if lines is None else '.txt'} or .npy"
        )
    write_atomic(out, written)
    console.print(f"{out}: {len(samples)} of shape {tuple(samples.shape[1:])}", markup=False)
