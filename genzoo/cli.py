"""The command `genzoo`: list, info, train, sample, reconstruct, interpolate, arithmetic, evaluate.

`--help` and `list` import neither torch nor any model; every refusal is one line on standard error with exit code 2.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genzoo.errors import DataError, GenzooError, RunError, SettingError
from genzoo.registry import KINDS, registry

if TYPE_CHECKING:
    from torch import Tensor

    from genzoo.contract import Model

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

_Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or a registered model's name.")]
_Count = Annotated[int, typer.Option("-n", min=1, help="How many.")]
_Seed = Annotated[int, typer.Option(help="Seed of the noise.")]


@app.callback(invoke_without_command=True)
def _main(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Classic generative models that share their parts, one trainer, and a registry that anyone can extend."""
    if version:
        import genzoo

        console.print(genzoo.__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        console.print(context.get_help(), markup=False)


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}; all by default.")] = None,
    pattern: Annotated[str, typer.Argument(metavar="GLOB", help="Only names that match.")] = "*",
    check: Annotated[bool, typer.Option("--check", help="Import each, and show what is broken and why.")] = False,
) -> None:
    """List what is registered, and where it comes from, without importing it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("kind", "name", "from", "code"):
        table.add_column(column)
    for each in (kind,) if kind else KINDS:
        names = registry(each)
        claims = names.sources()
        for name in sorted(fnmatch.filter(claims, pattern)):
            for place, source in enumerate(claims[name]):
                state = source.value if place == 0 else f"{source.value}  (clash; ask for {source.distribution}:{name})"
                if check:
                    try:
                        names.get(name if place == 0 else f"{source.distribution}:{name}")
                    except GenzooError as error:
                        state = f"broken: {error}"
                table.add_row(each, name, f"{source.distribution} {source.version}".strip(), escape(state))
    if not table.row_count:
        raise SettingError(f"no {kind or 'thing'} matches {pattern!r}; see genzoo list")
    console.print(table, soft_wrap=True)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A registered name.")],
    kind: Annotated[str | None, typer.Option(help="Where several kinds have the name.")] = None,
) -> None:
    """Show what a name stands for: its documentation, settings with defaults, and where it comes from."""
    import inspect

    from genzoo.build import parameters

    kinds = [k for k in KINDS if name in registry(k)] if kind is None else [kind]
    if not kinds:
        from genzoo.errors import did_you_mean

        raise SettingError(f"Nothing is named {name!r}.{did_you_mean(name, {n for k in KINDS for n in registry(k).available()})}")
    for each in kinds:
        thing = registry(each).get(name)
        source = registry(each).sources().get(name, [registry(each).find_source(name)])[0]
        console.print(f"[bold]{each[:-1]} {name}[/bold]  from {source}\n")
        console.print(inspect.getdoc(thing) or "(no documentation)", markup=False)
        table = Table("setting", "default", "type", box=None, pad_edge=False, header_style="bold")
        for key, parameter in parameters(thing).items():
            value = dict(parameter.default) if isinstance(parameter.default, Mapping) else parameter.default
            default = "required" if value is parameter.empty else repr(value)
            hint = parameter.annotation
            table.add_row(key, escape(default), escape(hint if isinstance(hint, str) else inspect.formatannotation(hint)))
        console.print()
        console.print(table, soft_wrap=True)
        console.print()


@app.command()
def train(
    what: Annotated[str, typer.Argument(metavar="RECIPE|DATASET", help="A recipe file, or a data set's name with --model.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings that replace the recipe's.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Without a recipe: the model to train on the data set.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in all; the same as train.steps=N.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/<recipe> by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is there.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the run that is there first.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
) -> None:
    """Train a recipe, or a model on a data set, into a run folder."""
    from genzoo import recipe as recipes

    extra = list(overrides or ())
    extra += [] if steps is None else [f"train.steps={steps}"]
    extra += [] if device is None else [f'train.device="{device}"']
    if what.endswith(".toml") or Path(what).is_file():
        if model is not None:
            raise SettingError(f"{what} is a recipe, which names its model; override it with model={model}")
        recipe, name = recipes.read(what, extra), Path(what).stem
    else:
        if model is None:
            raise SettingError(f"{what!r} is no recipe file; to train on a data set of that name, add --model NAME")
        recipe = recipes.checked(recipes.override({"model": {"name": model}, "data": {"name": what}}, extra))
        name = f"{model}-{what}"
    run_folder = out or Path("runs") / name
    from genzoo.train.log import words
    from genzoo.train.loop import fit

    settings = {"players": recipe["players"], "resume": resume, "overwrite": overwrite, **recipe["train"]}
    try:
        run = fit(recipe["model"], recipe["data"], run_folder, **settings)
    except KeyboardInterrupt as stop:  # said here, since typer drops the words
        errors.print(str(stop) or "stopped at once; the last checkpoint is whole", markup=False)
        raise typer.Exit(130) from None
    if os.environ.get("RANK", "0") == "0":
        last = run.history[-1] if run.history else {}
        already = " already" if run.was_complete else ""
        seconds = last.get("seconds", 0)
        console.print(f"{run_folder} is complete{already}: step {run.steps:,}, {seconds:,.0f} s. {words(last)}", markup=False)
        if run.was_complete:
            console.print("Nothing was done; to train on, give a larger train.steps with --resume.")
        else:
            console.print(f"Next: genzoo sample {run_folder} -n 64 -o samples.png", markup=False)


@app.command()
def sample(
    run: _Run,
    n: _Count = 64,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .png picture or a .npy array.")] = Path("samples.png"),
    seed: _Seed = 0,
    truncation: Annotated[
        float | None, typer.Option(help="Keep codes within so many standard deviations: typical samples, less varied.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Draw samples from a trained model."""
    import inspect

    import torch

    model = _load(run, device)
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"given": _held_out(run, model, n, model.given)} if model.given else {}
    if truncation is not None:
        if "truncation" not in inspect.signature(model.sample).parameters:
            raise SettingError(f"{type(model).__name__} cannot truncate its samples; leave out --truncation")
        settings["truncation"] = truncation
    _write(model.sample(n, **settings), out)


@app.command()
def reconstruct(
    run: _Run,
    n: _Count = 32,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .png picture or a .npy array.")] = Path("reconstructions.png"),
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Reconstruct held-out data: each image beside its reconstruction."""
    import torch
    from einops import rearrange

    model = _able(_load(run, device), "reconstruct")
    x = _held_out(run, model, n, ("x",))
    with torch.no_grad():
        pairs = torch.stack([x, model.reconstruct(x)], dim=1)
    _write(rearrange(pairs, "n two ... -> (n two) ..."), out, columns=8 if x.dim() == 4 else None)


@app.command()
def interpolate(
    run: _Run,
    n: _Count = 8,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .png picture or a .npy array.")] = Path("interpolation.png"),
    steps: Annotated[int, typer.Option(min=2, help="Images a row.")] = 10,
    path: Annotated[str, typer.Option(help="slerp, linear, or auto: slerp where the prior is spherical.")] = "auto",
    seed: _Seed = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Walk between codes: of held-out data where the model encodes, else of its prior."""
    import torch

    from genzoo import codes

    model = _able(_load(run, device), "decode")
    torch.manual_seed(seed)
    with torch.no_grad():
        if hasattr(model, "encode"):
            ends = model.encode(_held_out(run, model, 2 * n, ("x",)))
        else:
            ends = _able(model, "prior").prior.sample(2 * n)
    start, end = ends.chunk(2)
    walks = codes.interpolate(model, start, end, steps, path)  # type: ignore[arg-type]  # it refuses other words by name
    _write(walks.flatten(0, 1), out, columns=steps)


@app.command()
def arithmetic(
    run: _Run,
    a: Annotated[str, typer.Option("-a", metavar="PLACES", help="Samples with what is to be kept and what is to go.")],
    b: Annotated[str, typer.Option("-b", metavar="PLACES", help="Samples with what is to go.")],
    c: Annotated[str, typer.Option("-c", metavar="PLACES", help="Samples with what is to come.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many samples the sheet holds.")] = 64,
    out: Annotated[Path, typer.Option("-o", "--out", help="A .png picture or a .npy array.")] = Path("arithmetic.png"),
    seed: _Seed = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Add and subtract codes, a - b + c, each the mean of some samples'.

    PLACES, such as 1,2,3, are those of samples on the sheet that `genzoo sample` draws with the same -n and --seed: from 1, row
    by row.
    """
    import torch

    from genzoo import codes
    from genzoo.pictures import equation

    model = _able(_able(_load(run, device), "decode"), "prior")
    places = [_places(option, text, n) for option, text in (("-a", a), ("-b", b), ("-c", c))]
    torch.manual_seed(seed)
    with torch.no_grad():
        z = model.prior.sample(n)  # the first that `sample` draws too
        terms = [z[chosen] for chosen in places]
        found = codes.arithmetic(model, *terms)
        columns = [model.decode(torch.cat([term, term.mean(dim=0, keepdim=True)])) for term in terms]
    _write(found, out, columns=9, shown=equation(columns, found) if found.dim() == 4 else None)


@app.command()
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

    import torch

    from genzoo.build import build
    from genzoo.train.checkpoint import write_atomic
    from genzoo.train.run import RunFolder
    from genzoo.train.show import passed

    folder = RunFolder(run)
    model, dataset = _load(str(run), device), folder.dataset()
    found: dict[str, dict[str, float]] = {}
    for name in metrics or registry("metrics").available():
        metric = build(name, "metrics")
        lacking = [need.replace("|", " or ") for need in metric.lacking(model)]
        if lacking and metrics:
            raise SettingError(f"metric {name!r} needs {', '.join(lacking)}, which {type(model).__name__} has not")
        if lacking:
            continue
        torch.manual_seed(0)
        try:
            with torch.no_grad():
                found[name] = dict(metric(model, passed(dataset, model.inputs, batch_size, model, limit=limit)))
        except DataError as error:
            if metrics:
                raise
            errors.print(f"note: {name}: {error}", markup=False)
    rows = [(name, key, value) for name, values in found.items() for key, value in values.items()]
    table = Table("metric", "quantity", "value", box=None, pad_edge=False, header_style="bold")
    for name, key, value in rows:
        table.add_row(name, key, f"{value:.6g}")
    console.print(table)
    tested = min(dataset.rows("test"), limit or dataset.rows("test"))
    lines = [f"Measured on {tested:,} held-out examples.", "", "| metric | quantity | value |", "| --- | --- | ---: |"]
    text = "\n".join([*lines, *(f"| {name} | {key} | {value:.6g} |" for name, key, value in rows)]) + "\n"
    write_atomic(folder.report / "evaluation.json", lambda path: path.write_text(json.dumps(found, indent=2) + "\n"))
    write_atomic(folder.report / "evaluation.md", lambda path: path.write_text(text))
    console.print(f"\n{tested:,} held-out examples; written to {folder.report}", markup=False)


def _load(run: str, device: str) -> Model:
    from genzoo.train.engine import check_device
    from genzoo.train.run import load

    kind, _ = check_device(device)
    if kind == "auto":
        from genzoo.train.engine import Engine

        device = str(Engine("auto", "32-true").device)
    return load(run).to(device).eval()


def _able(model: Model, capability: str) -> Any:
    if not hasattr(model, capability):
        can = [name for name in ("sample", "encode", "decode", "reconstruct", "log_prob", "elbo") if hasattr(model, name)]
        raise SettingError(f"{type(model).__name__} has no {capability}; it can {', '.join(can)}")
    return model


def _held_out(run: str, model: Model, n: int, columns: tuple[str, ...]) -> Any:
    """`n` held-out rows of the run's data."""
    from genzoo.train.run import RunFolder
    from genzoo.train.show import held_out, rows

    if not Path(run).is_dir():
        raise RunError(f"{run} is not a run folder, so there are no data to go with it")
    data = RunFolder(run).dataset()
    there = rows(data, columns)
    if n > there:
        raise SettingError(f"{data.name} has {there} held-out examples, and -n asks for {n}")
    return held_out(data, columns, n, model)


def _places(option: str, text: str, n: int) -> list[int]:
    """`"1,2,3"` -> indices into the `n` samples of a sheet."""
    try:
        places = [int(word) for word in text.split(",")]
    except ValueError:
        raise SettingError(f"{option} {text}: expected places on the sheet of samples, as in 1,2,3") from None
    if outside := [place for place in places if not 1 <= place <= n]:
        raise SettingError(f"{option} {text}: there is no place {outside[0]} on a sheet of {n} samples; they are 1 to {n}")
    return [place - 1 for place in places]


def _write(samples: Tensor, out: Path, columns: int | None = None, shown: Tensor | None = None) -> None:
    """Write samples as an array, or as a picture of them or of what is `shown` in their place."""
    from genzoo.pictures import draw, save
    from genzoo.train.checkpoint import write_atomic

    if not hasattr(samples, "shape"):
        raise SettingError(f"samples of type {type(samples).__name__} are neither a picture nor an array")
    if out.suffix == ".npy":
        import numpy as np
        import torch

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.save(file, (samples.float() if samples.dtype == torch.bfloat16 else samples).cpu().numpy())

    elif out.suffix == ".png":
        picture = draw(samples if shown is None else shown, columns=columns)
        if picture is None:
            raise SettingError(
                f"samples of shape {tuple(samples.shape[1:])} make no picture; write an array, as in -o samples.npy"
            )

        def write(path: Path) -> None:
            save(picture, path)

    else:
        raise SettingError(f"-o {out}: expected a name that ends in .png or .npy")
    write_atomic(out, write)
    console.print(f"{out}: {len(samples)} of shape {tuple(samples.shape[1:])}", markup=False)


def main() -> None:
    """Run the command; a refusal is one line and exit code 2."""

    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        errors.print(f"note: {message}", markup=False)

    warnings.showwarning = note
    rank = f"rank {os.environ['RANK']}: " if os.environ.get("RANK", "0") != "0" else ""
    try:
        sys.exit(app(standalone_mode=False))
    except GenzooError as error:
        errors.print(f"{rank}error: {error}", markup=False)
    except OSError as error:
        errors.print(f"{rank}error: {error}", markup=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # a usage error of the command line has its own words
            raise
        errors.print(f"error: {error.format_message()} (see genzoo --help)", markup=False)
    sys.exit(2)
