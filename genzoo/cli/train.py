"""The commands `train` and `resume`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genzoo.cli.common import DataPath, console
from genzoo.errors import RunError, SettingError, did_you_mean
from genzoo.registry.lookup import registry
from genzoo.runs import recipe as recipes
from genzoo.runs.recipe import Recipe

if TYPE_CHECKING:
    from genzoo.runs.result import Run

__all__ = ["resume", "train"]

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[a.b=c]...", help="Settings that replace the recipe's."),
]


def train(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE|DATASET",
            help="A recipe's name (see genzoo list recipes) or file. With --model: a dataset, or a "
            "folder of images.",
        ),
    ] = None,
    overrides: Overrides = None,
    model: Annotated[
        str | None, typer.Option(help="The model, to train on a dataset without a recipe.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="The total number of steps; the same as train.steps=N.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder. Default: runs/<recipe>.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the run in the folder. RECIPE may be this folder."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the run in the folder first.")
    ] = False,
    allow_other_data: Annotated[
        bool,
        typer.Option("--allow-other-data", help="Resume although the data have changed."),
    ] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, or mps.")] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Start with the weights of this run folder, or with pretrained weights, and, "
            "without RECIPE, with their recipe.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Train with this number of seeds, in OUT/seed-0, OUT/seed-1, ... Repeat the "
            "command to continue after an interruption.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The number of seeds to train at the same time. Default: one for each CPU core, "
            "or 1 on a GPU.",
        ),
    ] = None,
) -> None:
    """Train a recipe, or a model on a dataset, and write a run folder."""
    texts = _texts(overrides, steps, device)
    if seeds is not None:
        has_seed = any(text.partition("=")[0].strip() == "train.seed" for text in texts)
        if what is None or init_from is not None or resume or has_seed:
            raise SettingError(
                "--seeds needs a recipe, or the name of a dataset with --model. It sets train.seed "
                "and continues unfinished runs by itself; leave out train.seed, --resume, and "
                "--from."
            )
        recipe, name = named_recipe(what, model, texts)
        options = {"overwrite": overwrite, "allow_other_data": allow_other_data, "jobs": jobs}
        return _train_seeds(seeds, recipe, out or Path("runs") / name, options)
    if jobs is not None:
        raise SettingError(f"--jobs {jobs} needs --seeds, such as --seeds 3.")
    if init_from is not None and (what is None or ("=" in what and not Path(what).is_file())):
        recipe = recipe_to_begin_from(init_from, [*([what] if what else []), *texts])
        name = f"from-{Path(init_from).resolve().name}"
        return train_into(
            out or Path("runs") / name, recipe, resume, overwrite, init_from, allow_other_data
        )
    if what is None:
        raise SettingError(
            "Choose what to train: a recipe, a dataset's name with --model, or --from RUN."
        )
    run = named_run(what) if model is None else None
    if run is not None and out is None:
        if not resume:
            path = shlex.quote(str(run))
            raise SettingError(
                f"{what} is a run: genzoo resume {path} continues it, and "
                f"genzoo train {path}/recipe.toml --out OTHER trains its recipe again."
            )
        if overwrite:
            raise SettingError(
                f"{what}: --resume continues the run and --overwrite removes it; choose one."
            )
        recipe = recipe_of_run(run, texts, allow_other_data)
        return train_into(
            run, recipe, resume=True, init_from=init_from, allow_other_data=allow_other_data
        )
    recipe, name = named_recipe(what, model, texts)
    return train_into(
        out or Path("runs") / name, recipe, resume, overwrite, init_from, allow_other_data
    )


def _train_seeds(seeds: int, recipe: Recipe, folder: Path, options: dict[str, Any]) -> None:
    """Train a recipe with several seeds, and print a summary."""
    from genzoo.train.engine import Engine
    from genzoo.train.seed_processes import available_cores
    from genzoo.train.seeds import fit_seeds

    if options["jobs"] is None:
        engine = Engine(recipe["train"].get("device", "auto"), "32-true")
        is_alone = engine.size == 1 and engine.device.type == "cpu"
        options["jobs"] = min(seeds, available_cores()) if is_alone else 1
    settings = {key: value for key, value in recipe["train"].items() if key != "seed"}
    settings.update(options, players=recipe["players"])
    for run in fit_seeds(recipe["model"], recipe["data"], folder, seeds, **settings):
        console.print(f"{run.folder} is complete: step {run.steps:,}", markup=False, soft_wrap=True)
    path = shlex.quote(str(folder))
    console.print(f"Next: genzoo compare {path}", markup=False, soft_wrap=True)


def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[a.b=c]...", help="Settings that a resume may change, such as train.steps=N."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="The total number of steps; the same as train.steps=N.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, or mps.")] = None,
    allow_other_data: Annotated[
        bool,
        typer.Option("--allow-other-data", help="Resume although the data have changed."),
    ] = False,
    data_path: DataPath = None,
) -> None:
    """Continue a run from its newest checkpoint."""
    folder = named_run(str(run)) or run
    texts = _texts(overrides, steps, device)
    recipe = recipe_of_run(folder, texts, allow_other_data, data_path)
    train_into(folder, recipe, resume=True, allow_other_data=allow_other_data)


def _texts(overrides: list[str] | None, steps: int | None, device: str | None) -> list[str]:
    """Return the overrides, including those of the options --steps and --device."""
    texts = list(overrides or ())
    texts += [] if steps is None else [f"train.steps={steps}"]
    return texts + ([] if device is None else [f'train.device="{device}"'])


def named_recipe(what: str, model: str | None, overrides: Sequence[str]) -> tuple[Recipe, str]:
    """Return a recipe and the name of its run.

    A name means the recipe that comes with genzoo, even if a file or folder has the same name;
    `./NAME` means the file or folder. With a model, the name means a dataset.

    Arguments:
        what: a name, or the path of a recipe.
        model: the model to train on the dataset `what`.
        overrides: `a.b=c` texts.

    Raises:
        SettingError: the name is unknown, or a recipe is combined with a model.
        MissingDataError: there are no data at a path that is combined with a model.
    """
    from genzoo.data.arrays import check_name, table_of
    from genzoo.train.misplaced import explained

    shipped = recipes.shipped()
    data = None if what in shipped else table_of(what)
    is_file = data is None and (what.endswith(".toml") or Path(what).is_file())
    if model is not None:
        is_recipe = what in shipped and what not in registry("datasets")
        if is_recipe or (data is None and what.endswith(".toml")):
            raise SettingError(
                f"{what} is a recipe, which names its model; override it with model={model}."
            )
        if data is not None:
            what = Path(what).resolve().stem
        else:
            check_name(what)
        table = {"model": {"name": model}, "data": data or {"name": what}}
        name = f"{model}-{what}".replace(":", "-")  # a plugin's name may be package:name
        with explained():
            return recipes.checked(recipes.override(table, overrides)), name
    if what in shipped or is_file:
        with explained():
            recipe = recipes.read(shipped.get(what, what), overrides)
        return _with_one_length(recipe, overrides), Path(what).stem
    if what in registry("datasets") or data is not None:
        raise SettingError(f"{what!r} is a dataset; to train on it, add --model NAME.")
    raise SettingError(
        f"{what!r} is not the name or file of a recipe; to train on a dataset of that name, add "
        f"--model NAME.{did_you_mean(what, shipped)}"
    )


def named_run(what: str) -> Path | None:
    """Return the run folder for the path of a folder or of its recipe.toml, or None."""
    path = Path(what)
    folder = path.parent if path.name == "recipe.toml" else path
    if what in recipes.shipped() or not (folder / "recipe.toml").is_file():
        return None
    from genzoo.runs.folder import RunFolder

    return folder if RunFolder(folder).is_run() else None


def recipe_of_run(
    folder: Path,
    overrides: Sequence[str],
    allow_other_data: bool = False,
    data_path: Path | None = None,
) -> Recipe:
    """Return the recipe with which a run is resumed, with the new path of its data if they moved.

    Raises:
        RunError: an override would make it another run, or its data were arrays in Python.
    """
    from genzoo.runs.data_path import rerooted
    from genzoo.runs.folder import RunFolder
    from genzoo.runs.requirements import IN_MEMORY
    from genzoo.runs.same_recipe import check_same_recipe

    run = RunFolder(folder)
    recipe = run.recipe()
    new = recipes.checked(recipes.override(recipe, overrides))
    new = _with_one_length(new, overrides)
    if data_path is not None:
        new["data"] = rerooted(new["data"], data_path)
    check_same_recipe(run, new, allow_other_data=allow_other_data)
    if recipe["data"]["name"] == IN_MEMORY:
        raise RunError(
            f"{folder} was trained on arrays from Python, which the folder does not contain; "
            f"resume it in Python: genzoo.fit(model, data, {str(folder)!r}, resume=True, ...)."
        )
    return new


def recipe_to_begin_from(run: str, overrides: Sequence[str]) -> Recipe:
    """Return the recipe of a run, changed, for another run that begins with its weights.

    Raises:
        RunError: this version of genzoo cannot open the run.
    """
    from genzoo.runs.folder import RunFolder
    from genzoo.train.misplaced import explained

    folder = RunFolder.find(run)
    # a pack has no file that recipes.read could read
    recipe = folder.recipe()
    with explained():
        new = recipes.checked(recipes.override(recipe, overrides), f"recipe {folder.recipe_file}")
        return _with_one_length(new, overrides)


def _with_one_length(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Return a recipe in which an override of `steps` removes `epochs`, and vice versa."""
    overridden = {text.partition("=")[0].strip() for text in overrides}
    train = dict(recipe["train"])
    for new, old in (("steps", "epochs"), ("epochs", "steps")):
        if f"train.{new}" in overridden and f"train.{old}" not in overridden:
            train.pop(old, None)
    return {**recipe, "train": train}


def train_into(
    folder: Path,
    recipe: Recipe,
    resume: bool = False,
    overwrite: bool = False,
    init_from: str | None = None,
    allow_other_data: bool = False,
) -> None:
    """Train a recipe, write a run folder, and print a summary."""
    from genzoo.memory import keep_freed_memory
    from genzoo.train.loop import fit
    from genzoo.train.misplaced import explained
    from genzoo.train.settings import Settings

    keep_freed_memory()
    # Check the settings here, because some arguments of `fit` are not settings.
    with explained(recipe["model"], recipe["data"]):
        Settings.of(recipe["train"])
    console.outlives_reader = True
    run = fit(
        recipe["model"],
        recipe["data"],
        folder,
        players=recipe["players"],
        resume=resume,
        overwrite=overwrite,
        allow_other_data=allow_other_data,
        init_from=init_from,
        **recipe["train"],
    )
    if os.environ.get("RANK", "0") != "0":
        return
    for line in _summary(run, recipe, folder):
        console.print(line, markup=False, soft_wrap=True)


def _summary(run: Run[Any], recipe: Recipe, folder: Path) -> Iterator[str]:
    """Yield the lines that say how a run ended and what to do next."""
    from genzoo.train.display import format_line

    summary = f"step {run.steps:,}"
    # a run may stop, or be resumed, before its first line of the log
    if run.history:
        line = run.history[-1]
        summary += f", {line['seconds']:,.0f} s. {format_line(line)}"
    resume = f"genzoo resume {shlex.quote(str(folder))}"
    if run.best is not None:
        best = f"{run.best.quantity} {run.best.value:.4g} at step {run.best.step:,}"
        yield f"Best evaluation: {best} (best.safetensors)"
    if run.steps < run.requested_steps:
        patience = recipe["train"]["patience"]
        yield f"{folder} ended early: {summary}"
        yield (
            f"The last {patience} evaluations were not better than the best one; to continue, "
            f"{resume} train.patience={2 * patience}"
        )
    elif not run.was_complete:
        yield f"{folder} is complete: {summary}"
        yield f"Next: genzoo sample {shlex.quote(str(folder))}"
    elif run.requested_steps < run.steps:
        request = _request(recipe, run.requested_steps)
        yield f"{folder} has {run.steps:,} steps already, and {request}."
        yield (
            f"Nothing was done; to continue: {resume} train.steps={2 * run.steps}; "
            "for fewer steps, train again with another --out."
        )
    else:
        yield f"{folder} is complete already: {summary}"
        yield f"Nothing was done; to continue: {resume} train.steps={2 * run.steps}"


def _request(recipe: Recipe, steps: int) -> str:
    """Return the setting that asks for fewer steps than a run has, for a message."""
    epochs = recipe["train"].get("epochs")
    if epochs is not None:
        return f"train.epochs = {epochs:g} asks for only {steps:,}"
    return f"train.steps = {steps:,} asks for fewer"
