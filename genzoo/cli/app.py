"""The command `genzoo`: the commands of the other modules, and what a refusal looks like.

`--help` and `list` import neither torch nor any model; every refusal is one line on standard error with exit code 2.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import Annotated

import typer

from genzoo.__about__ import __version__
from genzoo.cli import author, evaluate, generate, listing, train
from genzoo.cli.common import console, errors, interrupted, say, with_plugins
from genzoo.errors import GenzooError, shorten
from genzoo.terminal import repair_streams

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Classic generative models that share their parts, one trainer, and a registry that anyone can extend."""
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
    *generate.COMMANDS,
):
    app.command()(with_plugins(command))
app.add_typer(author.new, name="new")


def main() -> None:
    """Run the command; a refusal is one line and exit code 2."""
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
        if (
            isinstance(error, MemoryError)
            or "allocate memory" in str(error)
            or "out of memory" in str(error)
        ):
            say(f"error: this does not fit into memory: {shorten(str(error))}")
            sys.exit(2)
        if not hasattr(error, "format_message"):  # a fault of genzoo, or of somebody's model
            errors.print("".join(traceback.format_exception(error)).rstrip(), markup=False)
            sys.exit(1)
        say(
            f"error: {error.format_message()} (see genzoo --help)"
        )  # a usage error of the command line has words
    sys.exit(2)
