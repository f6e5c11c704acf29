"""Shared parts of the commands: the console, options, and messages."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.file_proxy import FileProxy

from genzoo.errors import SettingError, did_you_mean, on_one_line
from genzoo.files import local_path
from genzoo.terminal import Console, end_quietly, is_terminal

__all__ = [
    "Checkpoint", "Count", "DataPath", "Device", "Limit", "MetricSeed", "RunName", "Seed",
    "console", "errors", "interrupted", "kinds_named", "parts", "say", "with_plugins",
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
