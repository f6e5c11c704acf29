"""The command `genzoo`: train, resume and evaluate here, and those of `genzoo.listing` and `genzoo.drawing`.

`--help` and `list` import neither torch nor any model; every refusal is one line on standard error with exit code 2.
"""

from __future__ import annotations

import shlex
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from genzoo import authoring, drawing, listing
from genzoo.errors import GenzooError, SettingError, printable, shorten
from genzoo.plugins import reason
from genzoo.registry import registry
from genzoo.shell import console, errors, interrupted, load, say, with_plugins
from genzoo.terminal import repair_streams
from genzoo.training import named_recipe, named_run, recipe_of_run, recipe_to_begin_from, train_into

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _main(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Classic generative models that share their parts, one trainer, and a registry that anyone can extend."""
    if version:
        import genzoo

        console.print(genzoo.__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        console.print(context.get_help(), markup=False)


app.command("list")(with_plugins(listing.list_))
app.command()(with_plugins(listing.info))
app.command()(with_plugins(authoring.check))
app.add_typer(authoring.new, name="new")


Overrides = Annotated[list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings that replace the recipe's.")]


@app.command()
@with_plugins
def train(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE|DATASET",
            help="A recipe's name (see genzoo list recipes) or file, or a data set's name with --model.",
        ),
    ] = None,
    overrides: Overrides = None,
    model: Annotated[str | None, typer.Option(help="Without a recipe: the model to train on the data set.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in all; the same as train.steps=N.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/<recipe> by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is there; RECIPE may be its folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the run that is there first.")] = False,
    allow_other_data: Annotated[
        bool, typer.Option("--allow-other-data", help="Resume though the data are not those of the run.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    init_from: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Begin with the weights of this run; without RECIPE, with its recipe too."),
    ] = None,
) -> None:
    """Train a recipe, or a model on a data set, into a run folder."""
    texts = _texts(overrides, steps, device)
    if init_from is not None and (what is None or ("=" in what and not Path(what).is_file())):
        recipe = recipe_to_begin_from(init_from, [*([what] if what else []), *texts])
        name = f"from-{init_from.resolve().name}"
        return train_into(out or Path("runs") / name, recipe, resume, overwrite, init_from, allow_other_data)
    if what is None:
        raise SettingError("Say what to train: a recipe, a data set's name with --model, or --from RUN.")
    run = named_run(what) if model is None else None
    if run is not None and out is None:
        if not resume:
            path = shlex.quote(str(run))
            raise SettingError(
                f"{what} is a run: genzoo resume {path} goes on with it, and "
                f"genzoo train {path}/recipe.toml --out OTHER trains its recipe again"
            )
        if overwrite:
            raise SettingError(f"{what}: --resume goes on with the run and --overwrite removes it; give one of them")
        recipe = recipe_of_run(run, texts, allow_other_data)
        return train_into(run, recipe, resume=True, init_from=init_from, allow_other_data=allow_other_data)
    recipe, name = named_recipe(what, model, texts)
    return train_into(out or Path("runs") / name, recipe, resume, overwrite, init_from, allow_other_data)


@app.command()
@with_plugins
def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Such as train.steps=N; nothing that makes it another run.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in all; the same as train.steps=N.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    allow_other_data: Annotated[
        bool, typer.Option("--allow-other-data", help="Resume though the data are not those of the run.")
    ] = False,
) -> None:
    """Go on with a run from its newest checkpoint."""
    folder = named_run(str(run)) or run
    recipe = recipe_of_run(folder, _texts(overrides, steps, device), allow_other_data)
    train_into(folder, recipe, resume=True, allow_other_data=allow_other_data)


def _texts(overrides: list[str] | None, steps: int | None, device: str | None) -> list[str]:
    """Return the overrides, with those that have options of their own."""
    texts = list(overrides or ())
    texts += [] if steps is None else [f"train.steps={steps}"]
    return texts + ([] if device is None else [f'train.device="{device}"'])


for command in drawing.COMMANDS:
    app.command()(with_plugins(command))


class _LacksError(SettingError):
    """A model cannot do what a metric needs."""


def _measured(name: str, model: Any, dataset: Any, batch_size: int, limit: int | None) -> dict[str, float]:
    """What one metric finds on the held-out data."""
    import torch

    from genzoo.build import build
    from genzoo.train.show import passed

    metric = build(name, "metrics")
    if lacking := [need.replace("|", " or ") for need in metric.lacking(model)]:
        raise _LacksError(f"metric {name!r} needs {', '.join(lacking)}, which {type(model).__name__} has not")
    columns = tuple(dict.fromkeys((*model.inputs, *metric.reads)))
    torch.manual_seed(0)
    with torch.no_grad():
        return dict(metric(model, passed(dataset, columns, batch_size, model, limit=limit)))


@app.command()
@with_plugins
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    metrics: Annotated[
        list[str] | None, typer.Argument(help="Names of metrics; all that the model is able to by default.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only so many held-out examples.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 500,
    allow_other_data: Annotated[
        bool, typer.Option("--allow-other-data", help="Measure on other held-out data than the run's.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Measure a trained model on held-out data; writes a table to the run's report/."""
    import json

    from genzoo.train.checkpoint import write_atomic
    from genzoo.train.history import strict
    from genzoo.train.run import RunFolder
    from genzoo.train.same_data import check_same_data

    folder = RunFolder(run)
    model, dataset = load(str(run), device), folder.dataset()
    if not allow_other_data:
        check_same_data(folder, dataset, "test", tuple(dataset.test))
    found: dict[str, dict[str, float]] = {}
    for name in metrics or registry("metrics").available():
        try:
            found[name] = _measured(name, model, dataset, batch_size, limit)
        except _LacksError:
            if metrics:
                raise
        except Exception as error:  # somebody's metric, which nobody asked for, harms no other
            if metrics:
                raise
            say(f"note: {name}: {reason(error)}")
    rows = [(name, key, value) for name, values in found.items() for key, value in values.items()]
    table = Table("metric", "quantity", "value", box=None, pad_edge=False, header_style="bold")
    for name, key, value in rows:
        table.add_row(name, key, f"{value:.6g}")
    console.print(table)
    tested = min(dataset.rows("test"), limit or dataset.rows("test"))
    lines = [f"Measured on {tested:,} held-out examples.", "", "| metric | quantity | value |", "| --- | --- | ---: |"]
    text = "\n".join([*lines, *(f"| {printable(name)} | {printable(key)} | {value:.6g} |" for name, key, value in rows)]) + "\n"
    measured = json.dumps(strict(found), indent=2, allow_nan=False) + "\n"
    write_atomic(folder.report / "evaluation.json", lambda path: path.write_text(measured))
    write_atomic(folder.report / "evaluation.md", lambda path: path.write_text(text))
    console.print(f"\n{tested:,} held-out examples; written to {folder.report}", markup=False)


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
        if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
            say(f"error: this does not fit into memory: {shorten(str(error))}")
            sys.exit(2)
        if not hasattr(error, "format_message"):  # a fault of genzoo, or of somebody's model
            errors.print("".join(traceback.format_exception(error)).rstrip(), markup=False)
            sys.exit(1)
        say(f"error: {error.format_message()} (see genzoo --help)")  # a usage error of the command line has words
    sys.exit(2)
