"""The command `genzoo`, which collects the commands of the other modules and reports errors.

`--help` and `list` do not import torch or any model. An error is one line on standard error, with
exit code 2.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import Annotated

import typer

from genzoo.__about__ import __version__
from genzoo.cli import (
    author,
    compare,
    data,
    evaluate,
    generate,
    latents,
    listing,
    outliers,
    share,
    train,
)
from genzoo.cli.common import console, errors, interrupted, say, with_plugins
from genzoo.errors import GenzooError, shorten
from genzoo.terminal import repair_streams

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Train, sample, and evaluate classic generative models that share their parts."""
    if version:
        console.print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        console.print(context.get_help(), markup=False)


app.command("list")(with_plugins(listing.list_))
for command in (
    listing.info,
    author.check,
    train.train,
    train.resume,
    evaluate.evaluate,
    compare.compare,
    outliers.outliers,
    generate.sample,
    generate.complete,
    generate.reconstruct,
    generate.translate,
    latents.interpolate,
    latents.arithmetic,
    share.export,
    share.pack,
    share.push,
):
    app.command()(with_plugins(command))
app.add_typer(author.new, name="new")
app.add_typer(data.data, name="data")


def main() -> None:
    """Run the command. An error is one line on standard error, with exit code 2."""
    repair_streams()
    warnings.showwarning = lambda message, *_, **__: say(f"note: {message}")
    try:
        sys.exit(app(standalone_mode=False))
    except (GenzooError, OSError) as error:
        say(f"error: {error}")
    except Exception as error:
        if interrupted(error) or type(error).__name__ == "Abort":
            say("stopped")
            sys.exit(130)
        if _is_out_of_memory(error):
            say(f"error: this does not fit into memory: {shorten(str(error))}")
            sys.exit(2)
        # Usage errors of typer have a message. Any other error is a bug in genzoo or in a plugin.
        if not hasattr(error, "format_message"):
            errors.print("".join(traceback.format_exception(error)).rstrip(), markup=False)
            sys.exit(1)
        say(f"error: {error.format_message()} (see genzoo --help)")
    sys.exit(2)


def _is_out_of_memory(error: Exception) -> bool:
    """Return True if an error reports that memory is exhausted."""
    message = str(error)
    reported = "allocate memory" in message or "out of memory" in message
    return isinstance(error, MemoryError) or reported
