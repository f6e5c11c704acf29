"""The command `genzoo`: train and evaluate here, and those of `genzoo.listing` and `genzoo.drawing`.

`--help` and `list` import neither torch nor any model; every refusal is one line on standard error with exit code 2.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from genzoo import authoring, drawing, listing
from genzoo.errors import GenzooError, SettingError, printable
from genzoo.plugins import reason
from genzoo.registry import registry
from genzoo.shell import console, errors, interrupted, load, say, with_plugins
from genzoo.terminal import repair_streams

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


@app.command()
@with_plugins
def train(
    what: Annotated[
        str | None, typer.Argument(metavar="RECIPE|DATASET", help="A recipe file, or a data set's name with --model.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings that replace the recipe's.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Without a recipe: the model to train on the data set.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in all; the same as train.steps=N.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/<recipe> by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is there.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the run that is there first.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    init_from: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Begin with the weights of this run; without RECIPE, with its recipe too."),
    ] = None,
) -> None:
    """Train a recipe, or a model on a data set, into a run folder."""
    from genzoo import recipe as recipes
    from genzoo.train.misplaced import explained
    from genzoo.train.settings import Settings

    extra = list(overrides or ())
    extra += [] if steps is None else [f"train.steps={steps}"]
    extra += [] if device is None else [f'train.device="{device}"']
    if init_from is not None and (what is None or ("=" in what and not Path(what).is_file())):
        extra = [*([what] if what else []), *extra]
        recipe, name = recipes.read(init_from / "recipe.toml", extra), f"from-{init_from.resolve().name}"
    elif what is None:
        raise SettingError("Say what to train: a recipe file, a data set's name with --model, or --from RUN.")
    elif what.endswith(".toml") or Path(what).is_file():
        if model is not None:
            raise SettingError(f"{what} is a recipe, which names its model; override it with model={model}")
        with explained():
            recipe, name = recipes.read(what, extra), Path(what).stem
    else:
        if model is None:
            raise SettingError(f"{what!r} is no recipe file; to train on a data set of that name, add --model NAME")
        with explained():
            recipe = recipes.checked(recipes.override({"model": {"name": model}, "data": {"name": what}}, extra))
        name = f"{model}-{what}".replace(":", "-")  # of a plugin, asked for as package:name
    with explained(recipe["model"], recipe["data"]):  # before `fit`, some of whose arguments are no settings
        Settings.of(recipe["train"])
    run_folder = out or Path("runs") / name
    from genzoo.train.log import words
    from genzoo.train.loop import fit

    settings = {"players": recipe["players"], "resume": resume, "overwrite": overwrite, **recipe["train"]}
    if init_from is not None:
        settings["init_from"] = init_from
    console.outlives_reader = True
    run = fit(recipe["model"], recipe["data"], run_folder, **settings)
    if os.environ.get("RANK", "0") == "0":
        last = run.history[-1] if run.history else {}
        already = " already" if run.was_complete else ""
        seconds = last.get("seconds", 0)
        console.print(f"{run_folder} is complete{already}: step {run.steps:,}, {seconds:,.0f} s. {words(last)}", markup=False)
        if run.was_complete:
            console.print("Nothing was done; to train on, give a larger train.steps with --resume.")
        else:
            console.print(f"Next: genzoo sample {run_folder} -n 64", markup=False)


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
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Measure a trained model on held-out data; writes a table to the run's report/."""
    import json

    from genzoo.train.checkpoint import write_atomic
    from genzoo.train.run import RunFolder

    folder = RunFolder(run)
    model, dataset = load(str(run), device), folder.dataset()
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
    write_atomic(folder.report / "evaluation.json", lambda path: path.write_text(json.dumps(found, indent=2) + "\n"))
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
        if not hasattr(error, "format_message"):  # a fault of genzoo, or of somebody's model
            errors.print("".join(traceback.format_exception(error)).rstrip(), markup=False)
            sys.exit(1)
        say(f"error: {error.format_message()} (see genzoo --help)")  # a usage error of the command line has words
    sys.exit(2)
