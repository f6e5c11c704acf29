"""Write the generated parts of model and reference pages: `python docs/assets/generate.py`.

A generated part stands between two comments, and a test compares it with what this script writes:

    <!-- settings: NAME -->             the settings of a model, from its signature and docstring
    <!-- source: MODULE:QUALNAME -->    a function of the source, without its docstring
    <!-- overview -->                   the entries of a reference page, by section
    <!-- end -->
"""

import ast
import functools
import importlib
import inspect
import itertools
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import genzoo
from genzoo.registry.lookup import registries
from genzoo.registry.signatures import parameters
from recipes.pages import fill, names

DOCS = Path(__file__).parents[1]
ENTRY = re.compile(r"^(?:## (?P<section>.*)|::: (?P<module>\S+)\.(?P<name>\w+))$", re.MULTILINE)
ARGUMENTS = re.compile(r"^Arguments:\n((?: {4}.*\n|\n)+)", re.MULTILINE)
ARGUMENT = re.compile(r"^ {4}(\w+): ((?:.*\n)(?: {8}.*\n)*)", re.MULTILINE)
MATHS = re.compile(r"\\\((.*?)\\\)")
DIVERGENCE = 'a part of kind `"divergences"`'
LINKS = {
    **{
        f"as in `{name}`": f"as in [`{name.lower()}`]({name.lower()}.md#settings)"
        for name in ("GAN", "DCGAN", "NADE")
    },
    'the critics, a part of kind `"critics"`': "the critics",
    'the generators, a part of kind `"translators"`': "the generators",
    'a part of kind `"translators"`': "a translator",
    'a part of kind `"encoders"`': "an encoder",
    'a part of kind `"decoders"`': "a decoder",
    'a part of kind `"critics"`': "a critic",
    'a part of kind `"priors"`': "a [prior](../concepts/priors.md)",
    DIVERGENCE: "a [divergence](../concepts/distances.md)",
}
"""Phrases of docstrings, and what a page has instead."""


def renew(page: str) -> str:
    """Return the text of a page with its generated parts written anew."""
    for name in names(page):
        kind, _, subject = name.partition(": ")
        if kind in GENERATORS:
            page = fill(page, name, GENERATORS[kind](subject))
        elif kind == "overview":
            page = fill(page, name, overview(page))
    return page


def settings(name: str) -> str:
    """Return a table of a model's settings, and a sentence about its players."""
    model = genzoo.models.get(name)
    meanings = described(model)
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for setting, parameter in parameters(model).items():
        if setting not in (
            "shape",
            "given_shape",
            "vocabulary",
        ):  # they come from the data
            default = "" if parameter.default is None else f"`{toml(parameter.default)}`"
            meaning = cell(meanings[setting])
            if setting == "penalty":
                meaning = meaning.replace(
                    LINKS[DIVERGENCE], "a [penalty](../concepts/penalties.md)"
                )
            rows.append(f"| `{setting}` | {default} | {meaning} |")
    return "\n".join(rows) + f"\n\n{players(name)}"


def described(model: type) -> Mapping[str, str]:
    """Return the descriptions of arguments in the docstrings of a class and of those above it."""
    meanings: dict[str, str] = {}
    for cls in reversed(model.__mro__[:-1]):
        if section := ARGUMENTS.search((inspect.getdoc(cls) or "") + "\n"):
            meanings |= {
                name: " ".join(text.split()) for name, text in ARGUMENT.findall(section[1])
            }
    return meanings


def cell(meaning: str) -> str:
    """Return a description as a cell of a table, where a bar in a formula would end the cell."""
    for phrase, link in LINKS.items():
        meaning = meaning.replace(phrase, link)
    bars = {r"\|": r"\Vert ", "|": r"\vert "}
    escape = re.compile(r"\\?\|")
    return MATHS.sub(
        lambda maths: escape.sub(lambda bar: bars[bar[0]], maths[0]),
        meaning.removesuffix("."),
    )


def players(name: str) -> str:
    """Return a sentence about the players of a model and their optimizers."""
    team = genzoo.build(name).players()
    notes: list[list[str]] = []
    for player in team:
        optimizer = dict(player.optimizer)
        kind = optimizer.pop("name")
        values = [f"`{key} = {toml(value)}`" for key, value in optimizer.items()]
        steps = player.steps_per_round
        often = [f"{steps} steps per round"] if isinstance(steps, int) and steps > 1 else []
        notes.append([", ".join([kind, *values]), *often])
    shared = len({optimizer for optimizer, *_ in notes}) == 1
    sentences = []
    for player, note in zip(team, notes, strict=True):
        details = note[1:] if shared else note
        sentences.append(f"`{player.name}`" + (f" ({', '.join(details)})" if details else ""))
    end = f". Optimizer: {notes[0][0]}." if shared else "."
    return f"Player{'s' * (len(team) > 1)}: {', then '.join(sentences)}{end}"


def toml(value: Any) -> str:
    """Return a value as a recipe would have it."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return re.sub(r"e-0", "e-", repr(value))
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, tuple | list) else str(value)


def source(name: str) -> str:
    """Return a function of the source without its docstring, below its full name.

    The block is marked `py`, and not `python`, because it does not run by itself.
    """
    module, _, path = name.partition(":")
    function: Any = importlib.import_module(module)
    for part in path.split("."):
        function = getattr(function, part)
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    (tree,) = ast.parse("\n".join(lines)).body
    assert isinstance(tree, ast.FunctionDef)
    if ast.get_docstring(tree) is not None:
        docstring = tree.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    return f"```py\n# {module}.{path}\n{formatted(lines[tree.lineno - 1 :])}```"


def overview(page: str) -> str:
    """Return a table of the entries of a reference page: class, registered name, and summary."""
    entries = []
    section = ""
    for entry in ENTRY.finditer(page):
        section = entry["section"] or section
        if entry["name"]:
            entries.append((section, f"{entry['module']}.{entry['name']}"))
    several = len({section for section, _ in entries}) > 1
    registered = any(path in registered_names() for _, path in entries)
    head, line, gap = ("| registered as ", "| --- ", "| ") if registered else ("", "", "")
    rows = [f"| name {head}| summary |", f"| --- {line}| --- |"]
    for section, group in itertools.groupby(entries, key=lambda entry: entry[0]):
        if several:
            rows.append(f"| **{section}** {gap}| |")
        for _, path in group:
            name = f"`{registered_names()[path]}`" if path in registered_names() else ""
            column = f"| {name} ".replace("|  ", "| ") if registered else ""
            rows.append(f"| [`{path.rpartition('.')[2]}`](#{path}) {column}| {summary(path)} |")
    table = "\n".join(rows)
    return f'<div class="overview" markdown>\n\n{table}\n\n</div>\n'


@functools.cache
def registered_names() -> Mapping[str, str]:
    """Return the registered names of public objects by their path in the reference."""
    registered = {}
    for kind, registry in registries.items():
        for name, (owner, *_) in registry.registrations().items():
            if owner.distribution == "genzoo" and kind != "weights":
                value = registry.get(name)
                package = ".".join(value.__module__.split(".")[:2])
                registered[f"{package}.{value.__name__}"] = name
    return registered


def summary(path: str) -> str:
    """Return the first sentence of a public object's docstring, as a cell of a table."""
    module, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    described = inspect.isclass(value) or inspect.isfunction(value)
    text = inspect.getdoc(value) if described else constants(module)[name]
    assert text, f"{path} needs a docstring"
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return cell(re.split(r"\.(?= [A-Z`]|$)", paragraph)[0])


@functools.cache
def constants(module: str) -> Mapping[str, str]:
    """Return the docstrings below the assignments in the modules of a package."""
    docstrings = {}
    for path in Path(str(importlib.import_module(module).__file__)).parent.rglob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for assignment, text in itertools.pairwise(body):
            match assignment, text:
                case (
                    ast.Assign(targets=[ast.Name(id=name)])
                    | ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(docstring))),
                ):
                    docstrings[name] = inspect.cleandoc(docstring)
    return docstrings


def formatted(lines: list[str]) -> str:
    """Return code with the line length of pages, comments included."""
    wrapped: list[str] = []
    for comment, group in itertools.groupby(lines, key=lambda line: line.strip()[:1] == "#"):
        block = list(group)
        if comment:
            start = block[0][: block[0].index("#")] + "# "
            words = " ".join(line.strip("# ") for line in block)
            block = textwrap.wrap(words, 88, initial_indent=start, subsequent_indent=start)
        wrapped += block
    ruff = [sys.executable, "-m", "ruff", "format", "--line-length", "88", "-"]
    code = "\n".join(wrapped) + "\n"
    return subprocess.run(ruff, input=code, capture_output=True, text=True, check=True).stdout


GENERATORS = {"settings": settings, "source": source}
"""The first word of a part's name -> the function that writes the part."""

if __name__ == "__main__":
    for page in DOCS.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        page.write_text(renew(text), encoding="utf-8")
