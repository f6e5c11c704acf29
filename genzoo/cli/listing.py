"""The commands `list` and `info`."""

from __future__ import annotations

import fnmatch
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from genzoo.cli.common import console, kinds_named
from genzoo.errors import GenzooError, SettingError, did_you_mean, printable
from genzoo.registry.build import build
from genzoo.registry.kinds import KINDS, SINGULAR
from genzoo.registry.lookup import kinds_of, registry
from genzoo.registry.plugins import metadata_field
from genzoo.registry.registration import Registration
from genzoo.runs.recipe import Recipe, head, read, shipped, training_seconds
from genzoo.terminal import Console

if TYPE_CHECKING:
    from genzoo.weights import Entry

__all__ = ["info", "list_"]


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(help=f"One of {', '.join(KINDS)}, recipes. Default: all except recipes."),
    ] = None,
    pattern: Annotated[
        str, typer.Argument(metavar="GLOB", help="Show only names that match.")
    ] = "*",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Import everything, plugins in separate processes, and report what is broken.",
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="With --check: the time limit per plugin, not counting waits for a processor.",
        ),
    ] = 60,
) -> None:
    """List registered names, their packages, and problems that metadata reveals.

    Without --check, nothing is imported.
    """
    from genzoo.registry.diagnose import metadata_problem, try_imports

    if kind == "recipes":
        return _list_recipes(pattern)
    kinds = (kind,) if kind else KINDS
    rows = [row for listed in kinds for row in _rows(listed, pattern)]
    if not rows:
        raise SettingError(f"no name in {kind or 'any kind'} matches {pattern!r}; see genzoo list.")
    tried = (
        try_imports((source for source, _ in rows if not source.blocked_because), timeout)
        if check
        else {}
    )
    states = []
    for source, clash in rows:
        broken = tried.get(source) or metadata_problem(source)
        if source.blocked_because:
            problem = f"refused: {source.blocked_because}"
        else:
            problem = f"broken: {broken}" if broken else ""
        states.append("; ".join(filter(None, (problem, clash))))
    table = _table(rows, states)
    options = console.options.update(width=10_000)
    if not console.is_terminal:
        Console(width=10_000).print(table)  # in a pipe, each registration is one line
    elif console.measure(table, options=options).maximum <= console.width:
        console.print(table)
    else:
        console.print(_table(rows, states, beneath=True))
    return None


def _table(
    rows: Sequence[tuple[Registration, str]], states: Sequence[str], beneath: bool = False
) -> Table:
    """Return the table of registrations.

    Problems are in a column of their own, if there are any, or beneath the code.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ["kind", "name", "from", "code"]
    if any(states) and not beneath:
        columns.append("state")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("kind", "name"))
    for (source, _), state in zip(rows, states, strict=True):
        cells = [
            source.kind,
            source.name,
            f"{source.distribution} {source.version}".strip(),
            source.value,
            state,
        ]
        if beneath:
            cells[3:] = ["\n".join(filter(None, cells[3:]))]
        table.add_row(*map(escape, cells[: len(table.columns)]))
    return table


def _list_recipes(pattern: str) -> None:
    """List the recipes that come with genzoo, with their training time and missing plugins."""
    files = shipped()
    names = fnmatch.filter(files, pattern)
    if not names:
        raise SettingError(f"no recipe matches {pattern!r}; see genzoo list recipes.")
    recipes = {name: read(files[name]) for name in names}
    states = {name: _state(recipes[name], files[name]) for name in names}
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ["recipe", "model", "data", "time"]
    if any(states.values()):
        columns.append("state")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "recipe")
    for name, recipe in recipes.items():
        time = _time(files[name])
        cells = (name, recipe["model"]["name"], recipe["data"]["name"], time, states[name])
        table.add_row(*map(escape, cells[: len(table.columns)]))
    console.print(table)


def _state(recipe: Recipe, file: Path) -> str:
    """Return the missing requirements of a recipe; empty if nothing is missing."""
    slots = ((recipe["model"]["name"], "models"), (recipe["data"]["name"], "datasets"))
    missing = [name for name, kind in slots if name not in registry(kind)]
    if not missing:
        return ""
    plugin = re.search(r"genzoo-[a-z]+", head(file))
    return f"needs {plugin[0] if plugin else ', '.join(missing)}"


def _time(file: Path) -> str:
    """Return the training time that a recipe states, in seconds or minutes."""
    seconds = training_seconds(file)
    if seconds is None:
        return ""
    return f"{seconds} s" if seconds < 100 else f"{round(seconds / 60)} min"


def _rows(kind: str, pattern: str) -> Iterator[tuple[Registration, str]]:
    """Yield the registrations of matching names, each with a message if it clashes with another."""
    sources = registry(kind).registrations()
    for name in sorted(fnmatch.filter(sources, pattern)):
        usable = [source for source in sources[name] if not source.blocked_because]
        for source in sources[name]:
            others = [other.distribution for other in usable if other is not source]
            if source.blocked_because or not others or source.origin != "package":
                yield source, ""
            elif usable[0].origin == "package":
                yield source, f"clash with {', '.join(others)}: ask for {source.full_name}"
            else:
                yield source, f"the name is {others[0]}'s: ask for {source.full_name}"


def info(
    name: Annotated[str, typer.Argument(help="A registered name.")],
    kind: Annotated[str | None, typer.Option(help="The kind, if several have the name.")] = None,
) -> None:
    """Show the documentation of a name, its settings with defaults, and the file of its code."""
    from genzoo.registry.signatures import parameters

    if kind == "recipes" or (kind is None and name in shipped() and not kinds_of(name)):
        return _show_recipe(name)
    for kind_of_name in kinds_named(name) if kind is None else [kind]:
        kind_registry = registry(kind_of_name)
        target: Any = kind_registry.get(name)
        source = kind_registry.registration(name)
        if kind_of_name == "weights":
            _show_weights(target, source)
            continue
        title = f"[bold]{SINGULAR[kind_of_name]} {escape(name)}[/bold]  from {escape(str(source))}"
        console.print(title)
        for line in (_location(target), *_about(source)):
            console.print(line, markup=False, style="dim", soft_wrap=True)
        console.print()
        console.print(inspect.getdoc(target) or "(no documentation)", markup=False)
        table = Table("setting", "default", "type", box=None, pad_edge=False, header_style="bold")
        for key, parameter in parameters(target).items():
            value = parameter.default
            if isinstance(value, Mapping):
                value = dict(value)
            default = "required" if value is parameter.empty else repr(value)
            hint = parameter.annotation
            if not isinstance(hint, str):
                hint = inspect.formatannotation(hint)
            table.add_row(key, escape(default), escape(hint))
        console.print()
        console.print(table, soft_wrap=True)
        if kind_of_name == "models":
            console.print(_size(name), markup=False)
        console.print()
    return None


def _show_weights(entry: Entry, source: Registration) -> None:
    """Print the folder and the card of pretrained weights, without its front matter."""
    console.print(f"[bold]weights {escape(source.name)}[/bold]  from {escape(str(source))}")
    console.print(str(entry.folder), markup=False, style="dim", soft_wrap=True)
    card = entry.card.split("---\n", 2)[-1]
    console.print(card, markup=False, soft_wrap=True)


def _size(name: str) -> str:
    """Return the number of parameters of a model with default settings; empty without defaults."""
    try:
        model = build(name)
    except GenzooError:
        return ""
    shape = " x ".join(map(str, model.shape))
    return f"\n{model.parameter_count:,} parameters with these defaults, for examples of {shape}"


def _show_recipe(name: str) -> None:
    """Print the file of a recipe that comes with genzoo."""
    files = shipped()
    if name not in files:
        raise SettingError(f"no recipe is named {name!r}.{did_you_mean(name, files)}")
    console.print(f"[bold]recipe {escape(name)}[/bold]")
    console.print(str(files[name]), markup=False, style="dim", soft_wrap=True)
    console.print()
    console.print(files[name].read_text(encoding="utf-8"), markup=False, soft_wrap=True)


def _location(target: Callable[..., Any]) -> str:
    """Return the file and line of the code."""
    try:
        return f"{inspect.getsourcefile(target)}, line {inspect.getsourcelines(target)[1]}"
    except (OSError, TypeError):
        return "(source not available)"


def _about(source: Registration) -> Iterator[str]:
    """Yield the summary and the links in the metadata of a package."""
    if source.package is None:
        return
    yield from filter(
        None,
        (metadata_field(source.package, "Summary"), metadata_field(source.package, "Home-page")),
    )
    for link in source.package.metadata.get_all("Project-URL") or ():
        label, _, address = link.partition(",")
        if label.strip().lower() in ("homepage", "repository", "source"):
            yield printable(address.strip())
