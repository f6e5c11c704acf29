"""The commands that say what there is: list and info."""

from __future__ import annotations

import fnmatch
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from genzoo.cli.common import console, kinds_named
from genzoo.errors import SettingError, did_you_mean, printable
from genzoo.registry.kinds import KINDS
from genzoo.registry.lookup import kinds_of, registry
from genzoo.registry.plugins import Registration, metadata_field
from genzoo.runs.recipe import Recipe, read, shipped
from genzoo.terminal import Console


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(help=f"One of {', '.join(KINDS)}, recipes; all but recipes by default."),
    ] = None,
    pattern: Annotated[str, typer.Argument(metavar="GLOB", help="Only names that match.")] = "*",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Import each, a plugin in a process of its own, and say what is broken and why.",
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="With --check: how long a plugin may take, waits for a busy processor not counted.",
        ),
    ] = 60,
) -> None:
    """List what is registered, where it comes from, and what is wrong with it as far as can be seen without importing it."""
    from genzoo.registry.diagnose import trial, trouble

    if kind == "recipes":
        return _list_recipes(pattern)
    rows = [row for each in ((kind,) if kind else KINDS) for row in _rows(each, pattern)]
    if not rows:
        raise SettingError(f"no {kind or 'thing'} matches {pattern!r}; see genzoo list")
    tried = (
        trial((source for source, _ in rows if not source.blocked_because), timeout)
        if check
        else {}
    )
    states = []
    for source, rivals in rows:
        broken = tried.get(source) or trouble(source)
        why = (
            f"refused: {source.blocked_because}"
            if source.blocked_because
            else broken and f"broken: {broken}"
        )
        states.append("; ".join(words for words in (why, rivals) if words))
    if not console.is_terminal:
        Console(width=10_000).print(_table(rows, states))  # in a pipe a line is a claim
    elif (
        console.measure(_table(rows, states), options=console.options.update(width=10_000)).maximum
        <= console.width
    ):
        console.print(_table(rows, states))
    else:
        console.print(_table(rows, states, beneath=True))
    return None


def _table(
    rows: Sequence[tuple[Registration, str]], states: Sequence[str], beneath: bool = False
) -> Table:
    """The claims with what there is to say about them: in a column of its own, if anything is, or beneath the code."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "kind",
        "name",
        "from",
        "code",
        *(("state",) if any(states) and not beneath else ()),
    ):
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
    """List the recipes that come with genzoo, with the time that their heads state and what they lack."""
    files = shipped()
    names = fnmatch.filter(files, pattern)
    if not names:
        raise SettingError(f"no recipe matches {pattern!r}; see genzoo list recipes")
    recipes = {name: read(files[name]) for name in names}
    states = {name: _state(recipes[name], files[name]) for name in names}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "recipe",
        "model",
        "data",
        "time",
        *(("state",) if any(states.values()) else ()),
    ):
        table.add_column(column, overflow="fold", no_wrap=column == "recipe")
    for name, recipe in recipes.items():
        time = _time(_head(files[name]))
        cells = (name, recipe["model"]["name"], recipe["data"]["name"], time, states[name])
        table.add_row(*map(escape, cells[: len(table.columns)]))
    console.print(table)


def _head(file: Path) -> str:
    """Return the comment with which a recipe begins, on one line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return " ".join(
        line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines)
    )


def _state(recipe: Recipe, file: Path) -> str:
    """Return what must be installed before a recipe can be trained; empty where nothing is missing."""
    slots = ((recipe["model"]["name"], "models"), (recipe["data"]["name"], "datasets"))
    missing = [name for name, kind in slots if name not in registry(kind)]
    plugin = re.search(r"genzoo-[a-z]+", _head(file))
    return f"needs {plugin[0] if plugin else ', '.join(missing)}" if missing else ""


def _time(head: str) -> str:
    """Return how long a recipe says that its training took, on a CPU."""
    stated = re.search(r"(\d+) s (?:of CPU time )?on \w+ threads?", head)
    if stated is None:
        return ""
    seconds = int(stated[1])
    return f"{seconds} s" if seconds < 100 else f"{round(seconds / 60)} min"


def _rows(kind: str, pattern: str) -> Iterator[tuple[Registration, str]]:
    """The claims to the names of a kind that match, each with what stands in its way."""
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
    kind: Annotated[str | None, typer.Option(help="Where several kinds have the name.")] = None,
) -> None:
    """Show what a name stands for: its documentation, settings with defaults, and where its code comes from."""
    from genzoo.registry.signatures import parameters

    if kind == "recipes" or (kind is None and name in shipped() and not kinds_of(name)):
        return _show_recipe(name)
    for each in kinds_named(name) if kind is None else [kind]:
        thing, source = registry(each).get(name), registry(each).registration(name)
        console.print(f"[bold]{each[:-1]} {escape(name)}[/bold]  from {escape(str(source))}")
        for line in (_place(thing), *_about(source)):
            console.print(line, markup=False, style="dim", soft_wrap=True)
        console.print()
        console.print(inspect.getdoc(thing) or "(no documentation)", markup=False)
        table = Table("setting", "default", "type", box=None, pad_edge=False, header_style="bold")
        for key, parameter in parameters(thing).items():
            value = (
                dict(parameter.default)
                if isinstance(parameter.default, Mapping)
                else parameter.default
            )
            default = "required" if value is parameter.empty else repr(value)
            hint = parameter.annotation
            table.add_row(
                key,
                escape(default),
                escape(hint if isinstance(hint, str) else inspect.formatannotation(hint)),
            )
        console.print()
        console.print(table, soft_wrap=True)
        console.print()
    return None


def _show_recipe(name: str) -> None:
    """Show a recipe that comes with genzoo, as it is."""
    files = shipped()
    if name not in files:
        raise SettingError(f"no recipe is named {name!r}.{did_you_mean(name, files)}")
    console.print(f"[bold]recipe {escape(name)}[/bold]")
    console.print(str(files[name]), markup=False, style="dim", soft_wrap=True)
    console.print()
    console.print(files[name].read_text(encoding="utf-8"), markup=False, soft_wrap=True)


def _place(thing: Callable[..., Any]) -> str:
    """The file and line of its code."""
    try:
        return f"{inspect.getsourcefile(thing)}, line {inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return "(its source cannot be found)"


def _about(source: Registration) -> Iterator[str]:
    """What its package says about itself."""
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
